//! Locks tables of the source and takes a snapshot that the applier accepts.
//!
//! The lock comes before the snapshot: TRUNCATE and rewrites are not seen by snapshots.

use std::{collections::HashMap, time::Duration};

use pgrelay_core::{
    Error, Lsn, Result,
    error::Kind,
    name::{TableName, quote_literal},
};
use tokio::{sync::oneshot, time::Instant};

use super::{Job, Setting, Snapshots};
use crate::{
    apply::{
        CopyMessage, standing,
        tables::{Earlier, Seen},
    },
    pg::pipe::{Session, array},
    progress::TableState,
    store::{Event, Level},
};

/// Between two snapshots, when the first cannot be used.
const RETAKE_AFTER: Duration = Duration::from_millis(200);

/// After this the DBA is told whom the copy waits for.
const TELL_AFTER: Duration = Duration::from_secs(5);

/// Begins a transaction of the source in which these tables are locked and whose snapshot is accepted. None: the lock of one of
/// several could not be had at once. `earlier`: of a single table, what is on the peer already.
pub async fn take(s: &Setting, source: &mut Session, lot: &[&Job], earlier: Option<Earlier>) -> Result<Option<Seen>> {
    let tables: Vec<TableName> = lot.iter().map(|job| job.table.clone()).collect();
    let (begun, mut told) = (Instant::now(), false);
    loop {
        ask(s, &tables, earlier.clone()).await;
        if !begin(source, s, &tables).await? {
            return Ok(None);
        }
        let seen = look(source, lot).await?;
        if accepted(s, &tables, &seen).await {
            return Ok(Some(seen));
        }
        end(source).await?;
        if !told && begun.elapsed() > TELL_AFTER {
            told = true;
            tell(s, &tables[0]).await?;
        }
        tokio::time::sleep(RETAKE_AFTER).await;
    }
}

/// Ends the transaction, and with it the snapshot and the locks.
pub async fn end(source: &mut Session) -> Result<()> {
    source.run("ROLLBACK", "end the snapshot").await.map(drop)
}

/// Lets other sessions take the snapshot: its name.
pub async fn export(source: &mut Session, table: &TableName) -> Result<String> {
    let doing = format!("share the snapshot of table \"{table}\"");
    let rows = source.run("SELECT pg_catalog.pg_export_snapshot()", &doing).await?;
    let name = rows.into_iter().next().and_then(|row| row.into_iter().next().flatten());
    name.ok_or_else(|| Error::new(Kind::Internal, format!("{doing}: an answer of another form")))
}

async fn tell(s: &Setting, table: &TableName) -> Result<()> {
    let message = format!("the copy of table \"{table}\" waits for a transaction that has committed and is not visible yet");
    let event = Event::new(Level::Warning, "snapshot_wait", message)
        .object(table.to_string())
        .hint("See whether the source waits for a synchronous standby: wait_event = 'SyncRep' in pg_stat_activity.");
    s.store.event(&s.task, &event).await
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
async fn ask(s: &Setting, tables: &[TableName], earlier: Option<Earlier>) {
    if let Snapshots::Own(applier) = &s.snapshots {
        let (reply, answer) = oneshot::channel();
        if applier.send(CopyMessage::Ask { tables: tables.to_vec(), earlier, reply }).await.is_ok() {
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
