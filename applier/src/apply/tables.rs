//! Which changes of which table are applied now, wait, or are in its copy already.
//!
//! Until every table streams, each table has a position of its own. Its life:
//!
//! ```text
//! init ──asks──▶ asking ──snapshot accepted──▶ copying ──copy committed, changes drained──▶ caught
//!   changes are left out:                        visible in the snapshot: in the copy          visible in the snapshot, or
//!   the coming snapshot will hold them           not visible: wait                             before its position: left out
//!                                                                                              otherwise: applied
//! ```
//!
//! A commit is decoded before its transaction becomes visible (with synchronous replication long before). So a
//! snapshot is accepted only if it sees every transaction whose changes were left out, and the slot is not
//! confirmed past such a transaction until a fresh snapshot sees it: after a crash it comes again.
//! A copy asks before it takes its snapshot: what a later snapshot sees says nothing about one that was taken before, so
//! from then on every transaction is remembered for this table until its snapshot is there.

use std::collections::{HashMap, HashSet};

use pgrelay_core::{
    Lsn,
    name::TableName,
    snapshot::{Snapshot, Xid},
};

use super::waiting::{Budget, Waiting};

/// What a table's copy saw.
#[derive(Debug, Clone)]
pub struct Seen {
    /// A transaction visible in it is in the copy.
    pub snapshot: Snapshot,
    /// Every transaction visible in the snapshot committed before this position.
    pub visible_below: Lsn,
}

/// How far a table is.
pub enum State {
    /// No snapshot yet.
    Init,
    /// A snapshot is being taken.
    Asking {
        /// Transactions whose changes of this table were left out and that the snapshot must see.
        passed: Vec<Transaction>,
    },
    /// Its rows are on their way.
    Copying {
        /// What the copy sees.
        seen: Seen,
        /// What the copy does not hold.
        waiting: Waiting,
    },
    /// Its rows are on the peer.
    Caught {
        /// What the copy saw.
        seen: Seen,
        /// Its changes up to here are applied.
        position: Lsn,
    },
}

/// What is to be done with a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Now.
    Apply,
    /// When the table's copy is there.
    Wait,
    /// It is on the peer, or will come with the copy.
    LeaveOut,
}

/// A transaction of the stream.
#[derive(Debug, Clone, Copy)]
pub struct Transaction {
    /// Its id.
    pub xid: Xid,
    /// Its commit record.
    pub commit: Lsn,
}

struct Unseen {
    transaction: Transaction,
    tables: HashSet<TableName>,
}

/// The tables of a task while not every one streams.
#[derive(Default)]
pub struct Tables {
    states: HashMap<TableName, State>,
    /// Transactions whose changes were left out in `init` and that no fresh snapshot has seen yet, in commit order.
    unseen: Vec<Unseen>,
    /// Shared by everything that waits.
    pub budget: Budget,
}

impl Tables {
    /// Adds a table that the task found in `state`.
    pub fn add(&mut self, table: TableName, state: State) {
        self.states.insert(table, state);
    }

    /// A table's state.
    pub fn get(&self, table: &TableName) -> Option<&State> {
        self.states.get(table)
    }

    /// Whether the task has this table.
    pub fn contains(&self, table: &TableName) -> bool {
        self.states.contains_key(table)
    }

    /// What to do with a change of a table. Call `leave_out` for a table in `init`.
    pub fn verdict(&mut self, table: &TableName, transaction: Transaction) -> Verdict {
        match self.states.get_mut(table) {
            None => Verdict::LeaveOut,
            Some(State::Init) => {
                self.remember(table, transaction);
                Verdict::LeaveOut
            }
            Some(State::Asking { passed }) => {
                if passed.last().is_none_or(|last| last.commit != transaction.commit) {
                    passed.push(transaction);
                }
                self.remember(table, transaction);
                Verdict::LeaveOut
            }
            Some(State::Copying { seen, .. }) if seen.snapshot.sees(transaction.xid) => Verdict::LeaveOut,
            Some(State::Copying { .. }) => Verdict::Wait,
            Some(State::Caught { seen, position }) => {
                // The position is the end of a commit record, so it is above the start of every commit it covers.
                if transaction.commit < *position || seen.snapshot.sees(transaction.xid) { Verdict::LeaveOut } else { Verdict::Apply }
            }
        }
    }

    fn remember(&mut self, table: &TableName, transaction: Transaction) {
        match self.unseen.last_mut() {
            Some(last) if last.transaction.commit == transaction.commit => {
                if !last.tables.contains(table) {
                    last.tables.insert(table.clone());
                }
            }
            _ => self.unseen.push(Unseen { transaction, tables: HashSet::from([table.clone()]) }),
        }
    }

    /// The queue of a table that is being copied, and the budget.
    pub fn waiting(&mut self, table: &TableName) -> Option<(&mut Waiting, &mut Budget)> {
        match self.states.get_mut(table) {
            Some(State::Copying { waiting, .. }) => Some((waiting, &mut self.budget)),
            _ => None,
        }
    }

    /// A copy is about to take a snapshot.
    pub fn ask(&mut self, table: &TableName) {
        let passed = self.unseen.iter().filter(|u| u.tables.contains(table)).map(|u| u.transaction).collect();
        self.states.insert(table.clone(), State::Asking { passed });
    }

    /// A copy offers the snapshot that it took for these tables after it asked; false: it must ask again.
    pub fn accept(&mut self, tables: &[TableName], seen: &Seen) -> bool {
        self.fresh_snapshot(&seen.snapshot);
        let good = tables.iter().all(|table| match self.states.get(table) {
            Some(State::Asking { passed }) => passed.iter().all(|t| seen.snapshot.sees(t.xid)),
            _ => false,
        });
        for table in tables {
            let state = if good { State::Copying { seen: seen.clone(), waiting: Waiting::default() } } else { State::Init };
            self.states.insert(table.clone(), state);
        }
        good
    }

    /// A snapshot taken now: what it sees need not be remembered.
    pub fn fresh_snapshot(&mut self, snapshot: &Snapshot) {
        self.unseen.retain(|u| !snapshot.sees(u.transaction.xid));
    }

    /// Whether a fresh snapshot would let the slot move.
    pub fn wants_fresh_snapshot(&self) -> bool {
        !self.unseen.is_empty()
    }

    /// The copy of a table is on the peer: takes what waits for it. The table is caught from here on.
    pub fn caught(&mut self, table: &TableName) -> Option<Waiting> {
        match self.states.remove(table) {
            Some(State::Copying { seen, mut waiting }) => {
                let position = waiting.changes.last().map_or(Lsn(0), |c| c.end);
                let taken = waiting.take(&mut self.budget);
                self.states.insert(table.clone(), State::Caught { seen, position });
                Some(taken)
            }
            Some(other) => {
                self.states.insert(table.clone(), other);
                None
            }
            None => None,
        }
    }

    /// Moves the position of a caught table.
    pub fn moved(&mut self, table: &TableName, end: Lsn) {
        if let Some(State::Caught { position, .. }) = self.states.get_mut(table) {
            *position = (*position).max(end);
        }
    }

    /// The stream is about to be read again from the confirmed position: what waits comes again.
    pub fn rewind(&mut self) {
        for state in self.states.values_mut() {
            match state {
                State::Copying { waiting, .. } => {
                    waiting.forget(&mut self.budget);
                    *waiting = Waiting::default();
                }
                // Its snapshot is refused when it comes: what has passed is not known any more.
                State::Asking { .. } => *state = State::Init,
                State::Init | State::Caught { .. } => {}
            }
        }
        self.unseen.clear();
    }

    /// The slot must stay before this commit record.
    pub fn hold(&self) -> Option<Lsn> {
        let waiting = self.states.values().filter_map(|s| match s {
            State::Copying { waiting, .. } => waiting.first_commit,
            _ => None,
        });
        waiting.chain(self.unseen.iter().map(|u| u.transaction.commit)).min()
    }

    /// Whether every table is caught and stands exactly where the stream stands: the stream has passed all that its copy
    /// saw, and, when it is read again after a restart, all that was applied before.
    pub fn stand_at(&self, at: Lsn) -> bool {
        let stands = |s: &State| matches!(s, State::Caught { seen, position } if seen.visible_below <= at && *position <= at);
        self.states.values().all(stands)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::waiting::WaitingChange;

    fn table() -> TableName {
        TableName::new("s", "t")
    }

    fn seen(snapshot: &str) -> Seen {
        Seen { snapshot: snapshot.parse().expect("a snapshot"), visible_below: Lsn(100) }
    }

    fn transaction(xid: u64, commit: u64) -> Transaction {
        Transaction { xid: Xid(xid), commit: Lsn(commit) }
    }

    fn take(tables: &mut Tables, snapshot: &str) -> bool {
        tables.ask(&table());
        tables.accept(&[table()], &seen(snapshot))
    }

    fn tables() -> Tables {
        let mut tables = Tables::default();
        tables.add(table(), State::Init);
        tables
    }

    #[test]
    fn a_snapshot_that_does_not_see_a_passed_transaction_is_refused_and_the_slot_waits_for_it() {
        let mut tables = tables();
        assert_eq!(tables.verdict(&table(), transaction(12, 50)), Verdict::LeaveOut);
        assert_eq!(tables.hold(), Some(Lsn(50)));
        assert!(!take(&mut tables, "10:20:12"), "listed as running");
        assert!(!take(&mut tables, "10:12:"), "at xmax");
        assert_eq!(tables.hold(), Some(Lsn(50)));
        assert!(take(&mut tables, "10:20:11"));
        assert_eq!(tables.hold(), None);
    }

    #[test]
    fn a_snapshot_is_not_judged_by_what_a_later_one_sees() {
        let mut tables = tables();
        tables.ask(&table());
        // The copy takes 10:20:12 now; then the transaction passes, becomes visible, and a fresh snapshot sees it.
        assert_eq!(tables.verdict(&table(), transaction(12, 50)), Verdict::LeaveOut);
        tables.fresh_snapshot(&seen("21:21:").snapshot);
        assert_eq!(tables.hold(), None);
        assert!(!tables.accept(&[table()], &seen("10:20:12")));
        assert!(take(&mut tables, "21:21:"));
    }

    #[test]
    fn tables_that_share_a_snapshot_are_accepted_together_or_not_at_all() {
        let (mut tables, other) = (tables(), TableName::new("s", "u"));
        tables.add(other.clone(), State::Init);
        assert_eq!(tables.verdict(&other, transaction(12, 50)), Verdict::LeaveOut);
        let both = [table(), other];
        both.iter().for_each(|t| tables.ask(t));
        assert!(!tables.accept(&both, &seen("10:20:12")));
        assert!(both.iter().all(|t| matches!(tables.get(t), Some(State::Init))));
        both.iter().for_each(|t| tables.ask(t));
        assert!(tables.accept(&both, &seen("10:20:")));
        assert!(both.iter().all(|t| matches!(tables.get(t), Some(State::Copying { .. }))));
    }

    #[test]
    fn a_snapshot_from_before_a_rewind_is_refused() {
        let mut tables = tables();
        tables.ask(&table());
        tables.rewind();
        assert!(!tables.accept(&[table()], &seen("10:20:")));
    }

    #[test]
    fn what_the_copy_does_not_see_waits_and_holds_the_slot_until_it_is_drained() {
        let mut tables = tables();
        assert!(take(&mut tables, "10:20:12"));
        assert_eq!(tables.verdict(&table(), transaction(11, 40)), Verdict::LeaveOut);
        assert_eq!(tables.verdict(&table(), transaction(12, 50)), Verdict::Wait);
        let (waiting, budget) = tables.waiting(&table()).expect("it is being copied");
        waiting.push(budget, Lsn(50), WaitingChange { end: Lsn(58), relation: None, payload: bytes::Bytes::from_static(b"x") });
        assert_eq!(tables.hold(), Some(Lsn(50)));
        assert_eq!(tables.caught(&table()).expect("it was being copied").changes.len(), 1);
        assert_eq!(tables.hold(), None);
        assert_eq!(tables.verdict(&table(), transaction(12, 50)), Verdict::LeaveOut, "after a restart it comes again");
        assert_eq!(tables.verdict(&table(), transaction(13, 60)), Verdict::LeaveOut, "a late commit that the copy saw");
        assert_eq!(tables.verdict(&table(), transaction(21, 70)), Verdict::Apply);
        assert!(!tables.stand_at(Lsn(99)));
        assert!(tables.stand_at(Lsn(100)));
        tables.moved(&table(), Lsn(200));
        assert!(!tables.stand_at(Lsn(150)), "the stream is read again: what is applied already would be applied twice");
        assert!(tables.stand_at(Lsn(200)));
    }

    #[test]
    fn too_much_waiting_is_forgotten_and_read_again() {
        let mut tables = tables();
        assert!(take(&mut tables, "10:20:"));
        let big = bytes::Bytes::from(vec![0; 40 << 20]);
        for commit in [50, 60] {
            let (waiting, budget) = tables.waiting(&table()).expect("it is being copied");
            waiting.push(budget, Lsn(commit), WaitingChange { end: Lsn(commit + 8), relation: None, payload: big.clone() });
        }
        assert_eq!(tables.hold(), Some(Lsn(50)));
        let waiting = tables.caught(&table()).expect("it was being copied");
        assert!(waiting.overflowed && waiting.changes.is_empty());
        assert_eq!(tables.verdict(&table(), transaction(30, 50)), Verdict::Apply, "nothing of it is on the peer yet");
    }
}
