//! What follows the rows of a table: its keys and indexes, then its statistics.

use std::sync::Arc;

use pgrelay_core::{Lsn, Result, plan::Item};
use tokio::sync::{Mutex, watch};
use tokio_postgres::Client;

use super::{Job, Setting, lots::LOT_TABLES};
use crate::{
    pg::{connect, server_error},
    schema,
    store::{Event, Level},
};

/// How a running stream and what is built beside it keep out of each other's way.
#[derive(Debug, Clone)]
pub struct Beside {
    /// Keeps the applier out of a transaction.
    pub gate: Arc<Mutex<()>>,
    /// Up to where everything that the stream brought is on the peer, or waits for the copy of its table.
    pub passed: watch::Receiver<Lsn>,
}

/// A session that builds.
pub async fn session(s: &Setting) -> Result<Client> {
    let name = format!("{} copy", s.names.origin);
    connect(&s.peer, &name, &[("application_name", &name)]).await
}

/// Builds what is missing for tables whose rows are there from an earlier try.
pub async fn unfinished(s: &Setting, jobs: &[Job]) -> Result<()> {
    if jobs.is_empty() {
        return Ok(());
    }
    let mut peer = session(s).await?;
    for lot in jobs.chunks(LOT_TABLES) {
        all(s, &mut peer, lot).await?;
    }
    Ok(())
}

/// Indexes and keys of tables, then their statistics.
pub async fn all(s: &Setting, peer: &mut Client, lot: &[Job]) -> Result<()> {
    make(s, peer, lot.iter().flat_map(|job| &job.after).collect(), None).await?;
    analyze(s, peer, lot).await
}

/// The keys that changes are found by, of tables whose rows are of several points in time: two rows may hold what another key
/// forbids until the changes in between are applied.
pub async fn keys(s: &Setting, peer: &mut Client, lot: &[Job]) -> Result<()> {
    make(s, peer, lot.iter().flat_map(|job| &job.after).filter(|item| item.kind == "primary key").collect(), None).await
}

/// The rest for such a table, when the stream has passed `at`, from where on its rows are of one point in time. Apply is held
/// meanwhile.
pub async fn rest(s: &Setting, peer: &mut Client, job: &Job, at: Lsn) -> Result<()> {
    let Some(beside) = &s.beside else { return all(s, peer, std::slice::from_ref(job)).await };
    if beside.passed.clone().wait_for(|passed| *passed >= at).await.is_err() {
        // The applier is gone only when the task is being ended.
        return std::future::pending().await;
    }
    make(s, peer, job.after.iter().collect(), Some(&beside.gate)).await?;
    analyze(s, peer, std::slice::from_ref(job)).await
}

async fn make(s: &Setting, peer: &mut Client, items: Vec<&Item>, gate: Option<&Mutex<()>>) -> Result<()> {
    if items.is_empty() {
        return Ok(());
    }
    let stage = schema::Stage { task: &s.task, key: &s.names.origin, store: &s.store, progress: &s.progress };
    stage.carry_out(peer, &items, gate).await
}

async fn analyze(s: &Setting, peer: &Client, lot: &[Job]) -> Result<()> {
    let tables: Vec<String> = lot.iter().map(|job| job.table.quoted()).collect();
    // In one transaction, and lost in a crash of the peer without harm.
    let together = format!("BEGIN; SET LOCAL synchronous_commit = off; ANALYZE {}; COMMIT", tables.join(", "));
    if lot.len() > 1 && peer.batch_execute(&together).await.is_ok() {
        return Ok(());
    }
    peer.batch_execute("ROLLBACK").await.map_err(|e| server_error(e, "analyze tables"))?;
    for (job, table) in lot.iter().zip(&tables) {
        if let Err(e) = peer.batch_execute(&format!("ANALYZE {table}")).await {
            // Statistics come by autovacuum too; a missing right is no reason to stop.
            let error = server_error(e, &format!("analyze table \"{}\"", job.table));
            s.store.event(&s.task, &Event::of_error(Level::Warning, &error)).await?;
        }
    }
    Ok(())
}
