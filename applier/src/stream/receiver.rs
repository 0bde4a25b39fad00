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

use crate::{
    crash::{self, Point},
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

/// Starts streaming from the slot's confirmed position.
pub async fn start(source: &Endpoint, names: &Names, application_name: &str) -> Result<Stream> {
    let connection = Connection::connect(source, application_name, &[]).await?;
    let publications = format!("\"{}\",\"{}\"", names.publication, names.publication_insert_only);
    connection.start_replication(&names.slot, Lsn(0), &[("proto_version", "1"), ("publication_names", &publications)]).await
}

/// The queue between receiver and applier.
pub fn queue() -> (mpsc::Sender<Queued>, mpsc::Receiver<Queued>) {
    mpsc::channel(QUEUE_FRAMES)
}

/// Reads until the connection ends, which is an error, or the applier goes away, which is not.
pub async fn receive(
    mut stream: Stream,
    queue: mpsc::Sender<Queued>,
    confirmed: watch::Receiver<Lsn>,
    progress: Arc<Progress>,
) -> Result<()> {
    let room = Arc::new(Semaphore::new(QUEUE_BYTES));
    let mut period = tokio::time::interval(STATUS_PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut status = Status { confirmed, received: Lsn(0), told: (Lsn(0), Lsn(0)), at: Instant::now() };
    loop {
        let frame = tokio::select! {
            frame = stream.next() => frame?,
            _ = queue.closed() => return Ok(()),
            _ = period.tick() => {
                status.tell_news(&mut stream).await?;
                continue;
            }
        };
        match &frame {
            Frame::Data { wal_start, payload, .. } => {
                status.received = status.received.max(*wal_start);
                if pgoutput::is_row(payload) {
                    progress.received_row();
                    crash::at(Point::Received);
                }
            }
            Frame::Keepalive { wal_end, reply_requested } => {
                status.received = status.received.max(*wal_end);
                if *reply_requested {
                    status.tell(&mut stream).await?;
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
                _ = period.tick() => status.tell_news(&mut stream).await?,
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
        let is_later = self.told.1 < flushed;
        self.told = (self.received, flushed);
        self.at = Instant::now();
        stream.send_status(self.received.max(flushed), flushed, flushed, false).await?;
        if is_later {
            crash::at(Point::Confirmed);
        }
        Ok(())
    }
}
