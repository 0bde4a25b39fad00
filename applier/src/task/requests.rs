//! Answers the functions of the extension that wait for the applier.

use std::{collections::HashSet, time::Duration};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use pgrelay_core::{Error, Result, error::Kind};

use super::{context::Context, interleave, pipeline, reverse, sequences::Positions, undo, verify};
use crate::store::{Request, RequestKind};

/// How often it is looked without a notification.
const PERIOD: Duration = Duration::from_secs(1);

/// Answers while the task works. Ends only with an error of the contract tables.
pub async fn answer_running(c: &Context) -> Result<()> {
    answer(c, true).await
}

/// Answers while the task rests.
pub async fn answer_idle(c: &Context) -> Result<()> {
    answer(c, false).await
}

async fn answer(c: &Context, working: bool) -> Result<()> {
    let mut bell = c.bell.clone();
    let mut taken = HashSet::new();
    let mut answers: FuturesUnordered<BoxFuture<'_, Result<()>>> = FuturesUnordered::new();
    loop {
        for request in c.store.open_requests(&c.row).await? {
            if taken.insert(request.id) {
                answers.push(Box::pin(one(c, request, working)));
            }
        }
        tokio::select! {
            Some(answered) = answers.next() => answered?,
            _ = tokio::time::sleep(PERIOD) => {}
            changed = bell.changed() => if changed.is_err() { return std::future::pending().await },
        }
    }
}

async fn one(c: &Context, request: Request, working: bool) -> Result<()> {
    let outcome = match request.kind {
        RequestKind::Verify => match verify::differences(c).await {
            Ok(differences) => return c.store.answer_differences(request.id, &differences).await,
            Err(error) => Err(error),
        },
        RequestKind::Precheck => precheck(c).await,
        RequestKind::UndoConflict => undo::undo(c, request.about).await,
        RequestKind::Interleave => interleave::begin(c).await,
        RequestKind::CatchupReverse if working => reverse::catch_up(c).await,
        RequestKind::Catchup if working => Box::pin(catch_up(c, &request)).await,
        RequestKind::Catchup | RequestKind::CatchupReverse => {
            Err(Error::new(Kind::WrongState, format!("task \"{}\" is not at work", c.row.name))
                .hint("Call pgrelay.start_task() or pgrelay.resume_task() first."))
        }
    };
    c.store.answer(request.id, outcome.err().as_ref()).await
}

async fn precheck(c: &Context) -> Result<()> {
    let (findings, ..) = pipeline::findings(c).await?;
    c.store.findings(c.row.id, &findings).await
}

/// Waits for the position, then sets the sequences: they are read after everything that was asked for is there.
async fn catch_up(c: &Context, request: &Request) -> Result<()> {
    c.progress().flushed(request.lsn).await;
    let (source, peer) = tokio::try_join!(c.source("sequences"), c.peer("sequences"))?;
    Positions::default().follow(&source, &peer, c).await
}
