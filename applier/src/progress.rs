//! How far a task has come, shared by its parts: for display, and for those who wait for a position.
//!
//! Nothing is decided by what stands here; what counts is on the peer.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use pgrelay_core::{Lsn, name::TableName};
use tokio::sync::watch;

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
    /// From the source's statistics.
    pub rows_estimated: i64,
    /// Size on the source.
    pub bytes_estimated: i64,
    /// By the copy.
    pub rows: i64,
    /// By the copy.
    pub bytes: i64,
    /// By the stream: inserts, updates, deletes, truncates.
    pub changes: [i64; 4],
}

/// What the stream has done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StreamProgress {
    /// Received from the source.
    pub received: Lsn,
    /// Everything committed before is on the peer, once every table streams.
    pub applied: Option<Lsn>,
    /// Written on the peer, with what was committed before.
    pub on_peer: Lsn,
    /// The source may forget what lies before.
    pub confirmed: Lsn,
    /// Source transactions applied.
    pub transactions: i64,
    /// Changes applied.
    pub changes: i64,
    /// Deletes that met no row.
    pub deletes_missing: i64,
    /// Commit time, microseconds since 2000, of the transaction that is being applied.
    pub applying_since: Option<i64>,
}

/// Shared by the parts of one task.
pub struct Progress {
    tables: Mutex<BTreeMap<TableName, TableProgress>>,
    stream: watch::Sender<StreamProgress>,
    objects: Mutex<Option<(i32, i32)>>,
    schema_done: AtomicBool,
    moved: AtomicBool,
}

impl Default for Progress {
    fn default() -> Self {
        Progress {
            tables: Mutex::default(),
            stream: watch::Sender::new(StreamProgress::default()),
            objects: Mutex::default(),
            schema_done: AtomicBool::new(false),
            moved: AtomicBool::new(false),
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

    /// What is shown of the stream now.
    pub fn stream_now(&self) -> StreamProgress {
        self.stream.borrow().clone()
    }

    /// Returns when everything committed before `lsn` is on the peer.
    pub async fn applied(&self, lsn: Lsn) {
        let mut stream = self.stream.subscribe();
        // The sender lives as long as self, so waiting cannot fail.
        let _ = stream.wait_for(|s| s.applied.is_some_and(|applied| applied >= lsn)).await;
    }

    /// How many objects of the schema are made, of how many.
    pub fn set_objects(&self, done: usize, total: usize) {
        *locked(&self.objects) = Some((done as i32, total as i32));
    }

    /// For one run of `schema::carry_out`: its first number is what was there, the others count.
    pub fn count_objects(&self) -> impl FnMut(usize) + Send + '_ {
        let mut before = None;
        move |done: usize| {
            let more = before.map_or(0, |before| done.saturating_sub(before));
            if let Some((made, _)) = locked(&self.objects).as_mut() {
                *made += more as i32;
            }
            before = Some(done);
        }
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

    /// Something that lasts was done.
    pub fn set_moved(&self) {
        self.moved.store(true, Ordering::Relaxed);
    }

    /// Whether something that lasts was done.
    pub fn has_moved(&self) -> bool {
        self.moved.load(Ordering::Relaxed) || self.stream_now().transactions > 0
    }
}
