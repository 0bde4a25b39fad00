//! The copy of one table: lock, snapshot, rows, mark.
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

/// Copies one table, unless its mark says that it is there.
pub async fn copy(s: &Setting, source: &mut Client, peer: &Client, job: &Job) -> Result<()> {
    let table = &job.table;
    if is_done(s, peer, table).await? {
        return Ok(());
    }
    let begun = Instant::now();
    let mut told = false;
    loop {
        ask(s, table).await;
        let transaction = begin(source, s, table).await?;
        let seen = look(&transaction, job).await?;
        if accepted(s, table, &seen).await {
            let counts = rows(s, &transaction, peer, job, &seen).await;
            if counts.is_err() {
                // The session goes on to nothing else: whatever the peer has of it must not stay open.
                let _ = peer.batch_execute("ROLLBACK").await;
            }
            counts?;
            s.progress.table(table, |t| t.state = TableState::FinishedCopy);
            return transaction.rollback().await.map_err(|e| server_error(e, "end the snapshot"));
        }
        transaction.rollback().await.map_err(|e| server_error(e, "end the snapshot"))?;
        if !told && begun.elapsed() > TELL_AFTER {
            told = true;
            let message = format!("the copy of table \"{table}\" waits for a transaction that has committed and is not visible yet");
            let event = Event::new(Level::Warning, "snapshot_wait", message).object(table.to_string());
            s.store
                .event(
                    &s.task,
                    &event.hint("See whether the source waits for a synchronous standby: wait_event = 'SyncRep' in pg_stat_activity."),
                )
                .await?;
        }
        tokio::time::sleep(RETAKE_AFTER).await;
    }
}

async fn is_done(s: &Setting, peer: &Client, table: &TableName) -> Result<bool> {
    let sql = "SELECT FROM pgrelay_peer.table_copy WHERE task_key = $1 AND schema_name = $2 AND table_name = $3";
    let rows = peer.query(sql, &[&s.names.origin, &table.schema, &table.name]).await;
    Ok(!rows.map_err(|e| server_error(e, "read the mark of a copy"))?.is_empty())
}

async fn begin<'a>(source: &'a mut Client, s: &Setting, table: &TableName) -> Result<Transaction<'a>> {
    let doing = format!("lock table \"{table}\" on the source");
    let transaction = source.build_transaction().isolation_level(tokio_postgres::IsolationLevel::RepeatableRead).read_only(true);
    let transaction = transaction.start().await.map_err(|e| server_error(e, &doing))?;
    if let Snapshots::Shared(name) = &s.snapshots {
        let sql = format!("SET TRANSACTION SNAPSHOT {}", pgrelay_core::name::quote_literal(name));
        transaction.batch_execute(&sql).await.map_err(|e| server_error(e, "take the shared snapshot"))?;
    }
    let lock = format!("LOCK TABLE ONLY {} IN ACCESS SHARE MODE", table.quoted());
    transaction.batch_execute(&lock).await.map_err(|e| {
        let mut error = server_error(e, &doing).object(table.to_string());
        if error.server_sqlstate.as_deref() == Some("42P01") {
            error.kind = Kind::ShapeChanged;
            error.hint = Some("The table was dropped on the source. Stop the task and start it anew.".to_owned());
        }
        error
    })?;
    Ok(transaction)
}

async fn look(transaction: &Transaction<'_>, job: &Job) -> Result<Seen> {
    let table = &job.table;
    // The statement's snapshot is the transaction's; the WAL position is read after it was taken.
    let sql =
        "SELECT pg_catalog.pg_current_snapshot()::text, pg_catalog.pg_current_wal_insert_lsn()::text, pg_catalog.to_regclass($1)::oid";
    let row = transaction
        .query_one(sql, &[&table.quoted()])
        .await
        .map_err(|e| server_error(e, &format!("take a snapshot for table \"{table}\"")))?;
    standing::same_table(&HashMap::from([(table.clone(), job.oid)]), table, row.get::<_, Option<u32>>(2).unwrap_or_default())?;
    Ok(Seen { snapshot: row.get::<_, &str>(0).parse()?, visible_below: row.get::<_, &str>(1).parse::<Lsn>()? })
}

/// Nothing may be concluded from a snapshot that was taken before the applier knew of it.
async fn ask(s: &Setting, table: &TableName) {
    if let Snapshots::Own(applier) = &s.snapshots {
        let (reply, answer) = oneshot::channel();
        if applier.send(CopyMessage::Ask { table: table.clone(), reply }).await.is_ok() {
            // Without an applier the snapshot will not be accepted either.
            let _ = answer.await;
        }
    }
}

async fn accepted(s: &Setting, table: &TableName, seen: &Seen) -> bool {
    match &s.snapshots {
        Snapshots::Shared(_) => {
            s.progress.table(table, |t| t.state = TableState::DataSync);
            true
        }
        Snapshots::Own(applier) => {
            let (reply, answer) = oneshot::channel();
            let message = CopyMessage::Snapshot { table: table.clone(), seen: seen.clone(), reply };
            applier.send(message).await.is_ok() && answer.await.unwrap_or(false)
        }
    }
}

/// Moves the rows and writes the mark, in one transaction of the peer.
async fn rows(s: &Setting, source: &Transaction<'_>, peer: &Client, job: &Job, seen: &Seen) -> Result<()> {
    let table = &job.table;
    s.progress.table(table, |t| (t.rows, t.bytes) = (0, 0));
    let shape = shape::read(source.client(), peer, table, s.exact).await?;
    let doing = format!("copy table \"{table}\"");
    let failed = |e| server_error(e, &doing).object(table.to_string());
    peer.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED").await.map_err(failed)?;
    let (mut count, mut bytes) = (0i64, 0i64);
    let format = if shape.binary { "binary" } else { "text" };
    let columns = if shape.columns.is_empty() { String::new() } else { format!(" ({})", shape.columns.join(", ")) };
    let out = format!("COPY {}{columns} TO STDOUT (FORMAT {format})", table.quoted());
    let into = format!("COPY {}{columns} FROM STDIN (FORMAT {format})", table.quoted());
    let from = source.copy_out(&out).await.map_err(failed)?;
    let to = peer.copy_in(&into).await.map_err(failed)?;
    pin_mut!(from);
    pin_mut!(to);
    let mut shown = Instant::now();
    while let Some(piece) = from.next().await {
        let piece = piece.map_err(failed)?;
        // One message per row, in either format; the binary header and trailer are messages of their own.
        count += 1;
        bytes += piece.len() as i64;
        to.send(piece).await.map_err(failed)?;
        if shown.elapsed() > Duration::from_millis(200) {
            shown = Instant::now();
            s.progress.table(table, |t| (t.rows, t.bytes) = (count, bytes));
        }
    }
    let written = to.finish().await.map_err(failed)? as i64;
    s.progress.table(table, |t| (t.rows, t.bytes) = (written, bytes));
    let mark = "INSERT INTO pgrelay_peer.table_copy (task_key, schema_name, table_name, table_oid, snapshot, visible_below, rows, bytes) \
                VALUES ($1, $2, $3, $4, $5, $6::text::pg_lsn, $7, $8)";
    let (snapshot, below) = (seen.snapshot.to_string(), seen.visible_below.to_string());
    peer.execute(mark, &[&s.names.origin, &table.schema, &table.name, &job.oid, &snapshot, &below, &written, &bytes])
        .await
        .map_err(failed)?;
    peer.batch_execute("COMMIT").await.map_err(failed)?;
    s.progress.set_moved();
    Ok(())
}
