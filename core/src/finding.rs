//! What a precheck, a plan or a running task found that a DBA should know.

use std::fmt;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The check passed.
    Ok,
    /// May go on when acknowledged.
    Warning,
    /// Stops the task before anything is written on the peer.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Ok => "ok",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// One finding, a row of `pgrelay.finding`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The check's id, lower case with underscores: `wal_level`, `replica_identity`. Stable: scripts rely on it.
    pub item: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// The object as `schema.name`, or `source` or `peer` for a whole server.
    pub object: String,
    /// What is so: lower case, no full stop.
    pub message: String,
    /// The SQL or the step that mends it, where there is one.
    pub fix: Option<String>,
}
