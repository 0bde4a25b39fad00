//! From a lot whose rows are in to tables that are done, while the workers go on with others.

use std::sync::Arc;

use pgrelay_core::{Result, name::TableName};
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
        Err(error) if is_of_the_table(&error) => {
            board.failed(lot.jobs, error);
            Ok(())
        }
        ended => ended,
    };
    board.done();
    ended
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
