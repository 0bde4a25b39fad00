//! Options whose value is one of some words, and how single values are read.

use serde_json::Value;

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

/// Which way changes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// From source to peer.
    OneWay,
    /// Both ways, once the forward direction runs.
    TwoWay,
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

/// The words of `keyless`.
pub(super) const KEYLESS: [(&str, Keyless); 3] = [("error", Keyless::Error), ("full", Keyless::Full), ("insert_only", Keyless::InsertOnly)];

/// The words of `not_movable`.
pub(super) const NOT_MOVABLE: [(&str, NotMovable); 2] = [("report", NotMovable::Report), ("skip", NotMovable::Skip)];

/// The words of `tablespaces`.
pub(super) const TABLESPACES: [(&str, Tablespaces); 2] = [("ignore", Tablespaces::Ignore), ("keep", Tablespaces::Keep)];

/// The words of `topology`.
pub(super) const TOPOLOGY: [(&str, Topology); 2] = [("one_way", Topology::OneWay), ("two_way", Topology::TwoWay)];

/// The words of `existing_objects`.
pub(super) const EXISTING_OBJECTS: [(&str, ExistingObjects); 2] = [("report", ExistingObjects::Report), ("keep", ExistingObjects::Keep)];

/// One of some words.
///
/// Errors: `InvalidValue` that lists them; so do the others below.
pub(super) fn word<T: Copy>(key: &str, value: &Value, words: &[(&str, T)]) -> Result<T> {
    let found = value.as_str().and_then(|given| words.iter().find(|(word, _)| *word == given));
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let quoted: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        wrong_value(key, &listed(&quoted))
    })
}

fn listed(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [others @ .., last] => format!("{} or {last}", others.join(", ")),
    }
}

/// A whole number.
pub(super) fn integer(key: &str, value: &Value, min: u32, max: u32) -> Result<u32> {
    let in_range = |n: &u32| (min..=max).contains(n);
    let number = value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(in_range);
    number.ok_or_else(|| wrong_value(key, &format!("a whole number from {min} to {max}")))
}

/// Yes or no.
pub(super) fn boolean(key: &str, value: &Value) -> Result<bool> {
    value.as_bool().ok_or_else(|| wrong_value(key, "true or false"))
}

/// The stages in their order, without a gap.
pub(super) fn stages(value: &Value) -> Result<Stages> {
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

fn wrong_value(key: &str, allowed: &str) -> Error {
    Error::new(Kind::InvalidValue, format!("option \"{key}\" has a value that cannot be used")).hint(format!("It must be {allowed}."))
}
