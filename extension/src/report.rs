//! From `pgrelay_core::Error` to what psql shows: the only place that raises.

use pgrelay_core::{Error, Result, error::Kind};
use pgrx::{PgLogLevel, PgSqlErrorCode, pg_sys::panic::ErrorReport};

/// The value, or the error raised in the caller's transaction.
pub fn or_raise<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| raise(error))
}

fn raise(error: Error) -> ! {
    let mut detail = error.detail.clone();
    if let (None, Some(cause)) = (&detail, std::error::Error::source(&error)) {
        detail = Some(format!("{cause}."));
    }
    let sqlstate = error.sqlstate().to_owned();
    report(PgLogLevel::ERROR, &sqlstate, error.message, detail, error.hint);
    unreachable!("ERROR does not return")
}

/// Shows a warning and goes on.
pub fn warn(warning: Error) {
    report(PgLogLevel::WARNING, "01000", warning.message, warning.detail, warning.hint);
}

fn report(level: PgLogLevel, sqlstate: &str, message: String, detail: Option<String>, hint: Option<String>) {
    let mut report = ErrorReport::new(sqlstate_code(sqlstate), message, "pgrelay");
    if let Some(detail) = detail {
        report = report.set_detail(detail);
    }
    if let Some(hint) = hint {
        report = report.set_hint(hint);
    }
    report.report(level);
}

/// `MAKE_SQLSTATE` of PostgreSQL's `elog.h`: six bits a character.
fn sqlstate_code(sqlstate: &str) -> PgSqlErrorCode {
    let code = sqlstate.bytes().enumerate().fold(0, |code, (at, byte)| code | (i32::from(byte.wrapping_sub(b'0')) & 0x3f) << (6 * at));
    PgSqlErrorCode::from(code)
}

/// The value of an argument that must be given.
///
/// Errors: `InvalidValue` that names the argument.
pub fn required<T>(argument: &str, value: Option<T>) -> Result<T> {
    value.ok_or_else(|| Error::new(Kind::InvalidValue, format!("argument \"{argument}\" is NULL")).hint("Give a value."))
}

/// The values of an array argument that must be given, without a NULL.
///
/// Errors: as `required`.
pub fn required_list(argument: &str, value: Option<Vec<Option<String>>>) -> Result<Vec<String>> {
    let list: Option<Vec<String>> = required(argument, value)?.into_iter().collect();
    list.ok_or_else(|| Error::new(Kind::InvalidValue, format!("argument \"{argument}\" holds NULL")).hint("Leave the NULL out."))
}
