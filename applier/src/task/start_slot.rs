//! The slot, from when it is made until something on the peer depends on it.
//!
//! PostgreSQL may make a slot that cannot be read. While it looks for the point from which it can decode, a transaction that
//! begins after one that truncates or rewrites a table may be given a view of the catalogs from before that: decoding it later
//! fails with "could not map filenode", each time anew. Only transactions can be hit that ran when the slot was there. So
//! nothing is copied before those have ended and the stream has passed their ends; a slot that fails before is made again.

use std::time::Duration;

use pgrelay_core::{Error, Lsn, Result};
use tokio::sync::watch;
use tokio_postgres::Client;

use super::{context::Context, watch as source_watch};
use crate::{
    apply::fresh_snapshot,
    pg::{EMPTY_MESSAGE, server_error},
    store::{Event, Level},
    stream::slot,
};

/// Between two looks at the running transactions.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Makes the slot, or makes sure that it is the one the peer's position belongs to. Whether anything on the peer depends on it.
pub async fn take(c: &Context, source: &Client) -> Result<bool> {
    let needed = is_needed(c).await?;
    let source_endpoint = c.source_endpoint().await?;
    match slot::find(source, &c.names).await? {
        Some(slot) if slot.lost => Err(slot::lost(&c.names)),
        Some(_) => slot::free(source, &c.names).await,
        None if needed => Err(slot::lost(&c.names)),
        None => {
            let made = slot::create(&source_endpoint, &c.names, "pgrelay slot");
            tokio::select! {
                made = made => made,
                never = source_watch::tell_long_transactions(c, source) => never,
            }
        }
    }?;
    Ok(needed)
}

async fn is_needed(c: &Context) -> Result<bool> {
    let peer = c.peer_plain("position").await?;
    let row = peer.query_one(include_str!("../../../sql/query/peer/needs_slot.sql"), &[&c.names.origin]).await;
    Ok(row.map_err(|e| server_error(e, "read the task's state on the peer"))?.get(0))
}

/// Returns when the slot can be relied on. `passed`: up to where the stream has been read.
pub async fn prove(c: &Context, mut passed: watch::Receiver<Lsn>) -> Result<()> {
    let source = c.source("slot").await?;
    let began = fresh_snapshot(&source).await?;
    if !began.has_running() {
        return Ok(());
    }
    let ended = async {
        while !fresh_snapshot(&source).await?.is_past(&began) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok::<_, Error>(())
    };
    tokio::select! {
        ended = ended => ended?,
        never = source_watch::tell_long_transactions(c, &source) => never?,
    }
    // Behind the ends of those, and the stream comes to it though nobody else writes on the source: a commit of its own, flushed.
    let row = source.query_one(EMPTY_MESSAGE, &[]).await;
    let end: Lsn = row.map_err(|e| server_error(e, "write a message to the source's WAL"))?.get::<_, &str>(0).parse()?;
    // Whoever does not move it any more has ended with an error, which is told elsewhere.
    let is_past = passed.wait_for(|passed| *passed >= end).await.is_ok();
    if is_past { Ok(()) } else { std::future::pending().await }
}

/// Drops a slot that cannot be read, so that the next try makes another. What the try has ended with.
pub async fn after(c: &Context, error: Error) -> Error {
    if !error.message.contains("could not map filenode") {
        return error;
    }
    match drop_unless_needed(c).await {
        Ok(()) => error,
        Err(e) => e,
    }
}

async fn drop_unless_needed(c: &Context) -> Result<()> {
    if is_needed(c).await? {
        return Ok(());
    }
    slot::remove(&c.source("slot").await?, &c.names).await?;
    let message = "the slot could not be read, since a table was rewritten while it was made; it is made again";
    c.event(Event::new(Level::Warning, "slot_made_again", message)).await
}
