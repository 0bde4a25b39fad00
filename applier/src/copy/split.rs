//! The copy of one table by several workers, in chunks.
//!
//! Whoever takes the table leads: he locks it, takes the snapshot, and copies chunks until none is left. Workers that have
//! nothing else to do help, under the same snapshot; the leader depends on none of them, so a session that queues for the
//! table between their locks holds up nobody but itself. Each chunk is a transaction of the peer, with its mark. When all
//! are there the leader writes the table's mark.
//!
//! Dropping the futures at any point leaves chunks that are there with their marks, and nothing of the others.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use pgrelay_core::{
    Error, Result,
    key_range::{Bound, KeyRange},
    name::{TableName, quote_literal},
};
use tokio::sync::Notify;

use super::{Setting, cut::Cut, cut::conditions, fence, flow, shape::Shape};
use crate::{
    apply::tables::{Key, Seen},
    crash::{self, Point},
    pg::pipe::Session,
};

/// A table that is being copied in chunks.
pub struct Split {
    table: TableName,
    oid: u32,
    shape: Shape,
    seen: Seen,
    /// Name of the exported snapshot.
    snapshot: String,
    key: Option<Key>,
    chunks: Mutex<Vec<(KeyRange, String)>>,
    under_way: AtomicUsize,
    ended: Notify,
    error: Mutex<Option<Error>>,
}

/// How help went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Helped {
    /// No chunk is left to begin.
    Done,
    /// The table cannot be had without waiting.
    Refused,
    /// A chunk failed, which the leader tells. The sessions are in a transaction that failed, or broken.
    Failed,
}

/// What is known when the leader has the snapshot.
pub struct Begun {
    /// Its name.
    pub table: TableName,
    /// On the source.
    pub oid: u32,
    /// What is copied.
    pub shape: Shape,
    /// What the snapshot sees.
    pub seen: Seen,
    /// Name of the exported snapshot.
    pub snapshot: String,
}

impl Split {
    /// With all its chunks to do, the first ones first.
    pub fn new(begun: Begun, cut: &Cut) -> Split {
        let mut chunks = conditions(cut);
        chunks.reverse();
        let key = if let Cut::ByKey(key, _) = cut { Some(key.clone()) } else { None };
        let Begun { table, oid, shape, seen, snapshot } = begun;
        Split {
            table,
            oid,
            shape,
            seen,
            snapshot,
            key,
            chunks: Mutex::new(chunks),
            under_way: AtomicUsize::new(0),
            ended: Notify::new(),
            error: Mutex::default(),
        }
    }

    /// The table's oid on the source.
    pub fn oid(&self) -> u32 {
        self.oid
    }

    /// Chunks that nobody has begun.
    pub fn left(&self) -> usize {
        self.chunks().len()
    }

    fn chunks(&self) -> MutexGuard<'_, Vec<(KeyRange, String)>> {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self) -> MutexGuard<'_, Option<Error>> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies chunks until none is left. The sessions are the worker's; the source's has the snapshot. False: one failed, which
    /// `wait` tells.
    pub async fn work(&self, s: &Setting, source: &mut Session, peer: &mut Session) -> bool {
        loop {
            let taken = {
                // Counted under the lock: whoever sees no chunk left sees those under way.
                let mut chunks = self.chunks();
                let taken = chunks.pop();
                if taken.is_some() {
                    self.under_way.fetch_add(1, Ordering::SeqCst);
                }
                taken
            };
            let Some((range, condition)) = taken else { return true };
            let done = self.chunk(s, source, peer, &range, &condition).await;
            let went_well = done.is_ok();
            if let Err(error) = done {
                self.chunks().clear();
                self.error().get_or_insert(error);
            }
            // Only now: whoever sees none under way sees the error too.
            self.under_way.fetch_sub(1, Ordering::SeqCst);
            self.ended.notify_waiters();
            if !went_well {
                return false;
            }
        }
    }

    /// Helps: takes the leader's snapshot and copies chunks.
    ///
    /// Errors: when the source cannot be reached. What goes wrong with a chunk is told by `wait`.
    pub async fn help(&self, s: &Setting, source: &mut Session, peer: &mut Session) -> Result<Helped> {
        let doing = format!("take part in the copy of table \"{}\"", self.table);
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}; LOCK TABLE ONLY {} IN ACCESS SHARE MODE NOWAIT",
            quote_literal(&self.snapshot),
            self.table.quoted()
        );
        // The leader has ended, or somebody queues for the table: the leader does without.
        let joined = source.run(&begin, &doing).await.is_ok();
        if joined && !self.work(s, source, peer).await {
            return Ok(Helped::Failed);
        }
        source.run("ROLLBACK", &doing).await?;
        Ok(if joined { Helped::Done } else { Helped::Refused })
    }

    /// Returns when no chunk is under way any more; the first error of a chunk, if one had any.
    pub async fn wait(&self) -> Result<()> {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if self.under_way.load(Ordering::SeqCst) == 0 {
                break;
            }
            ended.await;
        }
        self.error().take().map_or(Ok(()), Err)
    }

    async fn chunk(&self, s: &Setting, source: &mut Session, peer: &mut Session, range: &KeyRange, condition: &str) -> Result<()> {
        let doing = format!("copy table \"{}\"", self.table);
        fence::begin(s, peer, &doing).await?;
        let columns = self.shape.columns.join(", ");
        let out = format!("(SELECT {columns} FROM ONLY {} WHERE {condition})", self.table.quoted());
        let into = format!("{}{}", self.table.quoted(), self.shape.column_list());
        let poured = flow::rows(s, source, peer, &self.table, &self.shape, flow::Rows { out: &out, into: &into, frozen: false }).await?;
        let bound = |bound: &Option<Bound>| bound.as_ref().map(|b| b.text.clone()).unwrap_or_default();
        let (key_column, key_type) = match &self.key {
            Some(key) => (quote_literal(&key.column), key.type_oid),
            None => ("NULL".to_owned(), 0),
        };
        // Pages have no bounds that would mean anything later; their condition tells them apart.
        let lower = if self.key.is_some() { bound(&range.lower) } else { condition.to_owned() };
        let mark = format!(
            "INSERT INTO pgrelay_peer.chunk_copy (task_key, schema_name, table_name, table_oid, key_column, key_type, lower_bound, upper_bound, \
             snapshot, visible_below, rows, bytes) VALUES ({}, {}, {}, {}, {key_column}, {key_type}, {}, {}, {}, {}, {}, {}); COMMIT",
            quote_literal(&s.names.origin),
            quote_literal(&self.table.schema),
            quote_literal(&self.table.name),
            self.oid,
            quote_literal(&lower),
            quote_literal(&bound(&range.upper)),
            quote_literal(&self.seen.snapshot.to_string()),
            quote_literal(&self.seen.visible_below.to_string()),
            poured.written,
            poured.bytes,
        );
        crash::at(Point::ChunkWritten);
        peer.run(&mark, &doing).await?;
        crash::at(Point::ChunkCommitted);
        s.progress.set_moved();
        Ok(())
    }
}
