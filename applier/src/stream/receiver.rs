//! Reads the replication connection and keeps it alive, whatever the apply is doing.
//!
//! Frames go to the applier through a bounded queue. When the queue is full nothing more is read, so the source slows
//! down and memory stays bounded, but the status still goes out: the source never gives the connection up as dead.
//! The status confirms only what the applier says the peer has flushed.

use std::{sync::Arc, time::Duration};

use pgrelay_core::{Lsn, Result, task::Names};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::{Instant, MissedTickBehavior},
};

use super::slot;
use crate::{
    pg::{
        Endpoint, pgoutput,
        replication::{Connection, Frame, Stream},
    },
    progress::Progress,
};

/// Frames in the queue at most.
const QUEUE_FRAMES: usize = 16 * 1024;

/// Bytes in the queue at most; a larger frame passes alone.
const QUEUE_BYTES: usize = 32 << 20;

/// How often it is looked whether there is something to tell the source.
const STATUS_PERIOD: Duration = Duration::from_millis(100);

/// The source hears from us at least this often, well below the smallest sensible `wal_sender_timeout`.
const SILENCE_AT_MOST: Duration = Duration::from_secs(1);

/// A frame, and its share of the queue while it waits.
pub struct Queued {
    /// What the source sent.
    pub frame: Frame,
    _room: Option<OwnedSemaphorePermit>,
}

/// What of the source's transactions is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Each one whole, after its commit.
    Committed,
    /// Large ones also while they are in progress, where the source can (PostgreSQL 14).
    InProgress,
}

/// Starts streaming from the slot's confirmed position.
pub async fn start(source: &Endpoint, names: &Names, application_name: &str, mode: Mode) -> Result<Stream> {
    let began = Instant::now();
    loop {
        let mut connection = Connection::connect(source, application_name, &[]).await?;
        let publications = format!("\"{}\",\"{}\"", names.publication, names.publication_insert_only);
        let mut options = vec![("proto_version", "1"), ("publication_names", publications.as_str())];
        if mode == Mode::InProgress && connection.server_version_num() >= 140_000 {
            options[0].1 = "2";
            options.push(("streaming", "on"));
        }
        // A session of before that has not seen yet that its client is gone.
        slot::free_by(&mut connection, names).await?;
        match connection.start_replication(&names.slot, Lsn(0), &options).await {
            Err(error) if error.sqlstate() == IN_USE && began.elapsed() < IN_USE_AT_MOST => tokio::time::sleep(STATUS_PERIOD).await,
            started => return started,
        }
    }
}

/// `object_in_use`: another session reads the slot.
const IN_USE: &str = "55006";

/// For how long the end of an earlier session is waited for.
const IN_USE_AT_MOST: Duration = Duration::from_secs(10);

/// The queue between receiver and applier.
pub fn queue() -> (mpsc::Sender<Queued>, mpsc::Receiver<Queued>) {
    mpsc::channel(QUEUE_FRAMES)
}

/// Reads until the connection ends, which is an error, or the applier goes away, which is not: then the stream is ended in order.
pub async fn receive(
    mut stream: Stream,
    queue: mpsc::Sender<Queued>,
    confirmed: watch::Receiver<Lsn>,
    progress: Arc<Progress>,
) -> Result<()> {
    forward(&mut stream, queue, confirmed, progress).await?;
    // One that the source is too busy to end is ended by whoever reads the slot next.
    let _ = stream.close().await;
    Ok(())
}

async fn forward(stream: &mut Stream, queue: mpsc::Sender<Queued>, confirmed: watch::Receiver<Lsn>, progress: Arc<Progress>) -> Result<()> {
    let room = Arc::new(Semaphore::new(QUEUE_BYTES));
    let mut period = tokio::time::interval(STATUS_PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut status = Status { confirmed, received: Lsn(0), told: (Lsn(0), Lsn(0)), at: Instant::now() };
    loop {
        let frame = tokio::select! {
            frame = stream.next() => frame?,
            _ = queue.closed() => return Ok(()),
            _ = period.tick() => {
                status.tell_news(stream).await?;
                continue;
            }
        };
        match &frame {
            Frame::Data { wal_start, payload, .. } => {
                status.received = status.received.max(*wal_start);
                if pgoutput::is_row(payload) {
                    progress.received_row();
                }
            }
            Frame::Keepalive { wal_end, reply_requested } => {
                status.received = status.received.max(*wal_end);
                if *reply_requested {
                    status.tell(stream).await?;
                }
            }
        }
        let mut delivery = std::pin::pin!(deliver(frame, &queue, &room));
        loop {
            tokio::select! {
                delivered = &mut delivery => {
                    if !delivered {
                        return Ok(());
                    }
                    break;
                }
                _ = period.tick() => status.tell_news(stream).await?,
            }
        }
    }
}

async fn deliver(frame: Frame, queue: &mpsc::Sender<Queued>, room: &Arc<Semaphore>) -> bool {
    let room = match &frame {
        Frame::Data { payload, .. } => room.clone().acquire_many_owned(payload.len().min(QUEUE_BYTES) as u32).await.ok(),
        Frame::Keepalive { .. } => None,
    };
    queue.send(Queued { frame, _room: room }).await.is_ok()
}

/// What the source has been told.
struct Status {
    confirmed: watch::Receiver<Lsn>,
    received: Lsn,
    told: (Lsn, Lsn),
    at: Instant,
}

impl Status {
    async fn tell_news(&mut self, stream: &mut Stream) -> Result<()> {
        let news = self.told != (self.received, *self.confirmed.borrow());
        if news || self.at.elapsed() >= SILENCE_AT_MOST { self.tell(stream).await } else { Ok(()) }
    }

    async fn tell(&mut self, stream: &mut Stream) -> Result<()> {
        let flushed = *self.confirmed.borrow();
        self.told = (self.received, flushed);
        self.at = Instant::now();
        stream.send_status(self.received.max(flushed), flushed, flushed, false).await
    }
}
