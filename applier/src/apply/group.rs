//! The peer's transaction that is being filled: one source transaction, or several while there is a backlog.

use std::{collections::HashMap, sync::Arc, time::Duration};

use pgrelay_core::{Lsn, name::TableName};
use tokio::{sync::OwnedMutexGuard, time::Instant};

use super::session::Operation;

/// Changes after which the next end of a source transaction is committed.
const ENOUGH: i64 = 10_000;

/// The same by time: what a limit of the stream lets through shows on the peer soon, and not a group at a time.
const LONG_ENOUGH: Duration = Duration::from_millis(200);

/// What is in it so far.
#[derive(Default)]
pub struct Group {
    gate: Option<(OwnedMutexGuard<()>, Instant)>,
    changes: HashMap<Arc<TableName>, [i64; 4]>,
    total: i64,
    rows: i64,
    transactions: i64,
    /// End of the last source transaction in it.
    pub end: Lsn,
    /// Commit time of that.
    pub commit_ts: i64,
}

/// What was in it.
pub struct Done {
    /// Inserts, updates, deletes, truncates of each table.
    pub changes: HashMap<Arc<TableName>, [i64; 4]>,
    /// All of them.
    pub total: i64,
    /// Changes of rows that the stream brought.
    pub rows: i64,
    /// Source transactions.
    pub transactions: i64,
}

impl Group {
    /// Whether the peer's transaction is open.
    pub fn is_open(&self) -> bool {
        self.gate.is_some()
    }

    /// The peer's transaction opens; `gate` is held until it ends.
    pub fn open(&mut self, gate: OwnedMutexGuard<()>) {
        self.gate = Some((gate, Instant::now()));
    }

    /// Counts a change.
    pub fn count(&mut self, table: &Arc<TableName>, operation: Operation) {
        self.rows += i64::from(operation != Operation::Truncate);
        let column = match operation {
            Operation::Insert => 0,
            Operation::Update | Operation::Upsert => 1,
            Operation::Delete => 2,
            Operation::Truncate => 3,
            Operation::Look { .. }
            | Operation::Watched { .. }
            | Operation::Many(_)
            | Operation::Role
            | Operation::Position
            | Operation::Other => return,
        };
        self.changes.entry(table.clone()).or_default()[column] += 1;
        self.total += 1;
    }

    /// A source transaction ends.
    pub fn transaction(&mut self, end: Lsn, commit_ts: i64) {
        self.end = end;
        self.commit_ts = commit_ts;
        self.transactions += 1;
    }

    /// Whether it should be committed though more is there.
    pub fn is_full(&self) -> bool {
        self.total >= ENOUGH || self.gate.as_ref().is_some_and(|(_, since)| since.elapsed() >= LONG_ENOUGH)
    }

    /// Tables with changes in it.
    pub fn touched(&self) -> Vec<Arc<TableName>> {
        self.changes.keys().cloned().collect()
    }

    /// The peer's transaction has ended.
    pub fn close(&mut self) -> Done {
        let done = std::mem::take(self);
        Done { changes: done.changes, total: done.total, rows: done.rows, transactions: done.transactions }
    }
}
