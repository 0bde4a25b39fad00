//! The copy of one table, or of a lot of small ones: lock, snapshot, rows, marks.
//!
//! The lock comes before the snapshot: TRUNCATE and rewrites are not seen by snapshots. Bytes go from socket to socket,
//! unread. Dropping the future at any point leaves both transactions to be rolled back.

use std::{collections::HashMap, time::Duration};

use futures_util::{SinkExt, StreamExt, pin_mut};
use pgrelay_core::{Lsn, Result, error::Kind, name::TableName};
use tokio::{sync::oneshot, time::Instant};
use tokio_postgres::{Client, Transaction};

use super::{Job, Setting, Snapshots, shape};
use crate::{
    apply::{CopyMessage, standing, tables::Seen},
    pg::server_error,
    progress::TableState,
    store::{Event, Level},
};

/// Between two snapshots, when the first cannot be used.
const RETAKE_AFTER: Duration = Duration::from_millis(200);

/// After this the DBA is told whom the copy waits for.
const TELL_AFTER: Duration = Duration::from_secs(5);

/// Copies tables under one snapshot and in one transaction of the peer, those left out whose mark says that they are there.
pub async fn copy(s: &Setting, source: &mut Client, peer: &Client, lot: &[Job], rules: shape::Rules) -> Result<()> {
    let lot = missing(s, peer, lot).await?;
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
async fn try_copy(s: &Setting, source: &mut Client, peer: &Client, lot: &[&Job], rules: shape::Rules) -> Result<bool> {
    let tables: Vec<TableName> = lot.iter().map(|job| job.table.clone()).collect();
    let tables = &tables[..];
    let begun = Instant::now();
    let mut told = false;
    loop {
        ask(s, tables).await;
        let Some(transaction) = begin(source, s, tables).await? else { return Ok(false) };
        let seen = look(&transaction, lot).await?;
        if accepted(s, tables, &seen).await {
            let done = rows_of_all(s, &transaction, peer, lot, &seen, rules).await;
            if done.is_err() {
                // The session goes on to nothing else: whatever the peer has of it must not stay open.
                let _ = peer.batch_execute("ROLLBACK").await;
            }
            done?;
            tables.iter().for_each(|table| s.progress.table(table, |t| t.state = TableState::FinishedCopy));
            transaction.rollback().await.map_err(|e| server_error(e, "end the snapshot"))?;
            return Ok(true);
        }
        transaction.rollback().await.map_err(|e| server_error(e, "end the snapshot"))?;
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
async fn missing<'a>(s: &Setting, peer: &Client, lot: &'a [Job]) -> Result<Vec<&'a Job>> {
    let sql = "SELECT c.schema_name, c.table_name FROM pgrelay_peer.table_copy c WHERE c.task_key = $1 \
               AND (c.schema_name, c.table_name) IN (SELECT * FROM ROWS FROM (pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::text[])) u)";
    let (schemas, names) = names(lot.iter());
    let rows = peer.query(sql, &[&s.names.origin, &schemas, &names]).await.map_err(|e| server_error(e, "read the marks of copies"))?;
    let there = |table: &TableName| rows.iter().any(|r| r.get::<_, &str>(0) == table.schema && r.get::<_, &str>(1) == table.name);
    Ok(lot.iter().filter(|job| !there(&job.table)).collect())
}

fn names<'a>(lot: impl Iterator<Item = &'a Job>) -> (Vec<&'a str>, Vec<&'a str>) {
    lot.map(|job| (job.table.schema.as_str(), job.table.name.as_str())).unzip()
}

/// Locks the tables. A single one is waited for, several are not: none is returned when they cannot be had at once.
async fn begin<'a>(source: &'a mut Client, s: &Setting, tables: &[TableName]) -> Result<Option<Transaction<'a>>> {
    let doing = format!("lock table \"{}\" on the source", tables[0]);
    let transaction = source.build_transaction().isolation_level(tokio_postgres::IsolationLevel::RepeatableRead).read_only(true);
    let transaction = transaction.start().await.map_err(|e| server_error(e, &doing))?;
    if let Snapshots::Shared(name) = &s.snapshots {
        let sql = format!("SET TRANSACTION SNAPSHOT {}", pgrelay_core::name::quote_literal(name));
        transaction.batch_execute(&sql).await.map_err(|e| server_error(e, "take the shared snapshot"))?;
    }
    let list: Vec<String> = tables.iter().map(|t| format!("ONLY {}", t.quoted())).collect();
    let wait = if tables.len() > 1 { " NOWAIT" } else { "" };
    let lock = format!("LOCK TABLE {} IN ACCESS SHARE MODE{wait}", list.join(", "));
    let Err(e) = transaction.batch_execute(&lock).await else { return Ok(Some(transaction)) };
    if tables.len() > 1 {
        // Alone, each table says what is wrong with it.
        transaction.rollback().await.map_err(|e| server_error(e, &doing))?;
        return Ok(None);
    }
    let mut error = server_error(e, &doing).object(tables[0].to_string());
    if error.server_sqlstate.as_deref() == Some("42P01") {
        error.kind = Kind::ShapeChanged;
        error.hint = Some("The table was dropped on the source. Stop the task and start it anew.".to_owned());
    }
    Err(error)
}

async fn look(transaction: &Transaction<'_>, lot: &[&Job]) -> Result<Seen> {
    let doing = || format!("take a snapshot for table \"{}\"", lot[0].table);
    // The statement's snapshot is the transaction's; the WAL position is read after it was taken.
    let sql = "SELECT pg_catalog.pg_current_snapshot()::text, pg_catalog.pg_current_wal_insert_lsn()::text, \
               ARRAY(SELECT pg_catalog.to_regclass(u.name)::oid FROM pg_catalog.unnest($1::text[]) WITH ORDINALITY AS u (name, n) ORDER BY n)";
    let quoted: Vec<String> = lot.iter().map(|job| job.table.quoted()).collect();
    let row = transaction.query_one(sql, &[&quoted]).await.map_err(|e| server_error(e, &doing()))?;
    for (job, oid) in lot.iter().zip(row.get::<_, Vec<Option<u32>>>(2)) {
        standing::same_table(&HashMap::from([(job.table.clone(), job.oid)]), &job.table, oid.unwrap_or_default())?;
    }
    Ok(Seen { snapshot: row.get::<_, &str>(0).parse()?, visible_below: row.get::<_, &str>(1).parse::<Lsn>()? })
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
async fn rows_of_all(s: &Setting, source: &Transaction<'_>, peer: &Client, lot: &[&Job], seen: &Seen, rules: shape::Rules) -> Result<()> {
    let tables: Vec<TableName> = lot.iter().map(|job| job.table.clone()).collect();
    let shapes = shape::read(source.client(), peer, &tables, rules).await?;
    let failed = |e| server_error(e, "write the marks of copies on the peer");
    peer.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED").await.map_err(failed)?;
    let (mut counts, mut sizes) = (vec![], vec![]);
    for (table, shape) in tables.iter().zip(&shapes) {
        let (count, bytes) = rows(s, source, peer, table, shape).await?;
        counts.push(count);
        sizes.push(bytes);
    }
    let mark = "INSERT INTO pgrelay_peer.table_copy (task_key, schema_name, table_name, table_oid, snapshot, visible_below, rows, bytes) \
                SELECT $1, u.s, u.t, u.o, $2, $3::text::pg_lsn, u.r, u.b FROM ROWS FROM (pg_catalog.unnest($4::text[]), \
                pg_catalog.unnest($5::text[]), pg_catalog.unnest($6::oid[]), pg_catalog.unnest($7::bigint[]), \
                pg_catalog.unnest($8::bigint[])) AS u (s, t, o, r, b)";
    let (snapshot, below) = (seen.snapshot.to_string(), seen.visible_below.to_string());
    let (schemas, names) = names(lot.iter().copied());
    let oids: Vec<u32> = lot.iter().map(|job| job.oid).collect();
    peer.execute(mark, &[&s.names.origin, &snapshot, &below, &schemas, &names, &oids, &counts, &sizes]).await.map_err(failed)?;
    peer.batch_execute("COMMIT").await.map_err(failed)?;
    s.progress.set_moved();
    Ok(())
}

/// Moves the rows of one table: how many, and how many bytes.
async fn rows(s: &Setting, source: &Transaction<'_>, peer: &Client, table: &TableName, shape: &shape::Shape) -> Result<(i64, i64)> {
    let doing = format!("copy table \"{table}\"");
    let failed = |e| server_error(e, &doing).object(table.to_string());
    let (mut count, mut bytes) = (0i64, 0i64);
    s.progress.table(table, |t| (t.rows, t.bytes) = (0, 0));
    let format = if shape.binary { "binary" } else { "text" };
    let columns = if shape.columns.is_empty() { String::new() } else { format!(" ({})", shape.columns.join(", ")) };
    let out = format!("COPY {}{columns} TO STDOUT (FORMAT {format})", table.quoted());
    let into = format!("COPY {}{columns} FROM STDIN (FORMAT {format})", table.quoted());
    let (from, to) = tokio::join!(source.copy_out(&out), peer.copy_in(&into));
    let (from, to) = (from.map_err(failed)?, to.map_err(failed)?);
    pin_mut!(from);
    pin_mut!(to);
    let mut shown = Instant::now();
    while let Some(piece) = from.next().await {
        let piece = piece.map_err(failed)?;
        // One message per row, in either format; the binary header and trailer are messages of their own.
        count += 1;
        bytes += piece.len() as i64;
        to.send(piece).await.map_err(failed)?;
        if count % SHOWN_EVERY == 0 && shown.elapsed() > Duration::from_millis(200) {
            shown = Instant::now();
            s.progress.table(table, |t| (t.rows, t.bytes) = (count, bytes));
        }
    }
    let written = to.finish().await.map_err(failed)? as i64;
    s.progress.table(table, |t| (t.rows, t.bytes) = (written, bytes));
    Ok((written, bytes))
}

/// Rows between two looks at the clock.
const SHOWN_EVERY: i64 = 64;
