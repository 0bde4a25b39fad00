//! The copy of one table, or of a lot of small ones: lock, snapshot, rows, marks.
//!
//! The lock comes before the snapshot: TRUNCATE and rewrites are not seen by snapshots. Bytes go from socket to socket,
//! unread. Dropping the future at any point leaves both transactions to be rolled back.

use std::{collections::HashMap, time::Duration};

use pgrelay_core::{
    Error, Lsn, Result,
    error::Kind,
    name::{TableName, quote_literal},
};
use tokio::{sync::oneshot, time::Instant};

use super::{Job, Setting, Snapshots, settings, shape};
use crate::{
    apply::{CopyMessage, standing, tables::Seen},
    pg::pipe::{Meter, Session, Statements, array, pour},
    progress::TableState,
    store::{Event, Level},
};

/// Between two snapshots, when the first cannot be used.
const RETAKE_AFTER: Duration = Duration::from_millis(200);

/// After this the DBA is told whom the copy waits for.
const TELL_AFTER: Duration = Duration::from_secs(5);

/// Copies tables under one snapshot and in one transaction of the peer, those left out whose mark says that they are there.
pub async fn copy(s: &Setting, source: &mut Session, peer: &mut Session, lot: &[Job], rules: shape::Rules) -> Result<()> {
    let lot = missing(s, peer, lot).await?;
    // The peer's extension may be of a later version.
    let rules = shape::Rules { exact: rules.exact && lot.iter().all(|job| job.settings.is_none()), ..rules };
    if lot.len() > 1 && !try_copy(s, source, peer, &lot, rules).await? {
        // Waiting for the lock of one while holding others could be a deadlock of the application's.
        for job in &lot {
            try_copy(s, source, peer, std::slice::from_ref(job), rules).await?;
        }
    } else if lot.len() == 1 {
        try_copy(s, source, peer, &lot, rules).await?;
    }
    Ok(())
}

/// False: the lock of one of several tables could not be had at once, and nothing was copied.
async fn try_copy(s: &Setting, source: &mut Session, peer: &mut Session, lot: &[&Job], rules: shape::Rules) -> Result<bool> {
    let tables: Vec<TableName> = lot.iter().map(|job| job.table.clone()).collect();
    let tables = &tables[..];
    let begun = Instant::now();
    let mut told = false;
    loop {
        ask(s, tables).await;
        if !begin(source, s, tables).await? {
            return Ok(false);
        }
        let seen = look(source, lot).await?;
        if accepted(s, tables, &seen).await {
            let done = rows_of_all(s, source, peer, lot, &seen, rules).await;
            if done.is_err() {
                // The session goes on to nothing else: whatever the peer has of it must not stay open.
                let _ = peer.run("ROLLBACK", "roll back").await;
            }
            done?;
            tables.iter().for_each(|table| s.progress.table(table, |t| t.state = TableState::FinishedCopy));
            source.run("ROLLBACK", "end the snapshot").await?;
            return Ok(true);
        }
        source.run("ROLLBACK", "end the snapshot").await?;
        if !told && begun.elapsed() > TELL_AFTER {
            told = true;
            tell(s, &tables[0]).await?;
        }
        tokio::time::sleep(RETAKE_AFTER).await;
    }
}

async fn tell(s: &Setting, table: &TableName) -> Result<()> {
    let message = format!("the copy of table \"{table}\" waits for a transaction that has committed and is not visible yet");
    let event = Event::new(Level::Warning, "snapshot_wait", message)
        .object(table.to_string())
        .hint("See whether the source waits for a synchronous standby: wait_event = 'SyncRep' in pg_stat_activity.");
    s.store.event(&s.task, &event).await
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

/// Schemas and names, as parameters.
fn names<'a>(lot: impl Iterator<Item = &'a Job> + Clone) -> (String, String) {
    (array(lot.clone().map(|job| &job.table.schema)), array(lot.map(|job| &job.table.name)))
}

/// Locks the tables. A single one is waited for, several are not: false when they cannot be had at once.
async fn begin(source: &mut Session, s: &Setting, tables: &[TableName]) -> Result<bool> {
    let doing = format!("lock table \"{}\" on the source", tables[0]);
    source.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", &doing).await?;
    if let Snapshots::Shared(name) = &s.snapshots {
        source.run(&format!("SET TRANSACTION SNAPSHOT {}", quote_literal(name)), "take the shared snapshot").await?;
    }
    let list: Vec<String> = tables.iter().map(|t| format!("ONLY {}", t.quoted())).collect();
    let wait = if tables.len() > 1 { " NOWAIT" } else { "" };
    let lock = format!("LOCK TABLE {} IN ACCESS SHARE MODE{wait}", list.join(", "));
    let Err(mut error) = source.run(&lock, &doing).await else { return Ok(true) };
    if source.run("ROLLBACK", &doing).await.is_ok() && tables.len() > 1 {
        // Alone, each table says what is wrong with it.
        return Ok(false);
    }
    error = error.object(tables[0].to_string());
    if error.server_sqlstate.as_deref() == Some("42P01") {
        error.kind = Kind::ShapeChanged;
        error.hint = Some("The table was dropped on the source. Stop the task and start it anew.".to_owned());
    }
    Err(error)
}

async fn look(source: &mut Session, lot: &[&Job]) -> Result<Seen> {
    let doing = format!("take a snapshot for table \"{}\"", lot[0].table);
    // The statement's snapshot is the transaction's; the WAL position is read after it was taken.
    let sql = "SELECT pg_catalog.pg_current_snapshot(), pg_catalog.pg_current_wal_insert_lsn(), \
               coalesce(pg_catalog.to_regclass(u.name)::oid, 0) FROM pg_catalog.unnest($1::text[]) WITH ORDINALITY AS u (name, n) ORDER BY n";
    let rows = source.query(sql, &[&array(lot.iter().map(|job| job.table.quoted()))], &doing).await?;
    let mut seen = None;
    for (job, row) in lot.iter().zip(&rows) {
        let [Some(snapshot), Some(position), Some(oid)] = row.as_slice() else { break };
        standing::same_table(&HashMap::from([(job.table.clone(), job.oid)]), &job.table, oid.parse().unwrap_or_default())?;
        seen = Some(Seen { snapshot: snapshot.parse()?, visible_below: position.parse::<Lsn>()? });
    }
    seen.filter(|_| rows.len() == lot.len()).ok_or_else(|| Error::new(Kind::Internal, format!("{doing}: an answer of another form")))
}

/// Nothing may be concluded from a snapshot that was taken before the applier knew of it.
async fn ask(s: &Setting, tables: &[TableName]) {
    if let Snapshots::Own(applier) = &s.snapshots {
        let (reply, answer) = oneshot::channel();
        if applier.send(CopyMessage::Ask { tables: tables.to_vec(), reply }).await.is_ok() {
            // Without an applier the snapshot will not be accepted either.
            let _ = answer.await;
        }
    }
}

async fn accepted(s: &Setting, tables: &[TableName], seen: &Seen) -> bool {
    match &s.snapshots {
        Snapshots::Shared(_) => {
            tables.iter().for_each(|table| s.progress.table(table, |t| t.state = TableState::DataSync));
            true
        }
        Snapshots::Own(applier) => {
            let (reply, answer) = oneshot::channel();
            let message = CopyMessage::Snapshot { tables: tables.to_vec(), seen: seen.clone(), reply };
            applier.send(message).await.is_ok() && answer.await.unwrap_or(false)
        }
    }
}

/// Moves the rows and writes the marks, in one transaction of the peer.
async fn rows_of_all(s: &Setting, source: &mut Session, peer: &mut Session, lot: &[&Job], seen: &Seen, rules: shape::Rules) -> Result<()> {
    const DOING: &str = "write the marks of copies on the peer";
    let tables: Vec<TableName> = lot.iter().map(|job| job.table.clone()).collect();
    let shapes = shape::read(source, peer, &tables, rules).await?;
    peer.run("BEGIN ISOLATION LEVEL READ COMMITTED", DOING).await?;
    let (mut counts, mut sizes) = (vec![], vec![]);
    for (job, shape) in lot.iter().zip(&shapes) {
        let (count, bytes) = rows(s, source, peer, job, shape).await?;
        counts.push(count.to_string());
        sizes.push(bytes.to_string());
    }
    let mark = "INSERT INTO pgrelay_peer.table_copy (task_key, schema_name, table_name, table_oid, snapshot, visible_below, rows, bytes) \
                SELECT $1, u.s, u.t, u.o, $2, $3::text::pg_lsn, u.r, u.b FROM ROWS FROM (pg_catalog.unnest($4::text[]), \
                pg_catalog.unnest($5::text[]), pg_catalog.unnest($6::oid[]), pg_catalog.unnest($7::bigint[]), \
                pg_catalog.unnest($8::bigint[])) AS u (s, t, o, r, b)";
    let (snapshot, below) = (seen.snapshot.to_string(), seen.visible_below.to_string());
    let (schemas, names) = names(lot.iter().copied());
    let oids = array(lot.iter().map(|job| job.oid.to_string()));
    let params: [&str; 8] = [&s.names.origin, &snapshot, &below, &schemas, &names, &oids, &array(counts), &array(sizes)];
    peer.query(mark, &params, DOING).await?;
    peer.run("COMMIT", DOING).await?;
    s.progress.set_moved();
    Ok(())
}

/// Moves the rows of one table: how many, and how many bytes.
async fn rows(s: &Setting, source: &mut Session, peer: &mut Session, job: &Job, shape: &shape::Shape) -> Result<(u64, u64)> {
    let table = &job.table;
    s.progress.table(table, |t| (t.rows, t.bytes) = (0, 0));
    let format = if shape.binary { "binary" } else { "text" };
    let columns = if shape.columns.is_empty() { String::new() } else { format!(" ({})", shape.columns.join(", ")) };
    let (mut out, mut into) = (format!("{}{columns}", table.quoted()), format!("{}{columns}", table.quoted()));
    if let Some(condition) = &job.settings {
        (out, into) = (settings::source(table, shape, condition), settings::begin(peer, table, shape).await?);
    }
    let statements = Statements {
        out: &format!("COPY {out} TO STDOUT (FORMAT {format})"),
        into: &format!("COPY {into} FROM STDIN (FORMAT {format})"),
        binary: shape.binary,
        doing: &format!("copy table \"{table}\""),
    };
    let poured = pour(source, peer, statements, &mut Shown { s, table, rows: 0, bytes: 0, at: Instant::now() }).await;
    let poured = poured.map_err(|e| e.object(table.to_string()))?;
    if let Some(condition) = &job.settings {
        settings::finish(peer, table, shape, condition).await?;
    }
    s.progress.table(table, |t| (t.rows, t.bytes) = (poured.written as i64, poured.bytes as i64));
    Ok((poured.written, poured.bytes))
}

/// Shows how far the copy of a table has come.
struct Shown<'a> {
    s: &'a Setting,
    table: &'a TableName,
    rows: u64,
    bytes: u64,
    at: Instant,
}

impl Meter for Shown<'_> {
    async fn passed(&mut self, rows: u64, bytes: u64) {
        self.rows += rows;
        self.bytes += bytes;
        if self.at.elapsed() > SHOWN_EVERY {
            self.at = Instant::now();
            self.s.progress.table(self.table, |t| (t.rows, t.bytes) = (self.rows as i64, self.bytes as i64));
        }
    }
}

/// How often progress is shown.
const SHOWN_EVERY: Duration = Duration::from_millis(200);
