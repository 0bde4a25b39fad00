//! Copies the rows: several tables at a time, each under its own snapshot of the source; small ones in lots that share one, large
//! ones in chunks by several workers.
//!
//! The done mark of a table or of a chunk is a row on the peer, committed in the transaction that holds the rows: after a
//! crash each is either there or not begun. Workers take the largest tables first.

mod again;
mod board;
mod build;
mod cut;
mod fence;
mod finish;
mod flow;
mod fresh;
mod keep;
mod lots;
mod session;
mod settings;
mod shape;
mod snapshot;
mod split;
mod table;
mod worker;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use pgrelay_core::{
    Error, Lsn, Result,
    error::Kind,
    name::TableName,
    plan::Item,
    task::{Names, Options},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use self::{board::Board, build::Builders, worker::Worker};
pub use self::{
    build::{Beside, unfinished as build_unfinished},
    fence::raise as begin,
};
use crate::{
    apply::CopyMessage,
    crash::{self, Point},
    pg::Endpoint,
    progress::Progress,
    store::Store,
    throttle::Throttle,
    window::window,
};

/// One table to copy.
#[derive(Debug, Clone)]
pub struct Job {
    /// The table.
    pub table: TableName,
    /// Its oid on the source.
    pub oid: u32,
    /// The stream brings all of its changes, each with its key: it may be copied under several snapshots.
    pub by_key: bool,
    /// What to build when its rows are in.
    pub after: Vec<Item>,
    /// It is an extension's: only rows with this condition (`WHERE …`, or empty) are copied, and take the place of the peer's.
    pub settings: Option<String>,
    /// The peer had the table before the task and keeps the rows that are there.
    pub kept: bool,
    /// Everything is built, and its statistics are there.
    pub is_analyzed: bool,
}

impl Job {
    /// The peer has rows in it, so it is copied by itself and in one piece, and may have columns of its own.
    fn is_apart(&self) -> bool {
        self.kept || self.settings.is_some()
    }
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
    /// The stream that runs meanwhile.
    pub beside: Option<Beside>,
    /// Which copy of the task this is (`fence`).
    pub run: i64,
    /// The task's options, as they are at each moment.
    pub options: watch::Receiver<Options>,
    /// How fast rows may go to the peer.
    pub throttle: Arc<Throttle>,
}

impl Setting {
    /// Bytes of a chunk.
    fn chunk_bytes(&self) -> i64 {
        i64::from(self.options.borrow().copy_chunk_mb) << 20
    }

    /// How many copy at the same time.
    fn workers(&self) -> u32 {
        self.options.borrow().copy_jobs
    }

    /// For how long tables that cannot be copied are tried again.
    fn retry(&self) -> Duration {
        window(self.options.borrow().retry_other_minutes)
    }
}

/// Copies all tables. One that cannot be copied is told by an event, does not keep the others waiting, and is tried again meanwhile.
///
/// Errors: at once what is no fault of a table. When the others are done, that of a table which could not be copied, tried again for
/// as long as the setting says.
pub async fn run(setting: &Setting, jobs: Vec<Job>) -> Result<()> {
    let sizes: HashMap<TableName, i64> = setting.progress.tables().into_iter().map(|(t, p)| (t, p.bytes_estimated)).collect();
    // An extension's table is compared by rules of its own, and so is one that the peer keeps; so it is not with others.
    let least = |job: &Job| if job.is_apart() { lots::SMALL + 1 } else { 0 };
    let size = |job: &Job| sizes.get(&job.table).copied().unwrap_or_default().max(least(job));
    let lots = lots::lots(jobs.into_iter().map(|job| (size(&job), job)).collect(), setting.workers() as usize);
    work(setting, lots).await?;
    let peer = session::marks(setting, &format!("{} copy", setting.names.origin)).await?;
    fence::flush(&peer, &setting.names.origin).await?;
    crash::at(Point::CopyFlushed);
    Ok(())
}

/// Copies each lot, by as many workers as the setting says at each moment.
async fn work(setting: &Setting, lots: Vec<Vec<Job>>) -> Result<()> {
    let board = Arc::new(Board::new(lots));
    let (mut set, mut numbers, mut options) = (JoinSet::new(), HashSet::new(), setting.options.clone());
    let mut jobs = options.borrow_and_update().copy_jobs;
    let builders = Builders::new(jobs);
    let (rows_are_in, mut finishing) = mpsc::unbounded_channel();
    loop {
        for number in (0..jobs).filter(|number| numbers.insert(*number)) {
            board.join();
            let worker = Worker { setting: setting.clone(), number, board: board.clone(), rows_are_in: rows_are_in.clone() };
            set.spawn(async move { worker.run().await.map(|()| Some(number)) });
        }
        // Those who are too many leave by themselves, and are not missed until more are asked for.
        jobs = tokio::select! {
            // First, so that no lot is left behind when the last worker ends.
            biased;
            Some(lot) = finishing.recv() => {
                let finished = finish::run(setting.clone(), builders.clone(), board.clone(), lot);
                set.spawn(async move { finished.await.map(|()| None) });
                0
            }
            ended = set.join_next() => match ended {
                Some(ended) => {
                    let ended = ended.map_err(|e| Error::new(Kind::Internal, "a part of the copy ended by itself").caused_by(e))??;
                    ended.iter().for_each(|number| {
                        numbers.remove(number);
                    });
                    0
                }
                None => return board.first_error().map_or(Ok(()), Err),
            },
            Ok(()) = options.changed() => {
                let jobs = options.borrow_and_update().copy_jobs;
                builders.resize(jobs);
                jobs
            }
        };
    }
}

/// Builds what is left for tables that an earlier try has copied under several snapshots, each with the position from which on
/// its rows are of one point in time.
pub async fn build_late(setting: &Setting, jobs: Vec<(Job, Lsn)>) -> Result<()> {
    let builders = Builders::new(setting.workers());
    for (job, at) in &jobs {
        build::rest(setting, &builders, job, *at).await?;
    }
    Ok(())
}

/// Builds for such tables what changes are found by.
pub async fn build_keys(setting: &Setting, jobs: &[(Job, Lsn)]) -> Result<()> {
    let builders = Builders::new(setting.workers());
    for (job, _) in jobs {
        build::keys(setting, &builders, std::slice::from_ref(job)).await?;
    }
    Ok(())
}
