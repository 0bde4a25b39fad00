//! The relations as the stream has described them.

use std::sync::Arc;

use foldhash::HashMap;
use pgrelay_core::{Error, Result, error::Kind, name::TableName};

use super::relation::{Relation, RelationColumn};
use crate::pg::pgoutput::Message;

/// A description, and when it came: the later one holds.
#[derive(Clone)]
pub struct Described {
    /// Place among all descriptions.
    pub at: u64,
    /// The description.
    pub relation: Arc<Relation>,
}

/// Descriptions by the relation's oid.
#[derive(Default)]
pub struct Relations {
    all: HashMap<u32, Described>,
}

impl Relations {
    /// As it was described last.
    pub fn get(&self, oid: u32) -> Result<&Arc<Relation>> {
        let unknown = || Error::new(Kind::Protocol, format!("a change of relation {oid} came before its description"));
        self.all.get(&oid).map(|d| &d.relation).ok_or_else(unknown)
    }

    /// A description holds from here on. One that says the same as the one before is that one, with all that is prepared for it.
    pub fn set(&mut self, described: Described) {
        match self.all.get_mut(&described.relation.oid) {
            Some(known) if known.relation == described.relation => known.at = described.at,
            _ => drop(self.all.insert(described.relation.oid, described)),
        }
    }

    /// What a transaction that was sent before its commit knew is known from its commit on, but for what has come after.
    pub fn merge(&mut self, other: Relations) {
        for described in other.all.into_values() {
            if self.all.get(&described.relation.oid).is_none_or(|known| known.at < described.at) {
                self.set(described);
            }
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.all.clear();
    }

    /// The one that is known already when it says the same.
    pub fn same(&self, relation: Relation) -> Arc<Relation> {
        let known = self.all.get(&relation.oid).map(|d| &d.relation).filter(|known| ***known == relation);
        known.cloned().unwrap_or_else(|| Arc::new(relation))
    }
}

/// Reads a RELATION message.
pub fn read(message: Message<'_>) -> Result<Relation> {
    let Message::Relation { oid, schema, name, replica_identity, columns, .. } = message else {
        return Err(Error::new(Kind::Protocol, "a relation was to be described"));
    };
    let column = |c: &crate::pg::pgoutput::RelationColumn<'_>| RelationColumn {
        name: c.name.to_owned(),
        is_key: c.is_key,
        type_oid: c.type_oid,
        typmod: c.typmod,
    };
    let columns = columns.iter().map(column).collect();
    Ok(Relation { oid, table: Arc::new(TableName::new(schema, name)), identity: replica_identity, columns })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::pgoutput::ReplicaIdentity;

    fn described(at: u64, name: &str) -> Described {
        let relation = Relation { oid: 1, table: Arc::new(TableName::new("s", name)), identity: ReplicaIdentity::Full, columns: vec![] };
        Described { at, relation: Arc::new(relation) }
    }

    fn name(relations: &Relations) -> String {
        relations.get(1).expect("known").table.name.clone()
    }

    #[test]
    fn a_description_that_came_later_is_not_undone_by_a_transaction_that_commits_later() {
        let of = |d: Described| {
            let mut relations = Relations::default();
            relations.set(d);
            relations
        };
        let mut relations = of(described(5, "now"));
        relations.merge(of(described(3, "before")));
        assert_eq!(name(&relations), "now");
        relations.merge(of(described(7, "later")));
        assert_eq!(name(&relations), "later");
    }
}
