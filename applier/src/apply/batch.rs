//! What of the peer's open transaction is gathered, and what it takes to do it again row by row.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
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

/// For so many groups changes go row by row after a surprise: what collides once often does again.
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
    calm: u32,
    one_by_one: bool,
}

impl Batch {
    /// Whether changes are gathered at all now.
    pub fn is_on(&self) -> bool {
        self.calm == 0 && !self.one_by_one
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
    }

    /// Whether what is gathered should be sent though the transaction goes on.
    pub fn is_full(&self) -> bool {
        self.gathered_bytes >= GATHERED
    }

    /// Whether it is worth statements for many.
    pub fn is_many(&self) -> bool {
        self.gathered.len() >= MANY
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
        // Nothing refers to it any more, and it need not be there for ever.
        if self.kept_bytes > KEPT {
            self.kept.clear();
            self.kept_bytes = 0;
            self.forgotten = true;
        }
    }

    /// What is to be done one by one, after a surprise; none when it must be read again.
    pub fn again(&mut self) -> Option<Vec<Kept>> {
        self.gathered.clear();
        self.gathered_bytes = 0;
        self.used = false;
        self.one_by_one = true;
        self.calm = CALM;
        self.kept_bytes = 0;
        let kept = std::mem::take(&mut self.kept);
        (!self.forgotten).then_some(kept)
    }

    /// The transaction has ended.
    pub fn end(&mut self) {
        self.calm = if self.one_by_one { CALM } else { self.calm.saturating_sub(1) };
        let ways = std::mem::take(&mut self.ways);
        *self = Batch { ways, calm: self.calm, ..Batch::default() };
    }
}
