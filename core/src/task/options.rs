//! The options of a task: one row per key in `KNOWN_OPTIONS`, one reader per kind of value.

use serde_json::{Map, Value};

use super::Throttle;
use crate::error::{Error, Kind, Result};

/// What to do with UPDATE and DELETE on tables without a usable replica identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keyless {
    /// Such a table is a precheck error.
    Error,
    /// REPLICA IDENTITY FULL while the task exists, put back at stop.
    Full,
    /// Only INSERT and TRUNCATE are carried; the status says so.
    InsertOnly,
}

/// What to do about objects that cannot be carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotMovable {
    /// A finding of severity error: the task does not start.
    Report,
    /// Left out with their dependents; the finding is a warning.
    Skip,
}

/// What becomes of what the peer has already under a name that the task needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExistingObjects {
    /// A finding of severity error: the task does not start.
    Report,
    /// It stays as it is, rows included; what the source has besides is added. Differences are findings.
    Keep,
}

/// Where what lies in a tablespace of its own comes to lie on the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tablespaces {
    /// In the default tablespace of the peer's database.
    Ignore,
    /// In the tablespace of that name, which the peer must have.
    Keep,
}

/// The stages that a task goes through, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stages {
    /// Create the objects on the peer.
    pub schema: bool,
    /// Copy the rows.
    pub copy: bool,
    /// Stream changes until stopped. Without it the task ends by itself: `finished`.
    pub stream: bool,
}

/// The options of a task, every one with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// `stages`, an array of "schema", "copy", "stream".
    pub stages: Stages,
    /// `keyless`: "error", "full", "insert_only".
    pub keyless: Keyless,
    /// `not_movable`: "report", "skip".
    pub not_movable: NotMovable,
    /// `retry_connection_minutes`, 10 to 1440.
    pub retry_connection_minutes: u32,
    /// `retry_other_minutes`, 1 to 1440, less than `retry_connection_minutes`.
    pub retry_other_minutes: u32,
    /// `acknowledge_warnings`: every warning of the precheck is taken as confirmed.
    pub acknowledge_warnings: bool,
    /// `copy_jobs`, 1 to 64: tables copied at the same time.
    pub copy_jobs: u32,
    /// `index_memory_mb`, 1 to 1048576: memory that each session of the peer which builds an index may use. The applier chooses
    /// when it is left out.
    pub index_memory_mb: Option<u32>,
    /// `copy_chunk_mb`, 1 to 1048576, in MB: a larger table is copied in chunks of about this size.
    pub copy_chunk_mb: u32,
    /// `throttle`: how fast it may go at most.
    pub throttle: Throttle,
    /// `tablespaces`: "ignore", "keep".
    pub tablespaces: Tablespaces,
    /// `large_objects`: they are carried as they are when the copy comes to them.
    pub large_objects: bool,
    /// `existing_objects`: "report", "keep".
    pub existing_objects: ExistingObjects,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            stages: Stages { schema: true, copy: true, stream: true },
            keyless: Keyless::Error,
            not_movable: NotMovable::Report,
            retry_connection_minutes: 720,
            retry_other_minutes: 10,
            acknowledge_warnings: false,
            copy_jobs: 4,
            index_memory_mb: None,
            copy_chunk_mb: 256,
            throttle: Throttle::default(),
            tablespaces: Tablespaces::Ignore,
            large_objects: false,
            existing_objects: ExistingObjects::Report,
        }
    }
}

/// The options that can be set today, as they stand in `docs/settings.md`.
pub const KNOWN_OPTIONS: [&str; 13] = [
    "stages",
    "keyless",
    "not_movable",
    "retry_connection_minutes",
    "retry_other_minutes",
    "acknowledge_warnings",
    "copy_jobs",
    "copy_chunk_mb",
    "index_memory_mb",
    "throttle",
    "tablespaces",
    "large_objects",
    "existing_objects",
];

/// Options that are designed but not built, each with the one value, if any, that is what pgrelay does today.
const PLANNED_OPTIONS: [(&str, Option<&str>); 10] = [
    ("topology", Some("\"one_way\"")),
    ("conflict_policy", Some("\"fail\"")),
    ("replicate_ddl", Some("false")),
    ("name_case", Some("\"source\"")),
    ("strict", None),
    ("update_missing", None),
    ("conflict_retention", None),
    ("map", None),
    ("tables", None),
    ("alert", None),
];

impl Options {
    /// Reads the options of a task; a key that is left out has its default.
    ///
    /// Errors: `InvalidValue` that names the key, `NotSupported` for a documented key or value that is not built yet.
    pub fn from_json(json: &Value) -> Result<Options> {
        let Value::Object(map) = json else {
            return Err(Error::new(Kind::InvalidValue, "options is not a JSON object").hint("Give options such as '{\"copy_jobs\": 8}'."));
        };
        let mut options = Options::default();
        for (key, value) in map {
            match key.as_str() {
                "stages" => options.stages = stages(value)?,
                "keyless" => options.keyless = keyless(value)?,
                "not_movable" => options.not_movable = not_movable(value)?,
                "retry_connection_minutes" => options.retry_connection_minutes = integer(key, value, 10, 1440)?,
                "retry_other_minutes" => options.retry_other_minutes = integer(key, value, 1, 1440)?,
                "acknowledge_warnings" => options.acknowledge_warnings = boolean(key, value)?,
                "index_memory_mb" => options.index_memory_mb = Some(integer(key, value, 1, 1_048_576)?),
                "copy_jobs" => options.copy_jobs = integer(key, value, 1, 64)?,
                "copy_chunk_mb" => options.copy_chunk_mb = integer(key, value, 1, 1 << 20)?,
                "throttle" => options.throttle = Throttle::from_json(value)?,
                "tablespaces" => options.tablespaces = tablespaces(value)?,
                "large_objects" => options.large_objects = boolean(key, value)?,
                "existing_objects" => options.existing_objects = existing_objects(value)?,
                _ => planned(key, value)?,
            }
        }
        check_retry_windows(&options, map)?;
        Ok(options)
    }
}

/// The second window must be smaller than the first, defaults included.
fn check_retry_windows(options: &Options, map: &Map<String, Value>) -> Result<()> {
    if options.retry_other_minutes < options.retry_connection_minutes {
        return Ok(());
    }
    let given = |key: &str| if map.contains_key(key) { "" } else { " (its default)" };
    Err(Error::new(Kind::InvalidValue, "option \"retry_other_minutes\" must be less than \"retry_connection_minutes\"").detail(format!(
        "retry_other_minutes is {}{}, retry_connection_minutes is {}{}.",
        options.retry_other_minutes,
        given("retry_other_minutes"),
        options.retry_connection_minutes,
        given("retry_connection_minutes")
    )))
}

/// Whether it is the name of an option, built or designed.
pub fn is_option(key: &str) -> bool {
    KNOWN_OPTIONS.contains(&key) || PLANNED_OPTIONS.iter().any(|(name, _)| *name == key)
}

/// A key that is not built: accepted with the value that is today's behaviour.
fn planned(key: &str, value: &Value) -> Result<()> {
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

fn wrong_value(key: &str, allowed: &str) -> Error {
    Error::new(Kind::InvalidValue, format!("option \"{key}\" has a value that cannot be used")).hint(format!("It must be {allowed}."))
}

fn integer(key: &str, value: &Value, min: u32, max: u32) -> Result<u32> {
    let in_range = |n: &u32| (min..=max).contains(n);
    let number = value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(in_range);
    number.ok_or_else(|| wrong_value(key, &format!("a whole number from {min} to {max}")))
}

fn boolean(key: &str, value: &Value) -> Result<bool> {
    value.as_bool().ok_or_else(|| wrong_value(key, "true or false"))
}

fn keyless(value: &Value) -> Result<Keyless> {
    match value.as_str() {
        Some("error") => Ok(Keyless::Error),
        Some("full") => Ok(Keyless::Full),
        Some("insert_only") => Ok(Keyless::InsertOnly),
        _ => Err(wrong_value("keyless", "\"error\", \"full\" or \"insert_only\"")),
    }
}

fn not_movable(value: &Value) -> Result<NotMovable> {
    match value.as_str() {
        Some("report") => Ok(NotMovable::Report),
        Some("skip") => Ok(NotMovable::Skip),
        _ => Err(wrong_value("not_movable", "\"report\" or \"skip\"")),
    }
}

fn tablespaces(value: &Value) -> Result<Tablespaces> {
    match value.as_str() {
        Some("ignore") => Ok(Tablespaces::Ignore),
        Some("keep") => Ok(Tablespaces::Keep),
        _ => Err(wrong_value("tablespaces", "\"ignore\" or \"keep\"")),
    }
}

fn existing_objects(value: &Value) -> Result<ExistingObjects> {
    match value.as_str() {
        Some("report") => Ok(ExistingObjects::Report),
        Some("keep") => Ok(ExistingObjects::Keep),
        _ => Err(wrong_value("existing_objects", "\"report\" or \"keep\"")),
    }
}

/// The stages in their order, without a gap.
fn stages(value: &Value) -> Result<Stages> {
    let invalid = || wrong_value("stages", "an array of \"schema\", \"copy\", \"stream\" in this order, without a gap");
    let words = value.as_array().ok_or_else(invalid)?.iter().map(Value::as_str).collect::<Option<Vec<_>>>().ok_or_else(invalid)?;
    let (schema, copy, stream) = match words.as_slice() {
        ["schema"] => (true, false, false),
        ["schema", "copy"] => (true, true, false),
        ["schema", "copy", "stream"] => (true, true, true),
        ["copy"] => (false, true, false),
        ["copy", "stream"] => (false, true, true),
        ["stream"] => {
            return Err(Error::new(Kind::NotSupported, "option \"stages\": a stream without a copy is not supported yet")
                .hint("Give [\"copy\", \"stream\"] or leave it out."));
        }
        _ => return Err(invalid()),
    };
    Ok(Stages { schema, copy, stream })
}

/// Whether a value is what `text` spells in JSON.
fn is_json(value: &Value, text: &str) -> bool {
    serde_json::from_str::<Value>(text).is_ok_and(|other| other == *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Options> {
        Options::from_json(&serde_json::from_str(json).expect("JSON"))
    }

    #[test]
    fn every_known_option_is_read() {
        let options = read(
            r#"{"stages": ["copy"], "keyless": "full", "not_movable": "skip", "retry_connection_minutes": 20,
                "retry_other_minutes": 19, "acknowledge_warnings": true, "copy_jobs": 64, "copy_chunk_mb": 1, "index_memory_mb": 1048576,
                "throttle": {"copy_mb_per_s": 2}, "tablespaces": "keep", "large_objects": true, "existing_objects": "keep"}"#,
        )
        .expect("valid");
        let stages = Stages { schema: false, copy: true, stream: false };
        let (keyless, not_movable) = (Keyless::Full, NotMovable::Skip);
        let (retry_connection_minutes, retry_other_minutes) = (20, 19);
        let expected = Options {
            stages,
            keyless,
            not_movable,
            retry_connection_minutes,
            retry_other_minutes,
            acknowledge_warnings: true,
            copy_jobs: 64,
            index_memory_mb: Some(1_048_576),
            copy_chunk_mb: 1,
            throttle: Throttle { copy_bytes: Some(2e6), ..Throttle::default() },
            tablespaces: Tablespaces::Keep,
            large_objects: true,
            existing_objects: ExistingObjects::Keep,
        };
        assert_eq!(options, expected);
        assert_eq!(read("{}").expect("valid"), Options::default());
    }

    #[test]
    fn what_pgrelay_does_today_may_be_said() {
        let today = r#"{"topology": "one_way", "existing_objects": "report", "conflict_policy": "fail", "replicate_ddl": false, "name_case": "source"}"#;
        assert_eq!(read(today).expect("valid"), Options::default());
    }

    #[test]
    fn planned_options_are_refused_by_name() {
        for (key, value) in
            [("topology", "\"two_way\""), ("replicate_ddl", "true"), ("alert", "{}"), ("tables", "null"), ("strict", "false")]
        {
            let error = read(&format!("{{\"{key}\": {value}}}")).expect_err(key);
            assert_eq!(error.kind, Kind::NotSupported, "{key}");
            assert!(error.message.contains(&format!("\"{key}\"")), "{}", error.message);
        }
    }

    #[test]
    fn an_unknown_option_lists_the_known_ones() {
        let error = read(r#"{"copyjobs": 4}"#).expect_err("unknown");
        assert_eq!(error.kind, Kind::InvalidValue);
        assert_eq!(error.message, "unknown option \"copyjobs\"");
        for key in KNOWN_OPTIONS {
            assert!(error.hint.as_deref().is_some_and(|h| h.contains(key)), "{key}");
        }
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        for (key, value) in [
            ("retry_connection_minutes", "9"),
            ("retry_connection_minutes", "1441"),
            ("retry_other_minutes", "0"),
            ("retry_other_minutes", "720"),
            ("copy_jobs", "0"),
            ("copy_jobs", "65"),
            ("index_memory_mb", "0"),
            ("index_memory_mb", "1048577"),
            ("copy_jobs", "\"4\""),
            ("copy_jobs", "4.5"),
            ("copy_jobs", "null"),
            ("copy_chunk_mb", "0"),
            ("acknowledge_warnings", "\"yes\""),
            ("keyless", "\"none\""),
            ("not_movable", "1"),
            ("tablespaces", "\"drop\""),
            ("existing_objects", "\"overwrite\""),
            ("stages", "[]"),
            ("stages", "\"copy\""),
            ("stages", "[1]"),
            ("stages", "[\"schema\", \"stream\"]"),
            ("stages", "[\"copy\", \"schema\"]"),
            ("stages", "[\"copy\", \"copy\"]"),
        ] {
            let error = read(&format!("{{\"{key}\": {value}}}")).expect_err(key);
            assert_eq!(error.kind, Kind::InvalidValue, "{key}: {value}");
            assert!(error.message.contains(&format!("\"{key}\"")), "{}", error.message);
        }
        assert!(read("[]").is_err());
        assert!(read(r#"{"retry_connection_minutes": 10}"#).is_err(), "the default of the other is 10");
    }

    #[test]
    fn a_stream_alone_is_not_built() {
        assert_eq!(read(r#"{"stages": ["stream"]}"#).expect_err("refused").kind, Kind::NotSupported);
    }
}
