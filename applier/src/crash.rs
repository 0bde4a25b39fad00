//! Named points at which a test ends the process as kill -9 would: one between any two steps that a crash may part.
//!
//! Only in builds with debug assertions, as the tests use; a release build holds neither the names nor the calls.
//! `PGRELAY_CRASH_AT=name` ends it where the name is passed first, `name:3` at the third time.
//! tests/fault/crash_points.rs takes the names from `Point::ALL` and ends the applier at each.

use futures_util::FutureExt;

/// The variable that chooses a point.
#[cfg(debug_assertions)]
pub const VARIABLE: &str = "PGRELAY_CRASH_AT";

macro_rules! points {
    ($($point:ident $name:literal $meaning:literal)*) => {
        /// A point in the life of a task.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Point {
            $(#[doc = $meaning] $point,)*
        }

        #[cfg(debug_assertions)]
        impl Point {
            /// All of them, in the order in which a task comes to them.
            pub const ALL: &[Point] = &[$(Point::$point,)*];

            /// As the variable names it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Point::$point => $name,)*
                }
            }
        }
    };
}

points! {
    PeerBegun "schema.begun" "The task's row is on the peer, nothing else is."
    SchemaMaking "schema.making" "Objects are made in an open transaction."
    SchemaMade "schema.made" "Objects are committed, with their marks."
    PreDataMade "schema.pre_data" "All objects of before the rows are there, and the mark of that is not."
    PublicationMade "slot.publication" "The publications are there, the slot is not."
    SlotMade "slot.made" "The slot is there, and the source has not been told that the copy begins."
    ReversePublicationMade "reverse.publication" "The publications of the reverse direction are there, its slot is not."
    ReverseSlotMade "reverse.slot" "Its slot is there, its position is not."
    ReverseBegun "reverse.begun" "Its position is there, and the source has not been told."
    SnapshotTaken "copy.snapshot" "A snapshot is accepted, no row is copied."
    RowsWritten "copy.rows" "Rows of whole tables are written, their marks are not."
    RowsMarked "copy.marked" "Marks are written in the rows' transaction, which is open."
    RowsCommitted "copy.committed" "Rows and marks are committed, nobody has been told."
    ChunkWritten "copy.chunk.rows" "Rows of a chunk are written, its mark is not."
    ChunkCommitted "copy.chunk.committed" "A chunk and its mark are committed."
    ChunksThere "copy.chunks" "The last chunk is there, the table's mark is not."
    ChunksMarked "copy.chunks.marked" "The mark of a table of chunks is committed."
    IndexesBuilt "copy.indexes" "Keys and indexes of a table are built, the applier has not been told."
    WaitingSent "waiting.sent" "What waited for a table is sent, its transaction is open."
    WaitingApplied "waiting.applied" "What waited for a table is committed."
    CopyFlushed "copy.flushed" "All rows are there and flushed."
    OnePositionSent "one_position.sent" "That all tables stand at one position is written and not committed."
    TwoPhaseWritten "one_position.two_phase" "From where on transactions are prepared is written on the peer, the slot does not do it yet."
    OnePosition "one_position.committed" "It is committed."
    PostDataMade "schema.post_data" "All objects of after the rows are there, and the mark of that is not."
    Received "stream.received" "A change has come from the source, nothing of it is done."
    GroupBegun "stream.begun" "A transaction of the peer begins, nothing is written in it."
    ChangesSent "stream.changes" "All changes of the peer's transaction are sent, the position is not."
    PositionSent "stream.position" "The position is written too."
    CommitSent "stream.commit_sent" "COMMIT is sent, its answer is not read."
    WholeSent "stream.whole_sent" "A transaction that is one statement is sent, its answer is not read."
    Committed "stream.committed" "COMMIT is answered, the slot may not move yet."
    FlushSent "stream.flush_sent" "The commit that takes all before it to the peer's disk is sent, its answer is not read."
    Flushed "stream.flushed" "It is answered, the slot may not move yet."
    MayConfirm "stream.may_confirm" "The slot may move, the source has not been told."
    Confirmed "stream.confirmed" "The source has been told."
    RowsWeighed "weighed.looked" "Rows that updates are about are locked and looked at, nothing is changed."
    ConflictsNoted "weighed.noted" "The updates that have won and the records of conflicts are sent, the position is not."
    FileMade "large.file" "The file for a transaction in progress is made and still has its name."
    BlockKept "large.kept" "A block of a transaction in progress is kept."
    AheadSent "large.ahead" "What the block brought is sent in the peer's open transaction, ahead of its commit."
    TakenBack "large.taken_back" "A transaction that was applied ahead is rolled back on the peer, nothing else is applied yet."
    InProgressAborted "large.aborted" "A transaction in progress has rolled back on the source, what was kept is gone."
    InProgressCommitted "large.commit" "The commit of a transaction in progress has come, nothing is done about it."
    AheadThere "large.there" "All of it stands in the peer's open transaction, the position does not."
    KeptSent "large.replayed" "All that was kept of it is sent after its commit, the position is not."
    PrepareSent "two_phase.prepare_sent" "PREPARE TRANSACTION is sent, its answer is not read."
    Prepared "two_phase.prepared" "A transaction is prepared on the peer, the position has not moved."
    EndOfPreparedSent "two_phase.end_sent" "COMMIT PREPARED or ROLLBACK PREPARED is sent, its answer is not read."
    PreparedEnded "two_phase.ended" "It is answered, the position has not moved."
    SequencesSet "stream.sequences" "Sequences are set on the peer."
    ReverseSlotRemoved "reverse.removed.slot" "The peer is clean of the reverse direction, the source is not."
    ReverseRemoved "reverse.removed" "Both sides are, and the task has not been told."
    CleaningBegun "clean.begun" "The task only cleans from here on."
    SlotRemoved "clean.slot" "The slot is gone, the publications are not."
    PublicationRemoved "clean.publication" "The source is clean, the peer is not."
    OriginsRemoved "clean.origins" "The origins are gone from the peer, the task's row is not."
    PeerCleaned "clean.peer" "Both sides are clean, and the task has not been told."
}

/// Ends the process here when the test wants it.
#[cfg(debug_assertions)]
pub fn at(point: Point) {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    };
    static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let wanted = WANTED.get_or_init(|| {
        let value = std::env::var(VARIABLE).ok()?;
        let (name, nth) = value.split_once(':').unwrap_or((&value, "1"));
        Some((name.to_owned(), nth.parse().unwrap_or(1)))
    });
    if let Some((name, nth)) = wanted
        && name == point.name()
        && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *nth
    {
        eprintln!("crashed at {name}");
        std::process::abort();
    }
}

/// Statements of the apply session that can fail alone.
#[derive(Debug, Clone, Copy)]
pub enum Alone {
    /// BEGIN.
    Begin,
    /// What tells the session what the other side has seen.
    Seen,
}

/// Sent in the place of one that somebody cancels.
pub const CANCELLED: &str = "SELECT pg_catalog.pg_cancel_backend(pg_catalog.pg_backend_pid()), pg_catalog.pg_sleep(60)";

/// Whether somebody cancels this one: the first behind so many others as the test wants (`PGRELAY_BEGIN_LOST_AFTER`, `PGRELAY_SEEN_LOST_AFTER`).
#[cfg(debug_assertions)]
pub fn is_cancelled(what: Alone) -> bool {
    use std::sync::{
        LazyLock,
        atomic::{AtomicI64, Ordering},
    };
    fn before(name: &str) -> AtomicI64 {
        AtomicI64::new(std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(-1))
    }
    static BEGINS: LazyLock<AtomicI64> = LazyLock::new(|| before("PGRELAY_BEGIN_LOST_AFTER"));
    static SEEN: LazyLock<AtomicI64> = LazyLock::new(|| before("PGRELAY_SEEN_LOST_AFTER"));
    let before = match what {
        Alone::Begin => &BEGINS,
        Alone::Seen => &SEEN,
    };
    before.fetch_sub(1, Ordering::Relaxed) == 0
}

/// Nobody does.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn is_cancelled(_: Alone) -> bool {
    false
}

/// Sends a request, and ends the process before its answer when the test wants it: the server may have got it, or not.
pub async fn sent<T>(point: Point, request: impl Future<Output = T>) -> T {
    let mut request = std::pin::pin!(request);
    // The first poll is what sends it.
    if let Some(answer) = (&mut request).now_or_never() {
        return answer;
    }
    gone_out(point).await;
    request.await
}

/// Ends the process when the test wants it, once a request that waits to be written to a connection is on its way.
pub async fn gone_out(point: Point) {
    if cfg!(debug_assertions) {
        // The connection may be worked on by the same thread.
        tokio::task::yield_now().await;
    }
    at(point);
}

/// Nothing.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn at(_: Point) {}
