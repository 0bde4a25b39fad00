//! Changes of a table that wait until its copy is on the peer.
//!
//! They wait in memory up to a bound. Past it they are forgotten and the stream is read once more from the first of
//! them, which the slot still holds: the same way as after a crash.

use std::sync::Arc;

use bytes::Bytes;
use pgrelay_core::Lsn;

use super::{relation::Relation, tables::Form};
use crate::conflict::resolve::Origin;

/// Bound of all waiting changes of a task together, in bytes.
const BOUND: usize = 64 << 20;

/// Bytes that a waiting change costs beside its content.
const OVERHEAD: usize = 128;

/// One change that waits.
pub struct WaitingChange {
    /// End of the transaction it belongs to.
    pub end: Lsn,
    /// That transaction.
    pub of: Origin,
    /// The description that its rows follow; none for a TRUNCATE of the table.
    pub relation: Option<Arc<Relation>>,
    /// What of it is to be applied.
    pub form: Form,
    /// The message, in memory of its own.
    pub payload: Bytes,
}

/// What waits for one table.
#[derive(Default)]
pub struct Waiting {
    /// In the order of the stream.
    pub changes: Vec<WaitingChange>,
    /// Commit record of the first transaction that waits: the slot stays before it.
    pub first_commit: Option<Lsn>,
    /// Some were forgotten: the stream must be read again from `first_commit`.
    pub overflowed: bool,
    bytes: usize,
}

/// Bytes that wait for all tables of a task.
#[derive(Default)]
pub struct Budget {
    used: usize,
}

impl Waiting {
    /// Keeps a change, or forgets them all when the bound is passed.
    pub fn push(&mut self, budget: &mut Budget, commit: Lsn, change: WaitingChange) {
        self.first_commit.get_or_insert(commit);
        if self.overflowed {
            return;
        }
        let bytes = change.payload.len() + OVERHEAD;
        if budget.used + bytes > BOUND {
            self.overflow(budget);
            return;
        }
        budget.used += bytes;
        self.bytes += bytes;
        self.changes.push(change);
    }

    /// Forgets what waits, and what comes from here on: all of it is read again when the copy is there.
    pub fn overflow(&mut self, budget: &mut Budget) {
        self.forget(budget);
        self.overflowed = true;
    }

    /// Takes everything out; the budget counts it no more.
    pub fn take(&mut self, budget: &mut Budget) -> Waiting {
        budget.used -= self.bytes;
        Waiting { bytes: 0, ..std::mem::take(self) }
    }

    /// Gives the memory back.
    pub fn forget(&mut self, budget: &mut Budget) {
        budget.used -= self.bytes;
        self.bytes = 0;
        self.changes = vec![];
    }
}
