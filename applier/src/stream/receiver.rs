//! Reads the replication connection and keeps it alive, whatever the apply is doing.
//!
//! Frames go to the applier through a bounded queue, as many at once as have arrived, small transactions whole. When the queue is full
//! nothing more is read, so the source slows down and memory stays bounded, but the status still goes out: the source never gives the connection up as dead.
//! The status confirms only what the applier says the peer has flushed.
//!
//! It has a thread of its own, so that it can rest between two reads of a backlog, or of what comes back from the opposite direction: the
//! source sends each message by itself, and a thread that waits for them is woken for each, which costs the sender more than to decode
//! it. One that sleeps is not.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use pgrelay_core::{Error, Lsn, Result, error::Kind, task::Names};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior},
};

use super::{history::History, slot};
use crate::{
    crash::{self, Point},
    pg::{
        Endpoint,
        pgoutput::{self, Message},
        plugin::Plugin,
        replication::{Connection, Frame, Stream},
    },
    progress::Progress,
};

/// Deliveries in the queue at most.
const QUEUE: usize = 1024;

/// Frames of one delivery at most: enough that handing over does not count.
const TOGETHER: usize = 1024;

/// Bytes from which on a delivery goes without waiting for more frames, in the middle of a transaction too.
const TOGETHER_BYTES: usize = 128 << 10;

/// For how long the reader rests when little has come, of a backlog or of what comes back. Nobody sees the moment.
const REST: Duration = Duration::from_millis(1);

/// What is little, in bytes: the buffers between server and reader hold many times as much.
const LITTLE: usize = 16 << 10;

/// Bytes in the queue at most; what is larger passes alone.
const QUEUE_BYTES: usize = 32 << 20;

/// How often it is looked whether there is something to tell the source.
const STATUS_PERIOD: Duration = Duration::from_millis(100);

/// The source hears from us at least this often, well below the smallest sensible `wal_sender_timeout`.
const SILENCE_AT_MOST: Duration = Duration::from_secs(1);

/// A transaction that the source sends so long after its commit is part of a backlog; microseconds.
const LATE_MICROS: i64 = 100_000;

/// Whether what was sent at `sent` and committed at `commit_ts` is part of a backlog; both by the source's clock, in microseconds.
pub fn is_late(sent: i64, commit_ts: i64) -> bool {
    sent.saturating_sub(commit_ts) > LATE_MICROS
}

/// Frames, and their share of the queue until the last of them is taken.
struct Queued {
    frames: std::vec::IntoIter<Frame>,
    _room: Option<OwnedSemaphorePermit>,
}

/// The receiver's end of the queue.
struct Deliver {
    queue: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
}

/// The applier's end of the queue.
pub struct Frames {
    queue: mpsc::Receiver<Queued>,
    now: Option<Queued>,
}

impl Frames {
    /// The next frame, if it is there.
    pub fn ready(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.now.as_mut().and_then(|now| now.frames.next()) {
                return Some(frame);
            }
            // Its room is given back first: what comes next may need all of it.
            self.now = None;
            self.now = Some(self.queue.try_recv().ok()?);
        }
    }

    /// Returns when there may be a frame; false when none comes any more. Cancel-safe.
    pub async fn come(&mut self) -> bool {
        if !self.is_empty() {
            return true;
        }
        self.now = None;
        self.now = self.queue.recv().await;
        self.now.is_some()
    }

    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        self.now.as_ref().is_none_or(|now| now.frames.len() == 0) && self.queue.is_empty()
    }
}

/// What of the source's transactions is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Each one whole, after its commit.
    Committed,
    /// Large ones also while they are in progress, where the source can (PostgreSQL 14).
    InProgress {
        /// And those that are prepared when they are prepared (PostgreSQL 15): a slot that has done so does it ever after.
        two_phase: bool,
    },
}

/// What is to be read.
pub struct Request {
    /// The server.
    pub source: Endpoint,
    /// The slot and the publications.
    pub names: Names,
    /// Of the connection.
    pub application_name: String,
    /// What of the transactions is sent.
    pub mode: Mode,
    /// From here on, or from the slot's confirmed position where that is later.
    pub from: Lsn,
    /// With logical messages, without which a transaction that holds nothing else is not sent.
    pub messages: bool,
    /// The origin of the opposite direction: of what is marked with it, or with those of its copies, only that is needed which takes rows
    /// away, and its place.
    pub left_out: String,
}

/// A stream that is being read. Dropped together with the `Frames`, it is ended in order.
pub struct Receiving {
    ended: oneshot::Receiver<Result<()>>,
}

impl Receiving {
    /// Streams on a thread of its own until the connection ends, which is an error, or the `Frames` go away, which is not.
    ///
    /// What it reads of commits is written to `history`, if there is one.
    pub async fn start(
        request: Request,
        confirmed: watch::Receiver<Lsn>,
        progress: Arc<Progress>,
        history: Option<Arc<History>>,
    ) -> Result<(Receiving, Frames)> {
        let (deliver, frames) = queue();
        let (starting, started) = oneshot::channel();
        let (ending, ended) = oneshot::channel();
        let read = async move {
            let stream = tokio::select! {
                stream = start(&request) => stream,
                _ = deliver.queue.closed() => return,
            };
            let (stream, plugin) = match stream {
                Ok(started) => started,
                Err(error) => return drop(starting.send(Err(error))),
            };
            let _ = starting.send(Ok(()));
            let failed = receive(stream, plugin, &deliver, confirmed, progress, history.as_deref()).await;
            // Before the applier hears that there are no more frames.
            let _ = ending.send(failed);
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let spawned = runtime
            .and_then(|runtime| std::thread::Builder::new().name("receiver".to_owned()).spawn(move || runtime.block_on(read)).map(drop));
        spawned.map_err(|e| Error::new(Kind::InsufficientResources, "cannot start a thread that reads the stream").caused_by(e))?;
        let gone = |_| Error::new(Kind::Internal, "the thread that reads the stream has ended by itself");
        started.await.map_err(gone)??;
        Ok((Receiving { ended }, frames))
    }

    /// Waits until the stream has ended; the `Frames` are gone.
    pub async fn end(self) {
        let _ = self.ended.await;
    }

    /// Why it has ended, if it has by an error.
    pub fn error(&mut self) -> Option<Error> {
        self.ended.try_recv().ok().and_then(Result::err)
    }
}

async fn start(request: &Request) -> Result<(Stream, Plugin)> {
    let Request { source, names, application_name, .. } = request;
    let &Request { mode, from, messages, .. } = request;
    let began = Instant::now();
    loop {
        let mut connection = Connection::connect(source, application_name, &[]).await?;
        let publications = format!("\"{}\",\"{}\"", names.publication, names.publication_insert_only);
        let mut options = vec![("proto_version", "1"), ("publication_names", publications.as_str())];
        if let Mode::InProgress { two_phase } = mode
            && connection.server_version_num() >= 140_000
        {
            options[0].1 = if two_phase { "3" } else { "2" };
            options.push(("streaming", "on"));
            if two_phase {
                options.push(("two_phase", "on"));
            }
        }
        if messages {
            options.push(("messages", "on"));
        }
        // A session of before that has not seen yet that its client is gone.
        let plugin = slot::free_by(&mut connection, names).await?;
        if plugin == Plugin::Pgrelay {
            options.push(("left_out", &request.left_out));
        }
        match connection.start_replication(&names.slot, from, &options).await {
            Err(error) if error.sqlstate() == IN_USE && began.elapsed() < IN_USE_AT_MOST => tokio::time::sleep(STATUS_PERIOD).await,
            started => return started.map(|stream| (stream, plugin)),
        }
    }
}

/// `object_in_use`: another session reads the slot.
const IN_USE: &str = "55006";

/// For how long the end of an earlier session is waited for.
const IN_USE_AT_MOST: Duration = Duration::from_secs(10);

/// The queue between receiver and applier.
fn queue() -> (Deliver, Frames) {
    let (send, receive) = mpsc::channel(QUEUE);
    (Deliver { queue: send, room: Arc::new(Semaphore::new(QUEUE_BYTES)) }, Frames { queue: receive, now: None })
}

async fn receive(
    mut stream: Stream,
    plugin: Plugin,
    deliver: &Deliver,
    confirmed: watch::Receiver<Lsn>,
    progress: Arc<Progress>,
    history: Option<&History>,
) -> Result<()> {
    forward(&mut stream, plugin, deliver, confirmed, progress, history).await?;
    // One that the source is too busy to end is ended by whoever reads the slot next.
    let _ = stream.close().await;
    Ok(())
}

async fn forward(
    stream: &mut Stream,
    plugin: Plugin,
    deliver: &Deliver,
    confirmed: watch::Receiver<Lsn>,
    progress: Arc<Progress>,
    history: Option<&History>,
) -> Result<()> {
    let mut period = tokio::time::interval(STATUS_PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut status = Status { confirmed, received: Lsn(0), told: (Lsn(0), Lsn(0)), at: Instant::now() };
    let (mut may_rest, mut gathered) = (false, Gathered::default());
    loop {
        let first = tokio::select! {
            frame = stream.next() => frame?,
            _ = deliver.queue.closed() => return Ok(()),
            _ = period.tick() => {
                status.tell_news(stream).await?;
                continue;
            }
        };
        let (mut next, mut failed, mut asked) = (Some(first), None, false);
        let (before, mut rows) = (gathered.bytes, 0);
        while let Some(frame) = next {
            match frame {
                Frame::Data { wal_start, wal_end, payload, sent } => {
                    status.received = status.received.max(wal_end);
                    for message in plugin.messages(payload) {
                        let payload = message?;
                        if pgoutput::is_row(&payload) {
                            rows += 1;
                            crash::at(Point::Received);
                        }
                        if let Some(commit) = commit_in(&payload)? {
                            may_rest = is_late(sent, commit.time);
                            if let Some(history) = history {
                                history.read(commit.xid, commit.at, commit.time);
                            }
                        }
                        // As a rule what the opposite direction has written, which nobody waits for.
                        may_rest |= pgoutput::is_origin(&payload);
                        gathered.push(Frame::Data { wal_start, wal_end, payload, sent });
                    }
                }
                Frame::Keepalive { wal_end, reply_requested } => {
                    status.received = status.received.max(wal_end);
                    asked |= reply_requested;
                    gathered.push(frame);
                }
            }
            next = if gathered.is_enough() { None } else { stream.arrived().unwrap_or_else(|e| failed.replace(e).and(None)) };
        }
        progress.received_rows(rows);
        if asked {
            status.tell(stream).await?;
        }
        let is_little = gathered.bytes - before < LITTLE;
        if failed.is_some() || gathered.is_enough() || !gathered.is_amid {
            let mut delivery = std::pin::pin!(deliver.send(gathered.take()));
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
        // What came before it is delivered.
        if let Some(error) = failed {
            return Err(error);
        }
        if may_rest && is_little {
            std::thread::sleep(REST);
        }
    }
}

/// Frames that are not delivered yet. The source sends a small transaction at once, but each message by itself: what is handed over
/// piece by piece wakes all those behind it for each.
#[derive(Default)]
struct Gathered {
    frames: Vec<Frame>,
    bytes: usize,
    /// They end within a transaction.
    is_amid: bool,
}

impl Gathered {
    fn push(&mut self, frame: Frame) {
        if let Frame::Data { payload, .. } = &frame {
            self.bytes += payload.len();
            match payload.first() {
                Some(b'B' | b'b') => self.is_amid = true,
                Some(b'C' | b'P') => self.is_amid = false,
                _ => {}
            }
        }
        self.frames.push(frame);
    }

    fn is_enough(&self) -> bool {
        self.frames.len() >= TOGETHER || self.bytes >= TOGETHER_BYTES
    }

    fn take(&mut self) -> Gathered {
        let is_amid = self.is_amid;
        Gathered { frames: std::mem::take(&mut self.frames), bytes: std::mem::take(&mut self.bytes), is_amid }
    }
}

/// What a message tells of a transaction.
struct Commit {
    xid: u32,
    /// Its commit record.
    at: Lsn,
    /// By the source's clock, in microseconds since 2000.
    time: i64,
}

/// The commit that a message tells of, if it does.
fn commit_in(payload: &Bytes) -> Result<Option<Commit>> {
    if !matches!(payload.first(), Some(b'B' | b'c')) {
        return Ok(None);
    }
    Ok(match pgoutput::decode(payload, false)? {
        Message::Begin { final_lsn, commit_ts, xid } => Some(Commit { xid, at: final_lsn, time: commit_ts }),
        Message::StreamCommit { xid, commit_lsn, commit_ts, .. } => Some(Commit { xid, at: commit_lsn, time: commit_ts }),
        _ => None,
    })
}

impl Deliver {
    /// Waits for room; false when nobody takes frames any more.
    async fn send(&self, Gathered { frames, bytes, .. }: Gathered) -> bool {
        let room = self.room.clone().acquire_many_owned(bytes.min(QUEUE_BYTES) as u32).await.ok();
        self.queue.send(Queued { frames: frames.into_iter(), _room: room }).await.is_ok()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_fills_the_queue_alone_makes_room_for_the_next_once_it_is_taken() {
        let (deliver, mut frames) = queue();
        let one = |bytes| Gathered { frames: vec![Frame::Keepalive { wal_end: Lsn(1), reply_requested: false }], bytes, is_amid: false };
        let sending = async {
            for bytes in [QUEUE_BYTES + 1, 1, QUEUE_BYTES - 1, QUEUE_BYTES] {
                assert!(deliver.send(one(bytes)).await);
            }
        };
        let taking = async {
            for _ in 0..4 {
                assert!(frames.come().await && frames.ready().is_some());
            }
        };
        let both = async { tokio::join!(sending, taking) };
        tokio::time::timeout(Duration::from_secs(1), both).await.expect("nobody waits for room that is free");
    }
}
