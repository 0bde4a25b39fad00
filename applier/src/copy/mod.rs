//! Copies the rows: several tables at a time, each under its own snapshot of the source; small ones in lots that share one, large
//! ones in chunks by several workers.
//!
//! The done mark of a table or of a chunk is a row on the peer, committed in the transaction that holds the rows: after a
//! crash each is either there or not begun. Workers take the largest tables first.

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
    time::Instant,
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
    store::{Event, Level, Store},
    throttle::Throttle,
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
        Duration::from_secs(60 * u64::from(self.options.borrow().retry_other_minutes))
    }
}

/// First wait before tables that could not be copied are tried again; doubled each time up to `LONGEST_WAIT`.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Longest wait before tables are tried again.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Copies all tables. One that cannot be copied is told by an event, and does not keep the others waiting.
///
/// Errors: at once what is no fault of a table. When the others are done, that of a table which could not be copied; where all
/// share a snapshot, which would be lost with the try, only after it was tried again for as long as the setting says.
pub async fn run(setting: &Setting, jobs: Vec<Job>) -> Result<()> {
    let sizes: HashMap<TableName, i64> = setting.progress.tables().into_iter().map(|(t, p)| (t, p.bytes_estimated)).collect();
    // An extension's table is compared by rules of its own, and so is one that the peer keeps; so it is not with others.
    let least = |job: &Job| if job.is_apart() { lots::SMALL + 1 } else { 0 };
    let size = |job: &Job| sizes.get(&job.table).copied().unwrap_or_default().max(least(job));
    let lots = lots::lots(jobs.into_iter().map(|job| (size(&job), job)).collect(), setting.workers() as usize);
    let mut failed = round(setting, lots).await?;
    let (mut since, mut wait) = (Instant::now(), FIRST_WAIT);
    let mut told = HashMap::new();
    while !failed.is_empty() {
        for (job, error) in &failed {
            if told.insert(job.table.clone(), error.message.clone()).as_ref() != Some(&error.message) {
                setting.store.event(&setting.task, &Event::of_error(Level::Error, error).named("table_failed")).await?;
            }
        }
        let given_up = since.elapsed() > setting.retry();
        if given_up || matches!(setting.snapshots, Snapshots::Own(_)) {
            return Err(first_of(failed, given_up));
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
        let before = failed.len();
        failed = round(setting, failed.into_iter().map(|(job, _)| vec![job]).collect()).await?;
        if failed.len() < before {
            (since, wait) = (Instant::now(), FIRST_WAIT);
        }
    }
    let peer = session::marks(setting, &format!("{} copy", setting.names.origin)).await?;
    fence::flush(&peer, &setting.names.origin).await?;
    crash::at(Point::CopyFlushed);
    Ok(())
}

/// The error to end with when tables could not be copied.
fn first_of(mut failed: Vec<(Job, Error)>, given_up: bool) -> Error {
    let others = failed.len() - 1;
    let (_, mut error) = failed.swap_remove(0);
    if others > 0 {
        error.message = format!("{} (and {others} other table(s) could not be copied)", error.message);
    }
    if given_up {
        error.kind = Kind::GivenUp;
    }
    error
}

/// Tries each lot once: the tables that could not be copied.
async fn round(setting: &Setting, lots: Vec<Vec<Job>>) -> Result<Vec<(Job, Error)>> {
    let board = Arc::new(Board::new(lots));
    let (mut set, mut numbers, mut options) = (JoinSet::new(), HashSet::new(), setting.options.clone());
    let mut jobs = options.borrow_and_update().copy_jobs;
    let builders = Builders::new(jobs);
    let (rows_are_in, mut finishing) = mpsc::unbounded_channel();
    loop {
        for number in (0..jobs).filter(|number| numbers.insert(*number)) {
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
                None => return Ok(board.take_failed()),
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
