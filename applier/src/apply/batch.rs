//! What of the peer's open transaction is gathered, and what it takes to do it again row by row.

use std::sync::Arc;

use bytes::Bytes;
use foldhash::HashMap;
use pgrelay_core::name::TableName;

use super::{bulk, relation::Relation};

/// Changes from here on are worth a statement for many.
const MANY: usize = 20;

/// Bytes of changes that are kept for doing them again; past it they are read again from the source.
const KEPT: usize = 16 << 20;

/// Bytes of changes that are gathered before they are sent.
const GATHERED: usize = 8 << 20;

/// What a change costs beside its content.
const OVERHEAD: usize = 128;

/// For so many groups a table's changes go row by row after a surprise: what collides once often does again.
const CALM: u32 = 100;

/// One change of the open transaction, in order.
pub enum Kept {
    /// Of a row.
    Row {
        /// The relation.
        relation: Arc<Relation>,
        /// The message.
        payload: Bytes,
    },
    /// A statement.
    Sql {
        /// Without parameters.
        sql: String,
        /// For messages.
        table: Arc<TableName>,
        /// With whose rights.
        role: Option<Arc<str>>,
    },
}

/// How a relation's changes are applied.
pub enum Way {
    /// Gathered.
    Many(Box<bulk::Table>),
    /// One by one.
    One(Arc<Relation>),
}

impl Way {
    /// The description that it was chosen for.
    pub fn relation(&self) -> &Arc<Relation> {
        match self {
            Way::Many(table) => table.relation(),
            Way::One(relation) => relation,
        }
    }
}

/// The changes of the open transaction.
#[derive(Default)]
pub struct Batch {
    /// By the relation's oid.
    pub ways: HashMap<u32, Way>,
    kept: Vec<Kept>,
    kept_bytes: usize,
    forgotten: bool,
    gathered: Vec<usize>,
    gathered_bytes: usize,
    /// A statement for many was sent in this transaction.
    pub used: bool,
    /// Tables that met a surprise, with the groups for which they go row by row.
    calm: HashMap<u32, u32>,
    one_by_one: bool,
}

impl Batch {
    /// Whether changes are gathered at all now.
    pub fn is_on(&self) -> bool {
        !self.one_by_one
    }

    /// Whether changes of a relation go row by row for a while.
    pub fn is_calm(&self, oid: u32) -> bool {
        self.calm.contains_key(&oid)
    }

    /// A relation met a surprise; all of them when it is not known which.
    pub fn calm_down(&mut self, table: Option<&str>) {
        let met = |way: &Way| table.is_none_or(|name| way.relation().table.to_string() == name);
        let mut oids: Vec<u32> = self.ways.iter().filter(|(_, way)| met(way)).map(|(oid, _)| *oid).collect();
        if oids.is_empty() {
            oids = self.ways.keys().copied().collect();
        }
        self.calm.extend(oids.into_iter().map(|oid| (oid, CALM)));
    }

    /// Keeps what is done; `gathered`: it has not been sent yet.
    pub fn keep(&mut self, kept: Kept, gathered: bool) {
        let bytes = OVERHEAD + if let Kept::Row { payload, .. } = &kept { payload.len() } else { 0 };
        if gathered {
            self.gathered.push(self.kept.len());
            self.gathered_bytes += bytes;
        }
        self.kept_bytes += bytes;
        self.kept.push(kept);
        self.forget_too_much();
    }

    /// What has been sent need not be kept for ever: past a bound it is read again instead.
    fn forget_too_much(&mut self) {
        if self.kept_bytes > KEPT && self.gathered.is_empty() {
            self.kept.clear();
            self.kept_bytes = 0;
            self.forgotten = true;
        }
    }

    /// Something was done that is not to be done again as it was: after a surprise all of the open transaction is read again.
    pub fn must_be_read_again(&mut self) {
        self.forgotten = true;
    }

    /// Whether what is gathered should be sent though the transaction goes on.
    pub fn is_full(&self) -> bool {
        self.gathered_bytes >= GATHERED || (self.kept_bytes > KEPT && !self.gathered.is_empty())
    }

    /// Whether it is worth statements for many.
    pub fn is_many(&self) -> bool {
        self.gathered.len() >= MANY
    }

    /// All changes of the open transaction, where few are gathered and nothing has been sent.
    pub fn whole(&self) -> Option<impl Iterator<Item = (&Arc<Relation>, &Bytes)>> {
        let is_whole = self.gathered.len() == self.kept.len() && !self.forgotten && !self.is_many();
        let rows = self.kept.iter().filter_map(|kept| match kept {
            Kept::Row { relation, payload } => Some((relation, payload)),
            Kept::Sql { .. } => None,
        });
        is_whole.then_some(rows)
    }

    /// The gathered changes are about to be sent: those that are to go one by one.
    pub fn take_few(&mut self) -> Vec<(Arc<Relation>, Bytes)> {
        let few = std::mem::take(&mut self.gathered);
        self.gathered_bytes = 0;
        let row = |at: &usize| match &self.kept[*at] {
            Kept::Row { relation, payload } => Some((relation.clone(), payload.clone())),
            Kept::Sql { .. } => None,
        };
        few.iter().filter_map(row).collect()
    }

    /// The gathered changes are about to be sent in sets.
    pub fn take_many(&mut self) {
        self.gathered.clear();
        self.gathered_bytes = 0;
        self.used = true;
        self.forget_too_much();
    }

    /// What is to be done one by one, after a surprise; none when it must be read again.
    pub fn again(&mut self) -> Option<Vec<Kept>> {
        self.gathered.clear();
        self.gathered_bytes = 0;
        self.used = false;
        self.one_by_one = true;
        self.kept_bytes = 0;
        let kept = std::mem::take(&mut self.kept);
        (!self.forgotten).then_some(kept)
    }

    /// The transaction has ended.
    pub fn end(&mut self) {
        let (ways, mut calm) = (std::mem::take(&mut self.ways), std::mem::take(&mut self.calm));
        calm.retain(|_, groups| {
            *groups -= 1;
            *groups > 0
        });
        *self = Batch { ways, calm, ..Batch::default() };
    }
}
