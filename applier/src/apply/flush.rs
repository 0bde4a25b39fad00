//! Which commits are on the peer's disk, so that the source may forget them.
//!
//! Once every table stands at one position the apply session does not wait for the disk. Another session does, now and then: one
//! commit of its own, whose flush takes every commit before it along, and waits for the peer's synchronous standbys if it has any.
//! The slot is confirmed after that, and only up to what had been committed before. What a crash of the peer takes is taken with the
//! position that stood in the same transaction, and the source still has it.

use std::{convert::Infallible, sync::Arc, time::Duration};

use pgrelay_core::{Error, Lsn, Result, error::Kind};
use tokio::{sync::watch, time::Instant};
use tokio_postgres::Client;

use crate::{
    crash::{self, Point},
    pg::{EMPTY_MESSAGE, Endpoint, connect, server_error},
    progress::Progress,
};

/// From one flush to the next at least: the disk of the peer has others to serve.
const PERIOD: Duration = Duration::from_millis(100);

/// What the applier has dealt with.
#[derive(Debug, Clone, Copy, Default)]
struct Dealt {
    /// Everything the stream brought before is committed on the peer, or need not be there.
    position: Lsn,
    /// The position in the last of the commits.
    on_peer: Lsn,
    /// Commits that may not be on the disk.
    commits: u64,
}

/// Confirms what is on the peer's disk.
#[derive(Clone)]
pub struct Flush {
    client: Arc<Client>,
    dealt: watch::Sender<Dealt>,
    confirm: watch::Sender<Lsn>,
    progress: Arc<Progress>,
}

impl Flush {
    /// Connects.
    ///
    /// `on_peer` is the position that the peer has now.
    pub async fn open(peer: &Endpoint, origin: &str, on_peer: Lsn, confirm: watch::Sender<Lsn>, progress: Arc<Progress>) -> Result<Flush> {
        let name = format!("{origin} flush");
        let client = connect(peer, &name, &[("application_name", &name), ("synchronous_commit", "on")]).await?;
        Ok(Flush { client: Arc::new(client), dealt: watch::Sender::new(Dealt { on_peer, ..Dealt::default() }), confirm, progress })
    }

    /// The peer has committed a position.
    pub fn committed(&self, position: Lsn) {
        self.dealt.send_modify(|d| (d.commits, d.on_peer) = (d.commits + 1, position));
    }

    /// Everything that the stream brought before is dealt with, and nothing is under way.
    pub fn dealt_with(&self, position: Lsn) {
        self.dealt.send_if_modified(|d| {
            let moved = d.position < position;
            d.position = d.position.max(position);
            moved
        });
    }

    /// Flushes and confirms for ever. Returns only an error.
    pub async fn run(&self) -> Result<Infallible> {
        let mut dealt = self.dealt.subscribe();
        // What an earlier session has committed may not be on the disk either.
        let (mut flushed, mut at, mut told) = (None, None::<Instant>, Lsn(0));
        loop {
            if dealt.wait_for(|d| d.position > told || flushed.is_some_and(|f| f != d.commits)).await.is_err() {
                return Err(Error::new(Kind::Internal, "nobody applies any more"));
            }
            let mut now = *dealt.borrow_and_update();
            if flushed != Some(now.commits) {
                if let Some(at) = at {
                    tokio::time::sleep_until(at + PERIOD).await;
                    now = *dealt.borrow_and_update();
                }
                let flushing = crash::sent(Point::FlushSent, self.client.batch_execute(EMPTY_MESSAGE)).await;
                flushing.map_err(|e| server_error(e, "flush what is committed on the peer"))?;
                crash::at(Point::Flushed);
                (flushed, at) = (Some(now.commits), Some(Instant::now()));
            }
            self.confirm(now);
            told = now.position;
        }
    }

    fn confirm(&self, dealt: Dealt) {
        // Never past what stands there: see `same_slot`.
        let confirmed = dealt.position.min(dealt.on_peer);
        let moved = self.confirm.send_if_modified(|c| {
            let moved = *c < confirmed;
            *c = confirmed.max(*c);
            moved
        });
        if moved {
            crash::at(Point::MayConfirm);
        }
        self.progress.stream(|s| {
            s.on_peer = s.on_peer.max(dealt.on_peer);
            s.confirmed = s.confirmed.max(confirmed);
            s.flushed = s.flushed.max(dealt.position);
        });
    }
}
