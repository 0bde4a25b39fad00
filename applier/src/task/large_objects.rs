//! Large objects: in the order of their OIDs, many small ones in one transaction of the peer, a large one in several.
//!
//! Changes of them are not in the stream, so each is carried as it is when the copy comes to it: under one snapshot, never a
//! mixture. The mark moves in the transaction that writes, from where this session knows it to be: of two appliers one fails.

use pgrelay_core::{
    Error, Result,
    error::Kind,
    large_object::{Metadata, ddl},
};
use tokio_postgres::{Client, IsolationLevel, Transaction};

use super::context::Context;
use crate::{
    pg::server_error,
    store::{Event, Level},
};

/// Objects of one snapshot of the source, and of one transaction of the peer at most.
const BATCH: i64 = 128;

/// Bytes of an object that is small: a batch of them is in memory at once.
const SMALL: i32 = 64 << 10;

/// Bytes of a larger one read at once.
const PIECE: i32 = 4 << 20;

/// Bytes of a larger one in one transaction of the peer.
const PER_TRANSACTION: i64 = 64 << 20;

const DOING: &str = "copy the large objects";

/// Where the copy stands.
#[derive(Clone)]
struct Mark {
    upto: u32,
    partial: Option<u32>,
    objects: i64,
    bytes: i64,
}

/// One to make.
struct Object {
    oid: u32,
    metadata: Metadata,
    content: Vec<u8>,
}

/// Carries all of them, once; without `content` they are made empty.
pub async fn carry(c: &Context, content: bool) -> Result<()> {
    let mut source = c.source("large objects").await?;
    let peer = c.peer("large objects").await?;
    let Some(mark) = begin(&peer, &c.names.origin).await? else { return Ok(()) };
    let creator: String = peer.query_one("SELECT current_user::text", &[]).await.map_err(failed)?.get(0);
    let mut to = Writer { c, peer: &peer, creator, mark };
    loop {
        c.throttle.query().await;
        let snapshot = source.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
        let snapshot = snapshot.start().await.map_err(failed)?;
        let some = read(&snapshot, to.mark.upto, content).await?;
        if some.is_empty() {
            break;
        }
        let mut small = Vec::new();
        for object in some {
            if object.content.len() < SMALL as usize {
                small.push(object);
                continue;
            }
            to.small(&std::mem::take(&mut small)).await?;
            to.large(&snapshot, object).await?;
        }
        to.small(&small).await?;
        snapshot.rollback().await.map_err(failed)?;
        c.progress().set_moved();
    }
    finish(c, &source, &peer, &to.mark).await
}

fn failed(e: tokio_postgres::Error) -> Error {
    server_error(e, DOING)
}

/// The mark, made when it is not there; none when all is done. What an earlier applier left in part goes.
async fn begin(peer: &Client, key: &str) -> Result<Option<Mark>> {
    let sql = "INSERT INTO pgrelay_peer.large_objects (task_key) VALUES ($1) ON CONFLICT DO NOTHING";
    peer.execute(sql, &[&key]).await.map_err(failed)?;
    let sql = "SELECT pg_catalog.lo_unlink(m.oid) FROM pgrelay_peer.large_objects l \
               JOIN pg_catalog.pg_largeobject_metadata m ON m.oid = l.partial WHERE l.task_key = $1";
    peer.execute(sql, &[&key]).await.map_err(failed)?;
    let sql = "UPDATE pgrelay_peer.large_objects SET partial = NULL WHERE task_key = $1 RETURNING upto, objects, bytes, finished";
    let row = peer.query_one(sql, &[&key]).await.map_err(failed)?;
    let mark = Mark { upto: row.get(0), partial: None, objects: row.get(1), bytes: row.get(2) };
    Ok((!row.get::<_, bool>(3)).then_some(mark))
}

async fn read(snapshot: &Transaction<'_>, above: u32, content: bool) -> Result<Vec<Object>> {
    let first = content.then_some(SMALL);
    let rows = snapshot.query(include_str!("../../../sql/query/source/large_objects.sql"), &[&above, &BATCH, &first]).await;
    let object = |row: &tokio_postgres::Row| {
        let metadata = serde_json::from_str(row.get("metadata"));
        let metadata = metadata.map_err(|e| Error::new(Kind::Internal, "the large objects were described otherwise").caused_by(e))?;
        Ok(Object { oid: row.get("oid"), metadata, content: row.get::<_, Option<Vec<u8>>>("content").unwrap_or_default() })
    };
    rows.map_err(failed)?.iter().map(object).collect()
}

/// Writes to the peer and moves the mark.
struct Writer<'a> {
    c: &'a Context,
    peer: &'a Client,
    creator: String,
    mark: Mark,
}

impl Writer<'_> {
    /// Whole objects, in one transaction.
    async fn small(&mut self, objects: &[Object]) -> Result<()> {
        let Some(last) = objects.last() else { return Ok(()) };
        self.begin().await?;
        let bytes = self.make(objects).await?;
        self.commit(Mark { upto: last.oid, objects: objects.len() as i64, bytes, partial: None }).await
    }

    /// One object in pieces, in several transactions where it is large.
    async fn large(&mut self, snapshot: &Transaction<'_>, object: Object) -> Result<()> {
        let oid = object.oid;
        self.begin().await?;
        let mut at = self.make(&[object]).await?;
        let (mut told, mut hole) = (0, false);
        loop {
            let sql = "SELECT pg_catalog.lo_get($1, $2, $3)";
            self.c.throttle.query().await;
            let row = snapshot.query_one(sql, &[&oid, &at, &PIECE]).await.map_err(failed)?;
            let piece: &[u8] = row.get(0);
            // What was never written is no page of the source and need not be one of the peer, but for the object's last byte.
            let last = piece.len() < PIECE as usize;
            if hole && piece.is_empty() {
                self.put(oid, at - 1, &[0]).await?;
            }
            hole = !last && piece.iter().all(|b| *b == 0);
            if !hole && !piece.is_empty() {
                self.put(oid, at, piece).await?;
            }
            at += piece.len() as i64;
            if last {
                return self.commit(Mark { upto: oid, partial: None, objects: 1, bytes: at - told }).await;
            }
            if at - told >= PER_TRANSACTION {
                self.commit(Mark { upto: self.mark.upto, partial: Some(oid), objects: 0, bytes: at - told }).await?;
                told = at;
                self.begin().await?;
            }
        }
    }

    async fn put(&self, oid: u32, at: i64, piece: &[u8]) -> Result<()> {
        let put = self.peer.execute("SELECT pg_catalog.lo_put($1, $2, $3)", &[&oid, &at, &piece]).await;
        self.c.throttle.copied(0, piece.len() as u64).await;
        put.map(drop).map_err(|e| failed(e).object(format!("large object {oid}")))
    }

    /// Makes objects with all that belongs to them; returns the bytes of their contents.
    async fn make(&self, objects: &[Object]) -> Result<i64> {
        let oids: Vec<u32> = objects.iter().map(|o| o.oid).collect();
        let contents: Vec<&[u8]> = objects.iter().map(|o| o.content.as_slice()).collect();
        let sql = "SELECT pg_catalog.lo_from_bytea(u.o, u.c) FROM ROWS FROM (pg_catalog.unnest($1::oid[]), pg_catalog.unnest($2::bytea[])) u (o, c)";
        self.peer.execute(sql, &[&oids, &contents]).await.map_err(failed)?;
        let ddl: Vec<String> = objects.iter().map(|o| ddl(o.oid, &o.metadata, &self.creator)).filter(|ddl| !ddl.is_empty()).collect();
        if !ddl.is_empty() {
            self.peer.batch_execute(&ddl.join("\n")).await.map_err(failed)?;
        }
        let bytes = contents.iter().map(|c| c.len() as u64).sum();
        self.c.throttle.copied(objects.len() as u64, bytes).await;
        Ok(bytes as i64)
    }

    async fn begin(&self) -> Result<()> {
        self.peer.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED").await.map_err(failed)
    }

    /// Moves the mark from where it is known to be, and commits. `step` has what this transaction adds.
    async fn commit(&mut self, step: Mark) -> Result<()> {
        let sql = "UPDATE pgrelay_peer.large_objects SET upto = $2, partial = $3, objects = objects + $4, bytes = bytes + $5 \
                   WHERE task_key = $1 AND upto = $6 AND partial IS NOT DISTINCT FROM $7 AND NOT finished";
        let known = self.mark.clone();
        let key = &self.c.names.origin;
        let moved =
            self.peer.execute(sql, &[key, &step.upto, &step.partial, &step.objects, &step.bytes, &known.upto, &known.partial]).await;
        if moved.map_err(failed)? != 1 {
            return Err(Error::new(Kind::Internal, "another applier has copied large objects of this task"));
        }
        self.peer.batch_execute("COMMIT").await.map_err(failed)?;
        self.mark = Mark { objects: known.objects + step.objects, bytes: known.bytes + step.bytes, ..step };
        Ok(())
    }
}

/// Says what was carried, and whether the source has others by now.
async fn finish(c: &Context, source: &Client, peer: &Client, mark: &Mark) -> Result<()> {
    let sql = "UPDATE pgrelay_peer.large_objects SET finished = true WHERE task_key = $1";
    peer.execute(sql, &[&c.names.origin]).await.map_err(failed)?;
    let sql = "SELECT count(*) FROM pg_catalog.pg_largeobject_metadata";
    let now: i64 = source.query_one(sql, &[]).await.map_err(failed)?.get(0);
    let message = format!("{} large objects, {} bytes, are on the peer as they were when they were copied", mark.objects, mark.bytes);
    let event = Event::new(Level::Info, "large_objects", message);
    let event = match now == mark.objects {
        true => event,
        false => Event { level: Level::Warning, detail: Some(format!("The source has {now} by now.")), ..event },
    };
    c.event(event.hint("What is written to large objects from here on is not carried.")).await
}
