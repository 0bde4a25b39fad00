//! The live catalogs as `pgrelay_core::catalog` wants them: every query under one snapshot and the settings that it names.

use std::ffi::{CStr, CString};

use pgrelay_core::{
    Error, Result,
    catalog::{Catalog, QUERIES, SETTINGS},
    error::Kind,
    name::{OWN_SCHEMAS, Pattern},
};
use pgrx::pg_sys;

use super::{FreshSnapshot, not_null, read};

/// Reads the catalogs with the rights of the current user.
pub fn load() -> Result<Catalog> {
    let _settings = Settings::set(SETTINGS)?;
    let _snapshot = FreshSnapshot::push();
    let mut catalog = Catalog::default();
    for (name, sql) in QUERIES {
        catalog.add(name, &answer(sql)?)?;
    }
    Ok(catalog)
}

/// Checks that what a pattern names exists. Errors: `UndefinedObject`.
pub fn check_pattern(text: &str, pattern: &Pattern) -> Result<()> {
    let (schema, name) = match pattern {
        Pattern::All => return Ok(()),
        Pattern::Schema(schema) => (schema, None),
        Pattern::Table(table) => (&table.schema, Some(table.name.as_str())),
    };
    let args = [schema.as_str().into(), name.into()];
    let found = read(include_str!("../../../sql/extension/object_exists.sql"), &args, |r| not_null::<bool>(r, 1))?;
    if found == [true] && !OWN_SCHEMAS.contains(&schema.as_str()) {
        return Ok(());
    }
    Err(Error::new(Kind::UndefinedObject, format!("pattern \"{text}\" matches no object")).hint(super::selection::PATTERN_HINT))
}

/// The one text value of a query. Read only, so that every query sees the active snapshot; pgrx's client would take a new one for
/// each in a transaction that has written.
fn answer(sql: &str) -> Result<String> {
    let failed = || Error::new(Kind::Internal, "a catalog query of pgrelay returned no text");
    let sql = CString::new(sql).map_err(|_| failed())?;
    // SAFETY: the C strings live across the calls; what SPI returns is copied before SPI_finish frees it. An error unwinds to the
    // end of the (sub)transaction, which closes SPI.
    unsafe {
        if pg_sys::SPI_connect() != pg_sys::SPI_OK_CONNECT as i32 {
            return Err(failed());
        }
        let done = pg_sys::SPI_execute(sql.as_ptr(), true, 0);
        let text = if done == pg_sys::SPI_OK_SELECT as i32 && pg_sys::SPI_processed == 1 { first_value() } else { None };
        pg_sys::SPI_finish();
        text.ok_or_else(failed)
    }
}

/// Column 1 of row 1 of the last query, as text.
///
/// # Safety
/// Only after a query with a row, before SPI_finish.
unsafe fn first_value() -> Option<String> {
    unsafe {
        let table = pg_sys::SPI_tuptable;
        let value = pg_sys::SPI_getvalue(*(*table).vals, (*table).tupdesc, 1);
        (!value.is_null()).then(|| CStr::from_ptr(value).to_string_lossy().into_owned())
    }
}

/// Settings until the end of a block, as the SET clause of a function does it.
struct Settings {
    level: i32,
}

impl Settings {
    fn set(settings: &[(&str, &str)]) -> Result<Settings> {
        let text = |s: &str| CString::new(s).map_err(|_| Error::new(Kind::Internal, "a setting holds a zero byte"));
        // SAFETY: as in fmgr_security_definer; `drop` ends the level, or the end of the (sub)transaction after an error.
        let guard = Settings { level: unsafe { pg_sys::NewGUCNestLevel() } };
        for (name, value) in settings {
            let (name, value) = (text(name)?, text(value)?);
            let (context, source) = (pg_sys::GucContext::PGC_USERSET, pg_sys::GucSource::PGC_S_SESSION);
            // SAFETY: both strings live across the call, which copies them.
            unsafe {
                pg_sys::set_config_option(
                    name.as_ptr(),
                    value.as_ptr(),
                    context,
                    source,
                    pg_sys::GucAction::GUC_ACTION_SAVE,
                    true,
                    0,
                    false,
                );
            }
        }
        Ok(guard)
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: the level that `set` opened.
            unsafe { pg_sys::AtEOXact_GUC(true, self.level) }
        }
    }
}
