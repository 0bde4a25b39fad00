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

    /// The names of the reverse direction: its slot and its publications are on the peer, its origin on the source. Neither knows the
    /// source's own names, so all hold the source's system identifier.
    pub fn reverse(&self) -> Names {
        let name = format!("{}_reverse", self.origin);
        Names { slot: name.clone(), publication: name.clone(), publication_insert_only: format!("{name}_ins"), origin: name }
    }

    /// The origin of one copy session: an origin cannot be used by two sessions.
    pub fn copy_origin(&self, session: u32) -> String {
        format!("{}_copy_{session}", self.origin)
    }

    /// Whether a replication origin is one of those under which this direction writes.
    pub fn is_own_origin(&self, origin: &str) -> bool {
        is_origin_of(origin, &self.origin)
    }
}

/// Whether a replication origin is that of a direction, or of one of its copy sessions; `of`: the direction's own.
pub fn is_origin_of(origin: &str, of: &str) -> bool {
    origin.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with("_copy_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_direction_knows_its_own_origins_and_no_others() {
        let forward = Names::new(u64::MAX, u32::MAX, 9_999_999);
        let reverse = forward.reverse();
        assert!(reverse.publication_insert_only.len() <= 63, "{}", reverse.publication_insert_only.len());
        assert!(forward.is_own_origin(&forward.origin) && forward.is_own_origin(&forward.copy_origin(3)));
        assert!(!forward.is_own_origin(&reverse.origin) && reverse.is_own_origin(&reverse.origin));
        assert!(!forward.is_own_origin("another") && !reverse.is_own_origin(&forward.copy_origin(3)));
        let another = Names::new(u64::MAX, u32::MAX, 99_999_990);
        assert!(!forward.is_own_origin(&another.origin), "its number begins with the same digits");
    }
}
