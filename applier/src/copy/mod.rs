//! Copies the rows: several tables at a time, each under its own snapshot of the source.
//!
//! The done mark of a table is a row on the peer, committed in the transaction that holds the rows: after a crash a table
//! is either there or not begun. Workers take the largest tables first.

mod shape;
mod table;

use std::{collections::VecDeque, sync::Arc};

use pgrelay_core::{Error, Result, error::Kind, name::TableName, plan::Item, task::Names};
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinSet,
};
use tokio_postgres::Client;

use crate::{
    apply::{CopyMessage, session::take_origin},
    pg::{Endpoint, connect, server_error},
    progress::Progress,
    schema,
    store::{Event, Level, Store},
};

/// One table to copy.
#[derive(Debug, Clone)]
pub struct Job {
    /// The table.
    pub table: TableName,
    /// Its oid on the source.
    pub oid: u32,
    /// What to build when its rows are in.
    pub after: Vec<Item>,
}

/// Under which snapshot tables are copied.
#[derive(Debug, Clone)]
pub enum Snapshots {
    /// Each table under its own; the applier decides whether it may be used.
    Own(mpsc::Sender<CopyMessage>),
    /// All under one that another session has exported: for a task without a stream.
    Shared(String),
}

/// What every worker needs.
#[derive(Clone)]
pub struct Setting {
    /// The task's name, for events.
    pub task: String,
    /// The source.
    pub source: Endpoint,
    /// The peer.
    pub peer: Endpoint,
    /// Names of origins.
    pub names: Names,
    /// The task made the tables.
    pub exact: bool,
    /// For display.
    pub progress: Arc<Progress>,
    /// For events.
    pub store: Store,
    /// Under which snapshot.
    pub snapshots: Snapshots,
}

/// Copies all tables with `workers` sessions on each side. Ends with the first error.
pub async fn run(setting: &Setting, mut jobs: Vec<Job>, workers: u32) -> Result<()> {
    let size = |job: &Job| setting.progress.tables().iter().find(|(t, _)| *t == job.table).map_or(0, |(_, p)| p.bytes_estimated);
    jobs.sort_by_cached_key(|job| std::cmp::Reverse(size(job)));
    let workers = workers.min(jobs.len() as u32);
    let queue = Arc::new(Mutex::new(VecDeque::from(jobs)));
    let mut set = JoinSet::new();
    for number in 0..workers {
        let worker = Worker { setting: setting.clone(), number };
        set.spawn(worker.run(queue.clone()));
    }
    while let Some(ended) = set.join_next().await {
        ended.map_err(|e| Error::new(Kind::Internal, "a copy worker ended by itself").caused_by(e))??;
    }
    Ok(())
}

struct Worker {
    setting: Setting,
    number: u32,
}

impl Worker {
    async fn run(self, queue: Arc<Mutex<VecDeque<Job>>>) -> Result<()> {
        let s = &self.setting;
        let name = format!("{} copy", s.names.origin);
        let mut source = connect(&s.source, &name, &[("application_name", &name)]).await?;
        let settings = [("application_name", name.as_str()), ("session_replication_role", "replica"), ("synchronous_commit", "on")];
        let peer = connect(&s.peer, &name, &settings).await?;
        take_origin(&peer, &s.names.copy_origin(self.number)).await?;
        let mut builder = connect(&s.peer, &name, &settings[..1]).await?;
        loop {
            let Some(job) = queue.lock().await.pop_front() else { return Ok(()) };
            table::copy(s, &mut source, &peer, &job).await?;
            build(s, &mut builder, &job).await?;
            if let Snapshots::Own(applier) = &s.snapshots {
                // The applier is gone only when the task is being ended.
                let _ = applier.send(CopyMessage::Done { table: job.table.clone() }).await;
            }
        }
    }
}

/// Builds what is missing for tables whose rows are there from an earlier try.
pub async fn build_unfinished(setting: &Setting, jobs: &[Job]) -> Result<()> {
    if jobs.is_empty() {
        return Ok(());
    }
    let name = format!("{} copy", setting.names.origin);
    let mut peer = connect(&setting.peer, &name, &[("application_name", &name)]).await?;
    for job in jobs {
        build(setting, &mut peer, job).await?;
    }
    Ok(())
}

/// Indexes and keys of a table, then its statistics.
async fn build(setting: &Setting, peer: &mut Client, job: &Job) -> Result<()> {
    let items: Vec<&Item> = job.after.iter().collect();
    let stage = schema::Stage { task: &setting.task, key: &setting.names.origin, store: &setting.store, progress: &setting.progress };
    stage.carry_out(peer, &items).await?;
    let analyze = format!("ANALYZE {}", job.table.quoted());
    if let Err(e) = peer.batch_execute(&analyze).await {
        // Statistics come by autovacuum too; a missing right is no reason to stop.
        let error = server_error(e, &format!("analyze table \"{}\"", job.table));
        setting.store.event(&setting.task, &Event::of_error(Level::Warning, &error)).await?;
    }
    Ok(())
}
