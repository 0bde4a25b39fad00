//! The peer's transaction that is being filled: one source transaction, or several while there is a backlog.

use std::{sync::Arc, time::Duration};

use foldhash::HashMap;
use pgrelay_core::{Lsn, name::TableName};
use tokio::{sync::OwnedMutexGuard, time::Instant};

use super::session::Operation;
use crate::{
    conflict::{
        deferrable::NewRows,
        tombstone::{Deleted, Emptied},
    },
    stream::receiver::is_late,
};

/// Changes after which the next end of a source transaction is committed.
const ENOUGH: i64 = 10_000;

/// The same by time: what a limit of the stream lets through shows on the peer soon, and not a group at a time.
const LONG_ENOUGH: Duration = Duration::from_millis(200);

/// What is in it so far.
#[derive(Default)]
pub struct Group {
    gate: Option<(OwnedMutexGuard<()>, Instant)>,
    /// By where the name lies in memory, which costs less than to compare names; a table may be there under two.
    changes: HashMap<usize, (Arc<TableName>, [i64; 4])>,
    total: i64,
    rows: i64,
    transactions: i64,
    /// End of the last source transaction in it.
    pub end: Lsn,
    /// The latest commit time of those in it.
    pub commit_ts: i64,
    late: bool,
    /// New rows whose deferrable keys are to be tested.
    pub new_rows: NewRows,
    /// Rows that the other side's sessions deleted, to be remembered there.
    pub deleted: Vec<Deleted>,
    /// Tables that were emptied there, likewise.
    pub emptied: Vec<Emptied>,
    /// Some of what it holds was decided change by change.
    pub is_careful: bool,
    /// What others may have written is looked at before it is changed, many rows at once (`weigh`).
    pub is_weighed: bool,
    /// Tables of a weighed group with new rows that were not looked at.
    pub new_in: Vec<Arc<TableName>>,
    /// Changes that wait for that.
    pub waiting: usize,
    /// Rows of the peer are locked by a look: others wait for its end.
    pub holds_rows: bool,
    /// It holds what only the stream can bring again: nothing else may share its transaction.
    pub is_closed: bool,
}

/// What was in it.
pub struct Done {
    /// Inserts, updates, deletes, truncates of each table.
    pub changes: Vec<(Arc<TableName>, [i64; 4])>,
    /// All of them.
    pub total: i64,
    /// Changes of rows that the stream brought.
    pub rows: i64,
    /// Source transactions.
    pub transactions: i64,
    /// Changes that a trigger or rule of the peer has kept away.
    pub suppressed: u64,
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
        // One that was left out is dealt with too.
        let counts = &mut self.changes.entry(Arc::as_ptr(table).addr()).or_insert_with(|| (table.clone(), [0; 4])).1;
        let column = match operation {
            Operation::Insert => 0,
            Operation::Update => 1,
            Operation::Delete => 2,
            Operation::Truncate => 3,
            Operation::DeleteAny
            | Operation::Look { .. }
            | Operation::Watched
            | Operation::Many(_)
            | Operation::Role
            | Operation::Position
            | Operation::Records
            | Operation::Other => return,
        };
        counts[column] += 1;
        self.total += 1;
    }

    /// A source transaction ends, which the source has sent at `sent`. Both times are by the source's clock.
    pub fn transaction(&mut self, end: Lsn, commit_ts: i64, sent: i64) {
        self.late = is_late(sent, commit_ts);
        self.end = end;
        self.commit_ts = if self.transactions == 0 { commit_ts } else { self.commit_ts.max(commit_ts) };
        self.transactions += 1;
    }

    /// A source transaction of which nothing is applied ends behind those in it.
    pub fn passed(&mut self, end: Lsn) {
        self.end = self.end.max(end);
    }

    /// Whether it should be committed though more is there.
    pub fn is_full(&self) -> bool {
        self.total >= ENOUGH || self.holds_rows || self.gate.as_ref().is_some_and(|(_, since)| since.elapsed() >= LONG_ENOUGH)
    }

    /// Whether what comes next is worth waiting for a moment: the source has not come up with its own WAL, so more is on its way, and
    /// nobody sees the moment.
    pub fn may_wait(&self) -> bool {
        self.is_open() && self.late
    }

    /// A new row comes to a table that is not looked at.
    pub fn inserts_into(&mut self, table: &Arc<TableName>) {
        if !self.new_in.contains(table) {
            self.new_in.push(table.clone());
        }
    }

    /// Whether what its changes meet was looked at.
    pub fn is_decided(&self) -> bool {
        self.is_careful || self.is_weighed
    }

    /// Changes in it.
    pub fn total(&self) -> i64 {
        self.total
    }

    /// Tables with changes in it.
    pub fn touched(&self) -> Vec<Arc<TableName>> {
        self.changes.values().map(|(table, _)| table.clone()).collect()
    }

    /// The peer's transaction has ended; `suppressed`: changes that a trigger or rule of the peer has kept away.
    pub fn close(&mut self, suppressed: u64) -> Done {
        let Group { changes, total, rows, transactions, .. } = std::mem::take(self);
        Done { changes: changes.into_values().collect(), total, rows, transactions, suppressed }
    }

    /// Source transactions in it.
    pub fn transactions(&self) -> i64 {
        self.transactions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_group_of_transactions_that_were_sent_late_may_wait_for_more() {
        let gate = std::sync::Arc::new(tokio::sync::Mutex::new(()));
        let mut group = Group::default();
        group.open(gate.clone().try_lock_owned().expect("free"));
        group.transaction(Lsn(8), 1_000_000, 1_100_000);
        assert!(!group.may_wait(), "it was sent at once");
        group.transaction(Lsn(16), 1_000_000, 1_100_001);
        assert!(group.may_wait());
        group.transaction(Lsn(24), 1_000_000, 0);
        assert!(!group.may_wait(), "a source whose clock goes back has no backlog by it");
        group.close(0);
        assert!(!group.may_wait(), "nothing is open");
    }
}
