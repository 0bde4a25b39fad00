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
    key_range::{KeyRange, KeyType, KeyValue},
    name::TableName,
    snapshot::{Snapshot, Xid},
};

use super::waiting::{Budget, Waiting};

/// What a table's copy saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// A transaction visible in it is in the copy.
    pub snapshot: Snapshot,
    /// Every transaction visible in the snapshot committed before this position.
    pub visible_below: Lsn,
}

/// The column by whose values a table is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Unquoted.
    pub column: String,
    /// Of the column.
    pub type_oid: u32,
    /// Its order.
    pub key_type: KeyType,
}

/// Parts of a table that an earlier try has copied, each under the snapshot of that try.
#[derive(Debug, Clone)]
pub struct Earlier {
    /// By which it was cut.
    pub key: Key,
    /// In order, without overlap.
    pub parts: Vec<(KeyRange, Seen)>,
}

/// How far a table is, but for the parts that an earlier try has copied.
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
    },
    /// Its rows are on the peer.
    Caught {
        /// What the copy saw.
        seen: Seen,
        /// Its changes up to here are applied.
        position: Lsn,
    },
}

struct Table {
    state: State,
    earlier: Option<Earlier>,
    waiting: Waiting,
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

/// Which rows a change is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// All of the table, or one where the table has no earlier parts.
    Any,
    /// The row of this key.
    One(KeyValue),
    /// A row whose key changes.
    Moved {
        /// What it was.
        old: KeyValue,
        /// What it becomes.
        new: KeyValue,
    },
}

/// What of a change is to be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// All of it.
    Whole,
    /// An update whose old row the copy does not have: the new row only.
    NewRow,
    /// An update whose new row the copy has: the old row goes.
    OldRow,
    /// A truncate that a later part of the copy has seen: these ranges are emptied.
    Ranges(Vec<KeyRange>),
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
    all: HashMap<TableName, Table>,
    /// Transactions whose changes were left out in `init` and that no fresh snapshot has seen yet, in commit order.
    unseen: Vec<Unseen>,
    /// Shared by everything that waits.
    pub budget: Budget,
}

impl Tables {
    /// Adds a table that the task found in `state`, with the parts that earlier tries have copied.
    pub fn add(&mut self, table: TableName, state: State, earlier: Option<Earlier>) {
        self.all.insert(table, Table { state, earlier, waiting: Waiting::default() });
    }

    /// A table's state.
    pub fn get(&self, table: &TableName) -> Option<&State> {
        self.all.get(table).map(|t| &t.state)
    }

    /// The key by which a table's changes must be told apart; none where all of its rows were copied under one snapshot.
    pub fn key(&self, table: &TableName) -> Option<&Key> {
        self.all.get(table)?.earlier.as_ref().map(|e| &e.key)
    }

    /// What to do with a change of a table, and with which part of it.
    pub fn decide(&mut self, table: &TableName, transaction: Transaction, rows: &Rows) -> (Verdict, Form) {
        let Some(found) = self.all.get_mut(table) else { return (Verdict::LeaveOut, Form::Whole) };
        let (verdict, form, left_to_copy) = match (&found.earlier, rows) {
            (None, _) => {
                let (verdict, later) = found.rest(transaction);
                (verdict, Form::Whole, later)
            }
            (Some(_), Rows::One(key)) => {
                let (verdict, later) = found.of(Some(key), transaction);
                (verdict, Form::Whole, later)
            }
            (Some(_), Rows::Moved { old, new }) => {
                let ((old, a), (new, b)) = (found.of(Some(old), transaction), found.of(Some(new), transaction));
                let (verdict, form) = match (old, new) {
                    (Verdict::LeaveOut, new) => (new, Form::NewRow),
                    (old, Verdict::LeaveOut) => (old, Form::OldRow),
                    (old, _) => (old, Form::Whole),
                };
                (verdict, form, a || b)
            }
            (Some(earlier), Rows::Any) => {
                let (rest, later) = found.rest(transaction);
                let parts = earlier.parts.iter().map(|(range, seen)| (range, found.by_snapshot(seen, transaction)));
                let open: Vec<_> = parts.filter(|(_, verdict)| *verdict != Verdict::LeaveOut).collect();
                match open.first() {
                    // What an earlier snapshot sees a later one sees too.
                    None => (rest, Form::Whole, later),
                    Some(_) if rest != Verdict::LeaveOut && open.len() == earlier.parts.len() => (rest, Form::Whole, later),
                    Some((_, verdict)) => (*verdict, Form::Ranges(open.iter().map(|(range, _)| (*range).clone()).collect()), later),
                }
            }
        };
        if left_to_copy {
            self.left_out_until_seen(table, transaction);
        }
        (verdict, form)
    }

    /// A change is left out since the coming snapshot will have it: that must be made sure.
    fn left_out_until_seen(&mut self, table: &TableName, transaction: Transaction) {
        if let Some(Table { state: State::Asking { passed }, .. }) = self.all.get_mut(table)
            && passed.last().is_none_or(|last| last.commit != transaction.commit)
        {
            passed.push(transaction);
        }
        match self.unseen.last_mut() {
            Some(last) if last.transaction.commit == transaction.commit => {
                if !last.tables.contains(table) {
                    last.tables.insert(table.clone());
                }
            }
            _ => self.unseen.push(Unseen { transaction, tables: HashSet::from([table.clone()]) }),
        }
    }

    /// The queue of a table whose copy is not there, and the budget.
    pub fn waiting(&mut self, table: &TableName) -> Option<(&mut Waiting, &mut Budget)> {
        match self.all.get_mut(table) {
            Some(Table { state: State::Caught { .. }, .. }) | None => None,
            Some(Table { waiting, .. }) => Some((waiting, &mut self.budget)),
        }
    }

    /// A copy is about to take a snapshot for what `earlier` tries have not copied. Changes that wait for another snapshot than
    /// that are forgotten, as if they were too many: when the copy is there they are read again, and judged anew.
    pub fn ask(&mut self, table: &TableName, earlier: Option<Earlier>) {
        let passed = self.unseen.iter().filter(|u| u.tables.contains(table)).map(|u| u.transaction).collect();
        let Some(found) = self.all.get_mut(table) else { return };
        let again = matches!(found.state, State::Copying { .. }) || (found.earlier.is_some() && earlier.is_none());
        if again && found.waiting.first_commit.is_some() {
            found.waiting.overflow(&mut self.budget);
        }
        found.earlier = earlier;
        found.state = State::Asking { passed };
    }

    fn set(&mut self, table: &TableName, state: State) {
        if let Some(found) = self.all.get_mut(table) {
            found.state = state;
        }
    }

    /// A copy offers the snapshot that it took for these tables after it asked; false: it must ask again.
    pub fn accept(&mut self, tables: &[TableName], seen: &Seen) -> bool {
        self.fresh_snapshot(&seen.snapshot);
        let good = tables.iter().all(|table| match self.get(table) {
            Some(State::Asking { passed }) => passed.iter().all(|t| seen.snapshot.sees(t.xid)),
            _ => false,
        });
        for table in tables {
            self.set(table, if good { State::Copying { seen: seen.clone() } } else { State::Init });
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
        let found = self.all.get_mut(table)?;
        let State::Copying { seen } = &found.state else { return None };
        let position = found.waiting.changes.last().map_or(Lsn(0), |c| c.end);
        found.state = State::Caught { seen: seen.clone(), position };
        Some(found.waiting.take(&mut self.budget))
    }

    /// Moves the position of a caught table.
    pub fn moved(&mut self, table: &TableName, end: Lsn) {
        if let Some(Table { state: State::Caught { position, .. }, .. }) = self.all.get_mut(table) {
            *position = (*position).max(end);
        }
    }

    /// The stream is about to be read again from the confirmed position: what waits comes again.
    pub fn rewind(&mut self) {
        for table in self.all.values_mut() {
            table.waiting.forget(&mut self.budget);
            table.waiting = Waiting::default();
            // Its snapshot is refused when it comes: what has passed is not known any more.
            if matches!(table.state, State::Asking { .. }) {
                table.state = State::Init;
            }
        }
        self.unseen.clear();
    }

    /// The slot must stay before this commit record.
    pub fn hold(&self) -> Option<Lsn> {
        let waiting = self.all.values().filter(|t| !matches!(t.state, State::Caught { .. })).filter_map(|t| t.waiting.first_commit);
        waiting.chain(self.unseen.iter().map(|u| u.transaction.commit)).min()
    }

    /// Whether every table is caught and stands exactly where the stream stands: the stream has passed all that its copy
    /// saw, and, when it is read again after a restart, all that was applied before.
    pub fn stand_at(&self, at: Lsn) -> bool {
        let stands = |t: &Table| matches!(&t.state, State::Caught { seen, position } if seen.visible_below <= at && *position <= at);
        self.all.values().all(stands)
    }
}

impl Table {
    /// The verdict on a change of the row with this key; true: it comes with a copy that has no snapshot yet.
    fn of(&self, key: Option<&KeyValue>, transaction: Transaction) -> (Verdict, bool) {
        let part = |earlier: &'_ Earlier, key: &KeyValue| {
            let at = earlier.parts.partition_point(|(range, _)| range.lower.as_ref().is_none_or(|l| l.value <= *key));
            at.checked_sub(1).filter(|&at| earlier.parts[at].0.contains(key))
        };
        match (&self.earlier, key) {
            (Some(earlier), Some(key)) => match part(earlier, key) {
                Some(at) => (self.by_snapshot(&earlier.parts[at].1, transaction), false),
                None => self.rest(transaction),
            },
            _ => self.rest(transaction),
        }
    }

    /// Of rows that no earlier try has copied.
    fn rest(&self, transaction: Transaction) -> (Verdict, bool) {
        match &self.state {
            State::Init | State::Asking { .. } => (Verdict::LeaveOut, true),
            State::Copying { seen } | State::Caught { seen, .. } => (self.by_snapshot(seen, transaction), false),
        }
    }

    fn by_snapshot(&self, seen: &Seen, transaction: Transaction) -> Verdict {
        match &self.state {
            _ if seen.snapshot.sees(transaction.xid) => Verdict::LeaveOut,
            // The position is the end of a commit record, so it is above the start of every commit it covers.
            State::Caught { position, .. } if transaction.commit < *position => Verdict::LeaveOut,
            State::Caught { .. } => Verdict::Apply,
            _ => Verdict::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use pgrelay_core::key_range::Bound;

    use super::*;
    use crate::{apply::waiting::WaitingChange, conflict::resolve::Origin};

    const ORIGIN: Origin = Origin { xid: 7, commit: Lsn(50), committed: 0 };

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
        let earlier = tables.all.get(&table()).and_then(|t| t.earlier.clone());
        tables.ask(&table(), earlier);
        tables.accept(&[table()], &seen(snapshot))
    }

    fn verdict(tables: &mut Tables, table: &TableName, transaction: Transaction) -> Verdict {
        tables.decide(table, transaction, &Rows::Any).0
    }

    fn tables() -> Tables {
        let mut tables = Tables::default();
        tables.add(table(), State::Init, None);
        tables
    }

    #[test]
    fn a_snapshot_that_does_not_see_a_passed_transaction_is_refused_and_the_slot_waits_for_it() {
        let mut tables = tables();
        assert_eq!(verdict(&mut tables, &table(), transaction(12, 50)), Verdict::LeaveOut);
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
        tables.ask(&table(), None);
        // The copy takes 10:20:12 now; then the transaction passes, becomes visible, and a fresh snapshot sees it.
        assert_eq!(verdict(&mut tables, &table(), transaction(12, 50)), Verdict::LeaveOut);
        tables.fresh_snapshot(&seen("21:21:").snapshot);
        assert_eq!(tables.hold(), None);
        assert!(!tables.accept(&[table()], &seen("10:20:12")));
        assert!(take(&mut tables, "21:21:"));
    }

    #[test]
    fn tables_that_share_a_snapshot_are_accepted_together_or_not_at_all() {
        let (mut tables, other) = (tables(), TableName::new("s", "u"));
        tables.add(other.clone(), State::Init, None);
        assert_eq!(verdict(&mut tables, &other, transaction(12, 50)), Verdict::LeaveOut);
        let both = [table(), other];
        both.iter().for_each(|t| tables.ask(t, None));
        assert!(!tables.accept(&both, &seen("10:20:12")));
        assert!(both.iter().all(|t| matches!(tables.get(t), Some(State::Init))));
        both.iter().for_each(|t| tables.ask(t, None));
        assert!(tables.accept(&both, &seen("10:20:")));
        assert!(both.iter().all(|t| matches!(tables.get(t), Some(State::Copying { .. }))));
    }

    #[test]
    fn a_snapshot_from_before_a_rewind_is_refused() {
        let mut tables = tables();
        tables.ask(&table(), None);
        tables.rewind();
        assert!(!tables.accept(&[table()], &seen("10:20:")));
    }

    #[test]
    fn what_the_copy_does_not_see_waits_and_holds_the_slot_until_it_is_drained() {
        let mut tables = tables();
        assert!(take(&mut tables, "10:20:12"));
        assert_eq!(verdict(&mut tables, &table(), transaction(11, 40)), Verdict::LeaveOut);
        assert_eq!(verdict(&mut tables, &table(), transaction(12, 50)), Verdict::Wait);
        let (waiting, budget) = tables.waiting(&table()).expect("it is being copied");
        waiting.push(
            budget,
            Lsn(50),
            WaitingChange { end: Lsn(58), of: ORIGIN, relation: None, form: Form::Whole, payload: bytes::Bytes::from_static(b"x") },
        );
        assert_eq!(tables.hold(), Some(Lsn(50)));
        assert_eq!(tables.caught(&table()).expect("it was being copied").changes.len(), 1);
        assert_eq!(tables.hold(), None);
        assert_eq!(verdict(&mut tables, &table(), transaction(12, 50)), Verdict::LeaveOut, "after a restart it comes again");
        assert_eq!(verdict(&mut tables, &table(), transaction(13, 60)), Verdict::LeaveOut, "a late commit that the copy saw");
        assert_eq!(verdict(&mut tables, &table(), transaction(21, 70)), Verdict::Apply);
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
            waiting.push(
                budget,
                Lsn(commit),
                WaitingChange { end: Lsn(commit + 8), of: ORIGIN, relation: None, form: Form::Whole, payload: big.clone() },
            );
        }
        assert_eq!(tables.hold(), Some(Lsn(50)));
        let waiting = tables.caught(&table()).expect("it was being copied");
        assert!(waiting.overflowed && waiting.changes.is_empty());
        assert_eq!(verdict(&mut tables, &table(), transaction(30, 50)), Verdict::Apply, "nothing of it is on the peer yet");
    }

    fn range(lower: Option<i64>, upper: Option<i64>) -> KeyRange {
        let bound = |n: i64| Bound { text: n.to_string(), value: KeyValue::Integer(n) };
        KeyRange { lower: lower.map(bound), upper: upper.map(bound) }
    }

    /// Keys below 10 and from 20 to 30 were copied under `10:20:12`; the rest is not begun.
    fn resumed() -> Tables {
        let key = Key { column: "id".to_owned(), type_oid: 20, key_type: KeyType::Integer };
        let parts = vec![(range(None, Some(10)), seen("10:20:12")), (range(Some(20), Some(30)), seen("10:20:12"))];
        let mut tables = Tables::default();
        tables.add(table(), State::Init, Some(Earlier { key, parts }));
        tables
    }

    fn one(key: i64) -> Rows {
        Rows::One(KeyValue::Integer(key))
    }

    fn moved(old: i64, new: i64) -> Rows {
        Rows::Moved { old: KeyValue::Integer(old), new: KeyValue::Integer(new) }
    }

    #[test]
    fn a_change_of_a_resumed_table_is_judged_by_the_snapshot_of_its_part() {
        let mut tables = resumed();
        let mut verdict = |xid, rows| tables.decide(&table(), transaction(xid, xid * 10), &rows).0;
        assert_eq!(verdict(11, one(5)), Verdict::LeaveOut, "its part has it");
        assert_eq!(verdict(12, one(5)), Verdict::Wait);
        assert_eq!(verdict(12, one(9)), Verdict::Wait);
        assert_eq!(verdict(12, one(10)), Verdict::LeaveOut, "the coming snapshot will have it");
        assert_eq!(verdict(12, one(29)), Verdict::Wait);
        assert_eq!(verdict(12, one(30)), Verdict::LeaveOut);
        assert!(!take(&mut tables, "10:20:12"), "it does not see 12, which changed key 10");
        assert!(take(&mut tables, "15:25:18"));
        let mut verdict = |xid, rows| tables.decide(&table(), transaction(xid, xid * 10), &rows).0;
        assert_eq!(verdict(18, one(10)), Verdict::Wait);
        assert_eq!(verdict(19, one(10)), Verdict::LeaveOut);
        assert_eq!(verdict(19, one(5)), Verdict::LeaveOut, "the first snapshot sees it too");
        assert_eq!(verdict(22, one(5)), Verdict::Wait, "the second sees it, but this part was copied under the first");
    }

    #[test]
    fn only_what_the_coming_snapshot_must_see_is_remembered() {
        let mut tables = resumed();
        tables.decide(&table(), transaction(12, 120), &one(5));
        assert!(!tables.wants_fresh_snapshot());
        tables.decide(&table(), transaction(13, 130), &moved(5, 15));
        assert!(tables.wants_fresh_snapshot());
    }

    #[test]
    fn a_row_that_moves_between_parts_is_split_where_one_of_them_has_seen_it() {
        let mut tables = resumed();
        assert!(take(&mut tables, "25:25:"));
        let mut decide = |xid, rows| tables.decide(&table(), transaction(xid, xid * 10), &rows);
        assert_eq!(decide(22, moved(5, 15)), (Verdict::Wait, Form::OldRow));
        assert_eq!(decide(22, moved(15, 5)), (Verdict::Wait, Form::NewRow));
        assert_eq!(decide(22, moved(5, 25)), (Verdict::Wait, Form::Whole));
        assert_eq!(decide(22, moved(15, 16)).0, Verdict::LeaveOut);
        assert_eq!(decide(30, moved(15, 5)), (Verdict::Wait, Form::Whole));
    }

    #[test]
    fn a_truncate_empties_the_parts_that_have_not_seen_it() {
        let mut tables = resumed();
        assert!(take(&mut tables, "25:25:"));
        let mut decide = |xid| tables.decide(&table(), transaction(xid, xid * 10), &Rows::Any);
        let both = vec![range(None, Some(10)), range(Some(20), Some(30))];
        assert_eq!(decide(22), (Verdict::Wait, Form::Ranges(both)));
        assert_eq!(decide(30), (Verdict::Wait, Form::Whole));
        assert_eq!(decide(11).0, Verdict::LeaveOut);
    }

    #[test]
    fn once_caught_the_position_counts_for_every_part() {
        let mut tables = resumed();
        assert!(take(&mut tables, "25:25:"));
        assert!(tables.caught(&table()).is_some());
        tables.moved(&table(), Lsn(225));
        let mut verdict = |xid, rows| tables.decide(&table(), transaction(xid, xid * 10), &rows).0;
        assert_eq!(verdict(22, one(5)), Verdict::LeaveOut, "below the position");
        assert_eq!(verdict(23, one(5)), Verdict::Apply);
        assert_eq!(verdict(23, one(15)), Verdict::LeaveOut, "in its copy");
        assert_eq!(verdict(26, one(15)), Verdict::Apply);
    }

    #[test]
    fn what_waited_for_a_snapshot_that_is_given_up_is_judged_anew_when_the_copy_is_there() {
        let mut tables = tables();
        let wait = |tables: &mut Tables, commit| {
            let (waiting, budget) = tables.waiting(&table()).expect("it is being copied");
            let payload = bytes::Bytes::from_static(b"x");
            waiting.push(
                budget,
                Lsn(commit),
                WaitingChange { end: Lsn(commit + 8), of: ORIGIN, relation: None, form: Form::Whole, payload },
            );
        };
        assert!(take(&mut tables, "10:20:"));
        assert!(take(&mut tables, "10:20:"), "nothing waits, so nothing was decided by the old snapshot that the new one changes");
        assert_eq!(verdict(&mut tables, &table(), transaction(25, 50)), Verdict::Wait);
        wait(&mut tables, 50);
        assert!(take(&mut tables, "30:30:"), "the stream goes on meanwhile");
        assert_eq!(tables.hold(), Some(Lsn(50)), "until it comes again");
        wait(&mut tables, 90);
        let waiting = tables.caught(&table()).expect("it was being copied");
        assert!(waiting.overflowed && waiting.changes.is_empty());
        assert_eq!(verdict(&mut tables, &table(), transaction(25, 50)), Verdict::LeaveOut, "the new snapshot has it");
        assert_eq!(verdict(&mut tables, &table(), transaction(30, 90)), Verdict::Apply);
    }
}
