//! The names of what a task makes on the servers.

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
