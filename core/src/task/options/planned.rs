//! Options that are designed but not built.

use serde_json::Value;

use super::KNOWN_OPTIONS;
use crate::error::{Error, Kind, Result};

/// Each with the one value, if any, that is what pgrelay does today.
const PLANNED_OPTIONS: [(&str, Option<&str>); 5] =
    [("replicate_ddl", Some("false")), ("name_case", Some("\"source\"")), ("map", None), ("tables", None), ("alert", None)];

/// Whether it is the name of an option, built or designed.
pub fn is_option(key: &str) -> bool {
    KNOWN_OPTIONS.contains(&key) || PLANNED_OPTIONS.iter().any(|(name, _)| *name == key)
}

/// A key that is not built: accepted with the value that is today's behaviour.
pub(super) fn planned(key: &str, value: &Value) -> Result<()> {
    match PLANNED_OPTIONS.iter().find(|(name, _)| *name == key) {
        None => {
            Err(Error::new(Kind::InvalidValue, format!("unknown option \"{key}\""))
                .hint(format!("Options are {}.", KNOWN_OPTIONS.join(", "))))
        }
        Some((_, Some(today))) if is_json(value, today) => Ok(()),
        Some((_, today)) => {
            let error = Error::new(Kind::NotSupported, format!("option \"{key}\" is not supported yet"));
            Err(match today {
                Some(today) => error.hint(format!("Leave it out, or give {today}.")),
                None => error.hint("Leave it out."),
            })
        }
    }
}

/// Whether a value is what `text` spells in JSON.
fn is_json(value: &Value, text: &str) -> bool {
    serde_json::from_str::<Value>(text).is_ok_and(|other| other == *value)
}
