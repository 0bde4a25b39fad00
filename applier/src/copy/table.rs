//! The copy of one table, or of a lot of small ones: how it is cut, the rows, the marks.
//!
//! Bytes go from socket to socket, unread. Dropping the future at any point leaves every transaction to be rolled back.

use std::sync::Arc;

use pgrelay_core::{Error, Lsn, Result, error::Kind, name::TableName};
use tokio_postgres::Client;

use super::{
    Job, Setting, Snapshots,
    board::Board,
    cut::{self, Begin, Facts, Limits, Way},
    fence, flow, fresh, keep, settings, shape, snapshot,
    split::{Begun, Split},
};
use crate::{
    apply::{
        marks::{self, Marks},
        standing,
        tables::Seen,
    },
    crash::{self, Point},
    pg::{
        pipe::{Poured, Session, array},
        server_error,
    },
    progress::TableState,
    store::{Event, Level},
};

/// What a worker works with.
pub struct Hands<'a> {
    /// What every worker needs.
    pub s: &'a Setting,
    /// Reads.
    pub source: &'a mut Session,
    /// Writes rows.
    pub peer: &'a mut Session,
    /// Reads marks.
    pub marks: &'a Client,
    /// How tables are compared.
    pub rules: shape::Rules,
    /// Where others find what to help with.
    pub board: &'a Board,
}

/// What became of a table's copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copied {
    /// It was there before.
    Before,
    /// Its rows are of one point in time.
    AtOnce,
    /// Under several snapshots: from this position on its rows are of one point in time.
    Mixed(Lsn),
}

/// Copies tables under one snapshot and in one transaction of the peer, or a single one in chunks. Those whose mark says that they
/// are there are left out. None: nothing was copied, and each is to be tried alone.
pub async fn copy(hands: &mut Hands<'_>, jobs: &[Job]) -> Result<Option<Copied>> {
    let lot = missing(hands.s, hands.peer, jobs).await?;
    hands.rules.exact &= !lot.iter().any(|job| job.is_apart());
    let cutting = match lot.as_slice() {
        [] => return before(hands, jobs).await.map(Some),
        // It was large when an earlier try began it: alone it is seen what is there.
        [_, _, ..] if any_begun(hands.s, hands.peer, &lot).await? => return Ok(None),
        [job] if !job.is_apart() => Some(look_how(hands, job).await?),
        _ => None,
    };
    let earlier = cutting.as_ref().and_then(|c| c.marks.as_ref()).and_then(|m| m.earlier(None));
    let Some(seen) = snapshot::take(hands.s, hands.source, &lot, earlier).await? else { return Ok(None) };
    if let (Some(Cutting { facts, way: Way::Key(_), .. }), [job]) = (&cutting, lot.as_slice())
        && cut::facts(hands.source, &job.table, job.oid).await?.key != facts.key
    {
        // Its key was changed before it was locked.
        snapshot::end(hands.source).await?;
        return Ok(None);
    }
    crash::at(Point::SnapshotTaken);
    let copied = match (cutting, lot.as_slice()) {
        (Some(cutting), [job]) if cutting.way != Way::Whole => in_chunks(hands, job, &seen, cutting).await?,
        _ => rows_of_all(hands, &lot, &seen).await?,
    };
    lot.iter().for_each(|job| hands.s.progress.table(&job.table, |t| t.state = TableState::FinishedCopy));
    snapshot::end(hands.source).await?;
    Ok(Some(copied))
}

/// How a single table is going to be copied.
struct Cutting {
    facts: Facts,
    marks: Option<Marks>,
    way: Way,
    chunks: i64,
}

/// Decides that, and empties the peer's table when what is there cannot be gone on with.
async fn look_how(hands: &mut Hands<'_>, job: &Job) -> Result<Cutting> {
    let (s, table) = (hands.s, &job.table);
    let facts = cut::facts(hands.source, table, job.oid).await?;
    let mut marks = marks::of_table(hands.marks, &s.names.origin, table).await?;
    let mut limits = Limits {
        chunk_bytes: s.chunk_bytes(),
        workers: s.workers(),
        by_key: job.by_key && matches!(s.snapshots, Snapshots::Own(_)),
        by_page: s.exact,
    };
    if limits.by_key
        && let Some(key) = &facts.key
    {
        limits.by_key = cuttable(hands.marks, table, &key.column).await?;
    }
    loop {
        match cut::choose(&facts, marks.as_ref(), limits, hands.source.server_version_num()) {
            Begin::Cut(way, chunks) => return Ok(Cutting { facts, marks, way, chunks }),
            Begin::StartOver(reason) => start_over(hands, job, reason).await?,
        }
        marks = None;
    }
}

async fn cuttable(peer: &Client, table: &TableName, column: &str) -> Result<bool> {
    let row = peer.query_one(include_str!("../../../sql/query/peer/cuttable.sql"), &[&table.schema, &table.name, &column]).await;
    Ok(row.map_err(|e| server_error(e, "look at the keys of a table of the peer"))?.get(0))
}

/// Empties a table of which chunks are there.
async fn start_over(hands: &mut Hands<'_>, job: &Job, reason: &str) -> Result<()> {
    let (s, table) = (hands.s, &job.table);
    let doing = format!("empty table \"{table}\" on the peer, whose copy starts over");
    fence::begin(s, hands.peer, &doing).await?;
    let lock = format!("LOCK TABLE ONLY {} IN ACCESS EXCLUSIVE MODE; SELECT FROM ONLY {0} LIMIT 1", table.quoted());
    let filled = !hands.peer.run(&lock, &doing).await?.is_empty();
    if filled && !s.exact {
        return Err(Error::new(Kind::Configuration, format!("the copy of table \"{table}\" must start over: {reason}"))
            .object(table.to_string())
            .hint("Empty the table on the peer; the task goes on by itself."));
    }
    if filled {
        hands.peer.run(&format!("TRUNCATE TABLE ONLY {}", table.quoted()), &doing).await?;
    }
    let forget = "DELETE FROM pgrelay_peer.chunk_copy WHERE task_key = $1 AND schema_name = $2 AND table_name = $3";
    hands.peer.query(forget, &[&s.names.origin, &table.schema, &table.name], &doing).await?;
    hands.peer.run("COMMIT", &doing).await?;
    let message = format!("the copy of table \"{table}\" starts over: {reason}");
    s.store.event(&s.task, &Event::new(Level::Warning, "copy_restarted", message).object(table.to_string())).await
}

/// Copies a table's chunks, with whoever helps, then writes its mark.
async fn in_chunks(hands: &mut Hands<'_>, job: &Job, seen: &Seen, cutting: Cutting) -> Result<Copied> {
    let (s, table) = (hands.s, &job.table);
    let Cutting { facts, marks, way, chunks } = cutting;
    let shapes = shape::read(hands.source, hands.peer, std::slice::from_ref(table), hands.rules).await?;
    let Some(shape) = shapes.into_iter().next() else { return Ok(Copied::Before) };
    let there = marks.as_ref().map(|m| m.chunks.iter().fold((0, 0), |(r, b), c| (r + c.rows, b + c.bytes))).unwrap_or_default();
    s.progress.table(table, |t| (t.rows, t.bytes) = there);
    let cut = cut::cut(hands.source, table, &facts, marks.as_ref(), way, chunks).await?;
    let snapshot = match &s.snapshots {
        Snapshots::Shared(name) => name.clone(),
        Snapshots::Own(_) => snapshot::export(hands.source, table).await?,
    };
    let there = marks.as_ref().map_or(0, |m| m.chunks.len());
    let split = Arc::new(Split::new(Begun { table: table.clone(), oid: job.oid, shape, seen: seen.clone(), snapshot }, &cut));
    let expected = there + split.left();
    hands.board.open(split.clone());
    // Whether mine went well is told with theirs.
    split.work(s, hands.source, hands.peer).await;
    hands.board.close(&split);
    split.wait().await?;
    crash::at(Point::ChunksThere);
    let doing = format!("write the mark of table \"{table}\" on the peer");
    fence::begin(s, hands.peer, &doing).await?;
    let (snapshot, below) = (seen.snapshot.to_string(), seen.visible_below.to_string());
    let params: [&str; 7] = [&s.names.origin, &table.schema, &table.name, &job.oid.to_string(), &snapshot, &below, &expected.to_string()];
    if hands.peer.query(include_str!("../../../sql/query/peer/mark_chunks.sql"), &params, &doing).await?.is_empty() {
        return Err(Error::new(Kind::Internal, format!("{doing}: its chunks are not {expected}")).object(table.to_string()));
    }
    hands.peer.run("COMMIT", &doing).await?;
    crash::at(Point::ChunksMarked);
    s.progress.set_moved();
    Ok(if marks.is_some() { Copied::Mixed(seen.visible_below) } else { Copied::AtOnce })
}

/// What became of tables that have their marks. One of several snapshots is tried alone.
async fn before(hands: &Hands<'_>, jobs: &[Job]) -> Result<Copied> {
    let [job] = jobs else { return Ok(Copied::Before) };
    let (key, table) = (&hands.s.names.origin, &job.table);
    let Some(marks) = marks::of_table(hands.marks, key, table).await? else { return Ok(Copied::Before) };
    let last = standing::seen(hands.marks, key, table).await?;
    Ok(last.filter(|last| marks.earlier(Some(last)).is_some()).map_or(Copied::Before, |last| Copied::Mixed(last.visible_below)))
}

/// The tables that have no mark.
async fn missing<'a>(s: &Setting, peer: &mut Session, lot: &'a [Job]) -> Result<Vec<&'a Job>> {
    let sql = "SELECT c.schema_name, c.table_name FROM pgrelay_peer.table_copy c WHERE c.task_key = $1 \
               AND (c.schema_name, c.table_name) IN (SELECT * FROM ROWS FROM (pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::text[])) u)";
    let (schemas, names) = names(lot.iter());
    let rows = peer.query(sql, &[&s.names.origin, &schemas, &names], "read the marks of copies").await?;
    let there = |table: &TableName| {
        rows.iter().any(|r| matches!(r.as_slice(), [Some(schema), Some(name)] if *schema == table.schema && *name == table.name))
    };
    Ok(lot.iter().filter(|job| !there(&job.table)).collect())
}

/// Whether chunks of any of these tables are on the peer.
async fn any_begun(s: &Setting, peer: &mut Session, lot: &[&Job]) -> Result<bool> {
    let sql = "SELECT FROM pgrelay_peer.chunk_copy c WHERE c.task_key = $1 AND (c.schema_name, c.table_name) IN \
               (SELECT * FROM ROWS FROM (pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::text[])) u) LIMIT 1";
    let (schemas, names) = names(lot.iter().copied());
    Ok(!peer.query(sql, &[&s.names.origin, &schemas, &names], "read the marks of chunks").await?.is_empty())
}

/// Schemas and names, as parameters.
fn names<'a>(lot: impl Iterator<Item = &'a Job> + Clone) -> (String, String) {
    (array(lot.clone().map(|job| &job.table.schema)), array(lot.map(|job| &job.table.name)))
}

/// Moves the rows and writes the marks, in one transaction of the peer.
async fn rows_of_all(hands: &mut Hands<'_>, lot: &[&Job], seen: &Seen) -> Result<Copied> {
    const DOING: &str = "write the marks of copies on the peer";
    let (s, source, peer) = (hands.s, &mut *hands.source, &mut *hands.peer);
    let tables: Vec<TableName> = lot.iter().map(|job| job.table.clone()).collect();
    let shapes = shape::read(source, peer, &tables, hands.rules).await?;
    fence::begin(s, peer, DOING).await?;
    // Not for a lot of small tables: a new file for each costs more than it brings.
    let frozen = match lot {
        [job] if hands.rules.exact => fresh::emptied(peer, &job.table).await?,
        _ => false,
    };
    let (mut counts, mut sizes, mut kept) = (vec![], vec![], vec![]);
    for (job, shape) in lot.iter().zip(&shapes) {
        let poured = rows(s, source, peer, job, shape, frozen).await?;
        counts.push(poured.written.to_string());
        sizes.push(poured.bytes.to_string());
        kept.push(if job.kept { poured.sent.saturating_sub(poured.written) } else { 0 }.to_string());
    }
    let mark = "INSERT INTO pgrelay_peer.table_copy (task_key, schema_name, table_name, table_oid, snapshot, visible_below, rows, bytes, kept) \
                SELECT $1, u.s, u.t, u.o, $2, $3::text::pg_lsn, u.r, u.b, u.k FROM ROWS FROM (pg_catalog.unnest($4::text[]), \
                pg_catalog.unnest($5::text[]), pg_catalog.unnest($6::oid[]), pg_catalog.unnest($7::bigint[]), \
                pg_catalog.unnest($8::bigint[]), pg_catalog.unnest($9::bigint[])) AS u (s, t, o, r, b, k)";
    let (snapshot, below) = (seen.snapshot.to_string(), seen.visible_below.to_string());
    let (schemas, names) = names(lot.iter().copied());
    let oids = array(lot.iter().map(|job| job.oid.to_string()));
    let params: [&str; 9] = [&s.names.origin, &snapshot, &below, &schemas, &names, &oids, &array(counts), &array(sizes), &array(kept)];
    crash::at(Point::RowsWritten);
    peer.query(mark, &params, DOING).await?;
    crash::at(Point::RowsMarked);
    peer.run("COMMIT", DOING).await?;
    crash::at(Point::RowsCommitted);
    s.progress.set_moved();
    Ok(Copied::AtOnce)
}

/// Moves the rows of one table.
async fn rows(s: &Setting, source: &mut Session, peer: &mut Session, job: &Job, shape: &shape::Shape, frozen: bool) -> Result<Poured> {
    let table = &job.table;
    s.progress.table(table, |t| (t.rows, t.bytes) = (0, 0));
    if job.kept {
        return keep::rows(s, source, peer, table, shape).await;
    }
    let whole = format!("{}{}", table.quoted(), shape.column_list());
    let Some(condition) = &job.settings else {
        return flow::rows(s, source, peer, table, shape, flow::Rows { out: &whole, into: &whole, frozen }).await;
    };
    let (out, into) = (settings::source(table, shape, condition), settings::begin(peer, table, shape).await?);
    let poured = flow::rows(s, source, peer, table, shape, flow::Rows { out: &out, into: &into, frozen: false }).await?;
    settings::finish(peer, table, shape, condition).await?;
    Ok(poured)
}
