//! From a lot whose rows are in to tables that are done, while the workers go on with others.

use std::sync::Arc;

use pgrelay_core::{Error, Result, name::TableName};
use tokio::sync::oneshot;

use super::{
    Job, Setting, Snapshots,
    board::Board,
    build::{self, Builders},
    table::Copied,
    worker::is_of_the_table,
};
use crate::{
    apply::CopyMessage,
    crash::{self, Point},
    store::{Event, Level},
};

/// Tables whose rows are in.
pub struct Lot {
    /// The tables.
    pub jobs: Vec<Job>,
    /// How they were copied.
    pub copied: Copied,
}

/// Builds what follows the rows, and tells the applier. An error that is of one table only goes to the board.
pub async fn run(s: Setting, builders: Builders, board: Arc<Board>, lot: Lot) -> Result<()> {
    let ended = match build_and_tell(&s, &builders, &lot).await {
        Ok(()) => tell_mended(&s, &board, &lot.jobs).await,
        Err(error) if is_of_the_table(&error) => tell_failed(&s, &board, lot.jobs, error).await,
        Err(error) => Err(error),
    };
    board.done();
    ended
}

/// A lot could not be copied: tried again later.
pub async fn tell_failed(s: &Setting, board: &Board, lot: Vec<Job>, error: Error) -> Result<()> {
    let event = Event::of_error(Level::Error, &error).named("table_failed");
    let table = lot.first().filter(|_| lot.len() == 1).map(|job| job.table.clone());
    if board.failed(lot, error)
        && let Some(table) = table
    {
        s.progress.set_failing(&table, Some(event.clone()));
        s.store.event(&s.task, &event).await?;
    }
    Ok(())
}

async fn tell_mended(s: &Setting, board: &Board, lot: &[Job]) -> Result<()> {
    for table in board.copied(lot) {
        s.progress.set_failing(&table, None);
        let message = format!("table \"{table}\", which could not be copied before, is on the peer");
        s.store.event(&s.task, &Event::new(Level::Info, "table_mended", message).object(table.to_string())).await?;
    }
    Ok(())
}

async fn build_and_tell(s: &Setting, builders: &Builders, lot: &Lot) -> Result<()> {
    match (lot.copied, lot.jobs.as_slice()) {
        (Copied::Mixed(at), [job]) => {
            build::keys(s, builders, &lot.jobs).await?;
            crash::at(Point::IndexesBuilt);
            tell_done(s, &lot.jobs).await;
            build::rest(s, builders, job, at).await
        }
        _ => {
            build::all(s, builders, &lot.jobs).await?;
            crash::at(Point::IndexesBuilt);
            tell_done(s, &lot.jobs).await;
            Ok(())
        }
    }
}

async fn tell_done(s: &Setting, lot: &[Job]) {
    if let Snapshots::Own(applier) = &s.snapshots {
        let tables: Vec<TableName> = lot.iter().map(|job| job.table.clone()).collect();
        let (reply, answer) = oneshot::channel();
        // The applier is gone only when the task is being ended.
        if applier.send(CopyMessage::Done { tables, reply }).await.is_ok() {
            let _ = answer.await;
        }
    }
}
