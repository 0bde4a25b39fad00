//! How far a task has come, shared by its parts: for display, and for those who wait for a position.
//!
//! Nothing is decided by what stands here; what counts is on the peer.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use pgrelay_core::{
    Error, Lsn,
    error::Kind,
    name::TableName,
    plan::{Item, When},
};
use tokio::sync::watch;

use crate::store::{Counts, Event};

/// State of a table, with PostgreSQL's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TableState {
    /// Not begun.
    Init,
    /// Rows are being copied.
    DataSync,
    /// Rows are on the peer, indexes are being built.
    FinishedCopy,
    /// Its waiting changes are applied.
    SyncDone,
    /// It stands where the stream stands.
    Ready,
}

impl TableState {
    /// As `pgrelay.table_state` has it.
    pub fn word(self) -> &'static str {
        match self {
            TableState::Init => "init",
            TableState::DataSync => "datasync",
            TableState::FinishedCopy => "finishedcopy",
            TableState::SyncDone => "syncdone",
            TableState::Ready => "ready",
        }
    }
}

/// One table's progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableProgress {
    /// How far it is.
    pub state: TableState,
    /// Updates and deletes are not carried.
    pub insert_only: bool,
    /// From the source's statistics; -1 when it never looked.
    pub rows_estimated: i64,
    /// Size on the source.
    pub bytes_estimated: i64,
    /// By the copy.
    pub rows: i64,
    /// Rows of the source that the copy left out since the peer's stay.
    pub rows_kept: i64,
    /// By the copy.
    pub bytes: i64,
    /// By the stream: inserts, updates, deletes, truncates.
    pub changes: [i64; 4],
    /// Indexes and keys that are on the peer.
    pub indexes: i64,
    /// Indexes and keys that follow the rows.
    pub indexes_total: i64,
}

impl TableProgress {
    /// Of a table of which nothing is copied yet.
    pub fn new(state: TableState, rows_estimated: i64, bytes_estimated: i64) -> TableProgress {
        let (rows, rows_kept, bytes, changes, indexes, indexes_total) = (0, 0, 0, [0; 4], 0, 0);
        TableProgress {
            state,
            insert_only: false,
            rows_estimated,
            bytes_estimated,
            rows,
            rows_kept,
            bytes,
            changes,
            indexes,
            indexes_total,
        }
    }
}

/// What the stream has done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StreamProgress {
    /// Received from the source.
    pub received: Lsn,
    /// Everything committed before is on the peer, once every table streams.
    pub applied: Option<Lsn>,
    /// A position in a commit that is on the peer's disk, with what was committed before.
    pub on_peer: Lsn,
    /// Everything committed before is on the peer's disk, once every table streams.
    pub flushed: Lsn,
    /// The source may forget what lies before.
    pub confirmed: Lsn,
    /// Source transactions applied.
    pub transactions: i64,
    /// Changes applied.
    pub changes: i64,
    /// Deletes that met no row.
    pub deletes_missing: i64,
    /// Changes that triggers or rules of the peer have kept away.
    pub suppressed: i64,
    /// How often a group of transactions was applied again row by row, or change by change with care.
    pub replayed: i64,
    /// Why the last of them was, without values of rows.
    pub replay_reason: Option<String>,
    /// Commit time, microseconds since 2000, of the oldest transaction that is being applied.
    pub applying_since: Option<i64>,
}

/// Shared by the parts of one task.
pub struct Progress {
    tables: Mutex<BTreeMap<TableName, TableProgress>>,
    stream: watch::Sender<StreamProgress>,
    /// What was applied before this try.
    before: Mutex<Counts>,
    objects: Mutex<Option<(i32, i32)>>,
    /// Identities of indexes and keys that are on the peer.
    indexes: Mutex<HashSet<String>>,
    pending: AtomicI64,
    schema_done: AtomicBool,
    moved: AtomicBool,
    /// Tables that could not be copied so far, each with the last reason.
    failing: Mutex<BTreeMap<TableName, Event>>,
}

impl Default for Progress {
    fn default() -> Self {
        Progress {
            tables: Mutex::default(),
            stream: watch::Sender::new(StreamProgress::default()),
            before: Mutex::default(),
            objects: Mutex::default(),
            indexes: Mutex::default(),
            pending: AtomicI64::new(0),
            schema_done: AtomicBool::new(false),
            moved: AtomicBool::new(false),
            failing: Mutex::default(),
        }
    }
}

/// The data is plain numbers, whole after every statement: a panic elsewhere does not spoil it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Progress {
    /// Starts to show a table.
    pub fn add_table(&self, table: &TableName, progress: TableProgress) {
        locked(&self.tables).insert(table.clone(), progress);
    }

    /// Changes what is shown of a table.
    pub fn table(&self, table: &TableName, change: impl FnOnce(&mut TableProgress)) {
        if let Some(progress) = locked(&self.tables).get_mut(table) {
            change(progress);
        }
    }

    /// Changes what is shown of every table.
    pub fn every_table(&self, change: impl Fn(&mut TableProgress)) {
        locked(&self.tables).values_mut().for_each(change);
    }

    /// What is shown of every table.
    pub fn tables(&self) -> Vec<(TableName, TableProgress)> {
        locked(&self.tables).iter().map(|(t, p)| (t.clone(), p.clone())).collect()
    }

    /// Changes what is shown of the stream, and wakes who waits for it.
    pub fn stream(&self, change: impl FnOnce(&mut StreamProgress)) {
        self.stream.send_modify(change);
    }

    /// A group of transactions met a surprise and is applied again in smaller steps.
    pub fn replayed(&self, surprise: &Error) {
        // What a server says may hold a value of the row.
        let reason = match (surprise.kind, &surprise.object) {
            (Kind::Conflict, _) => surprise.message.clone(),
            (_, Some(object)) => format!("SQLSTATE {} at \"{object}\"", surprise.sqlstate()),
            (_, None) => format!("SQLSTATE {}", surprise.sqlstate()),
        };
        self.stream(|s| (s.replayed, s.replay_reason) = (s.replayed + 1, Some(reason)));
    }

    /// What is shown of the stream now.
    pub fn stream_now(&self) -> StreamProgress {
        self.stream.borrow().clone()
    }

    /// What was applied before this try.
    pub fn begin_at(&self, before: Counts) {
        *locked(&self.before) = before;
    }

    /// What was applied in this try and before.
    pub fn counts(&self) -> Counts {
        let (before, now) = (*locked(&self.before), self.stream.borrow());
        Counts {
            transactions: before.transactions + now.transactions,
            changes: before.changes + now.changes,
            replayed: before.replayed + now.replayed,
        }
    }

    /// Returns when everything committed before `lsn` is on the peer, and on its disk.
    pub async fn flushed(&self, lsn: Lsn) {
        let mut stream = self.stream.subscribe();
        // The sender lives as long as self, so waiting cannot fail.
        let _ = stream.wait_for(|s| s.flushed >= lsn).await;
    }

    /// How many objects of the schema are made, of how many.
    pub fn set_objects(&self, done: usize, total: usize) {
        *locked(&self.objects) = Some((done as i32, total as i32));
    }

    /// For one run of `schema::carry_out`: it is first given what was there, then what is made.
    pub fn count_objects(&self) -> impl FnMut(&[&Item]) + Send + '_ {
        let mut first = true;
        move |items: &[&Item]| {
            self.count_indexes(items);
            if let Some((made, _)) = locked(&self.objects).as_mut().filter(|_| !first) {
                *made += items.len() as i32;
            }
            first = false;
        }
    }

    /// Each once, though it may be looked for twice.
    fn count_indexes(&self, items: &[&Item]) {
        for item in items.iter().filter(|item| item.is_index()) {
            if let When::AfterTable(table) = &item.when
                && locked(&self.indexes).insert(item.identity.clone())
            {
                self.table(table, |t| t.indexes += 1);
            }
        }
    }

    /// A stream begins: nothing of it is received.
    pub fn begin_stream(&self) {
        self.pending.store(0, Ordering::Relaxed);
    }

    /// Changes of rows were received.
    pub fn received_rows(&self, rows: i64) {
        self.pending.fetch_add(rows, Ordering::Relaxed);
    }

    /// Changes of rows are on the peer, or are left out.
    pub fn settled_rows(&self, rows: i64) {
        self.pending.fetch_sub(rows, Ordering::Relaxed);
    }

    /// Changes of rows that were received and are not on the peer.
    pub fn pending_rows(&self) -> i64 {
        self.pending.load(Ordering::Relaxed).max(0)
    }

    /// How many objects of the schema are made, of how many.
    pub fn objects(&self) -> Option<(i32, i32)> {
        *locked(&self.objects)
    }

    /// Everything that follows the rows is on the peer.
    pub fn set_schema_done(&self) {
        self.schema_done.store(true, Ordering::Relaxed);
    }

    /// Whether everything that follows the rows is on the peer.
    pub fn schema_done(&self) -> bool {
        self.schema_done.load(Ordering::Relaxed)
    }

    /// A table could not be copied, for this reason; none: now it could.
    pub fn set_failing(&self, table: &TableName, reason: Option<Event>) {
        let mut failing = locked(&self.failing);
        match reason {
            Some(reason) => failing.insert(table.clone(), reason),
            None => failing.remove(table),
        };
    }

    /// The first of the tables that could not be copied so far, with how many others.
    pub fn failing(&self) -> Option<(Event, usize)> {
        let failing = locked(&self.failing);
        failing.values().next().map(|first| (first.clone(), failing.len() - 1))
    }

    /// Something that lasts was done.
    pub fn set_moved(&self) {
        self.moved.store(true, Ordering::Relaxed);
    }

    /// Whether something that lasts was done.
    pub fn has_moved(&self) -> bool {
        self.moved.load(Ordering::Relaxed) || self.stream_now().transactions > 0
    }
}
