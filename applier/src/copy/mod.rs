//! Copies the rows: several tables at a time, each under its own snapshot of the source; small ones in lots that share one.
//!
//! The done mark of a table is a row on the peer, committed in the transaction that holds the rows: after a crash a table
//! is either there or not begun. Workers take the largest tables first.

mod session;
mod settings;
mod shape;
mod table;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use pgrelay_core::{Error, Result, error::Kind, name::TableName, plan::Item, task::Names};
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinSet,
};
use tokio_postgres::Client;

use crate::{
    apply::CopyMessage,
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
    /// It is an extension's: only rows with this condition (`WHERE …`, or empty) are copied, and take the place of the peer's.
    pub settings: Option<String>,
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

/// A table below this size, in bytes on the source, shares a lot with others: what it costs beside its rows would be most of it.
const SMALL: i64 = 1 << 20;

/// Tables of a lot at most: each is locked on both sides while the lot is copied.
const LOT_TABLES: usize = 50;

/// Bytes of a lot at most, so that its snapshot lives no longer than that of a table of moderate size.
const LOT_BYTES: i64 = 4 << 20;

/// Copies all tables with `workers` sessions on each side. Ends with the first error.
pub async fn run(setting: &Setting, jobs: Vec<Job>, workers: u32) -> Result<()> {
    let sizes: HashMap<TableName, i64> = setting.progress.tables().into_iter().map(|(t, p)| (t, p.bytes_estimated)).collect();
    // An extension's table is compared by rules of its own, so it is not with others.
    let size = |job: &Job| sizes.get(&job.table).copied().unwrap_or_default().max(job.settings.as_ref().map_or(0, |_| SMALL + 1));
    let lots = lots(jobs.into_iter().map(|job| (size(&job), job)).collect(), workers as usize);
    let workers = workers.min(lots.len() as u32);
    let queue = Arc::new(Mutex::new(VecDeque::from(lots)));
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

/// Largest first. Lots of small tables, not so many in each that a worker would have none.
fn lots(mut jobs: Vec<(i64, Job)>, workers: usize) -> Vec<Vec<Job>> {
    jobs.sort_by(|(a, one), (b, other)| b.cmp(a).then_with(|| one.table.cmp(&other.table)));
    let tables = (jobs.len() / workers.max(1)).clamp(1, LOT_TABLES);
    let mut lots: Vec<Vec<Job>> = vec![];
    let mut bytes = i64::MAX;
    for (size, job) in jobs {
        bytes = bytes.saturating_add(size);
        match lots.last_mut().filter(|lot| size <= SMALL && bytes <= LOT_BYTES && lot.len() < tables) {
            Some(lot) => lot.push(job),
            None => {
                bytes = if size <= SMALL { size } else { i64::MAX };
                lots.push(vec![job]);
            }
        }
    }
    lots
}

struct Worker {
    setting: Setting,
    number: u32,
}

impl Worker {
    async fn run(self, queue: Arc<Mutex<VecDeque<Vec<Job>>>>) -> Result<()> {
        let s = &self.setting;
        let name = format!("{} copy", s.names.origin);
        let mut source = session::source(s, &name).await?;
        let mut peer = session::peer(s, &name, self.number).await?;
        let mut builder = connect(&s.peer, &name, &[("application_name", &name)]).await?;
        let same_major = source.server_version_num() / 10000 == peer.server_version_num() / 10000;
        let rules = shape::Rules { exact: s.exact, same_major };
        loop {
            let Some(lot) = queue.lock().await.pop_front() else { return Ok(()) };
            let tables: Vec<TableName> = lot.iter().map(|job| job.table.clone()).collect();
            table::copy(s, &mut source, &mut peer, &lot, rules).await?;
            build(s, &mut builder, &lot).await?;
            if let Snapshots::Own(applier) = &s.snapshots {
                // The applier is gone only when the task is being ended.
                let _ = applier.send(CopyMessage::Done { tables }).await;
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
    for lot in jobs.chunks(LOT_TABLES) {
        build(setting, &mut peer, lot).await?;
    }
    Ok(())
}

/// Indexes and keys of tables, then their statistics.
async fn build(setting: &Setting, peer: &mut Client, lot: &[Job]) -> Result<()> {
    let items: Vec<&Item> = lot.iter().flat_map(|job| &job.after).collect();
    if !items.is_empty() {
        let stage = schema::Stage { task: &setting.task, key: &setting.names.origin, store: &setting.store, progress: &setting.progress };
        stage.carry_out(peer, &items, None).await?;
    }
    let tables: Vec<String> = lot.iter().map(|job| job.table.quoted()).collect();
    // In one transaction, and lost in a crash of the peer without harm.
    let analyze = format!("BEGIN; SET LOCAL synchronous_commit = off; ANALYZE {}; COMMIT", tables.join(", "));
    if lot.len() > 1 && peer.batch_execute(&analyze).await.is_ok() {
        return Ok(());
    }
    peer.batch_execute("ROLLBACK").await.map_err(|e| server_error(e, "analyze tables"))?;
    for (job, table) in lot.iter().zip(&tables) {
        if let Err(e) = peer.batch_execute(&format!("ANALYZE {table}")).await {
            // Statistics come by autovacuum too; a missing right is no reason to stop.
            let error = server_error(e, &format!("analyze table \"{}\"", job.table));
            setting.store.event(&setting.task, &Event::of_error(Level::Warning, &error)).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_tables_go_first_and_alone_and_small_ones_share_a_lot() {
        let job = |n: usize| Job { table: TableName::new("s", format!("t{n}")), oid: n as u32, after: vec![], settings: None };
        let sizes = [8192, 50 << 20, 900 << 10, 2 << 20, 800 << 10, 8192, 900 << 10, 900 << 10, 900 << 10];
        let lots_of = |workers| lots(sizes.iter().enumerate().map(|(n, size)| (*size, job(n))).collect(), workers);
        let names = |lots: Vec<Vec<Job>>| {
            lots.iter().map(|l| l.iter().map(|j| j.table.name.clone()).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
        };
        assert_eq!(names(lots_of(1)), ["t1", "t3", "t2 t6 t7 t8", "t4 t0 t5"]);
        assert_eq!(names(lots_of(9)).len(), 9, "no worker is left without work");
    }
}
