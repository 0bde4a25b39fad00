//! A running stream of changes.

use std::time::{Duration, SystemTime};

use bytes::{Buf, BufMut, Bytes};
use pgrelay_core::error::{Error, Kind, Result};
use pgrelay_core::lsn::Lsn;
use postgres_protocol::message::frontend;

use crate::pg::error::ServerReport;
use crate::pg::socket::Link;
use crate::pg::wire::{Fields, malformed};

/// How long the server may take to end a stream in order.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// PostgreSQL's epoch, 2000-01-01, in seconds of Unix.
const EPOCH: Duration = Duration::from_secs(946_684_800);

/// What the server sends while it streams.
#[derive(Debug, Clone)]
pub enum Frame {
    /// A message of the output plugin, not copied: many small payloads share one piece of memory, which lives as long as any.
    /// `sent`: when, by the server's clock, in microseconds since 2000.
    Data { wal_start: Lsn, wal_end: Lsn, sent: i64, payload: Bytes },
    /// How far the server has come.
    Keepalive { wal_end: Lsn, reply_requested: bool },
}

/// A running stream. Dropped, it closes the connection.
pub struct Stream {
    link: Link,
}

impl Stream {
    pub(super) fn new(link: Link) -> Stream {
        Stream { link }
    }

    /// The next frame. Cancel-safe: a dropped future loses nothing.
    ///
    /// A stream that ends is an error, of kind `Connection` unless the server says why.
    pub async fn next(&mut self) -> Result<Frame> {
        loop {
            let (tag, body) = self.link.message().await?;
            if let Some(frame) = streamed(tag, body)? {
                return Ok(frame);
            }
        }
    }

    /// The next frame, if it has arrived in full.
    pub fn arrived(&mut self) -> Result<Option<Frame>> {
        while let Some((tag, body)) = self.link.arrived()? {
            if let Some(frame) = streamed(tag, body)? {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    /// Says how far the receiver has come; `flushed` is what the slot is confirmed to. Cancel-safe (the message then goes out
    /// with the next call), and independent of reading: the server takes it also while it waits for us to read.
    pub async fn send_status(&mut self, written: Lsn, flushed: Lsn, applied: Lsn, reply_requested: bool) -> Result<()> {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or(EPOCH).saturating_sub(EPOCH).as_micros() as i64;
        let out = self.link.outbox();
        out.put_u8(b'd');
        out.put_i32(4 + 1 + 4 * 8 + 1);
        out.put_u8(b'r');
        out.put_u64(written.0);
        out.put_u64(flushed.0);
        out.put_u64(applied.0);
        out.put_i64(now);
        out.put_u8(reply_requested.into());
        self.link.flush().await
    }

    /// Ends the stream in order, so that the slot is free when this returns. What still arrives is dropped.
    pub async fn close(mut self) -> Result<()> {
        frontend::copy_done(self.link.outbox());
        let ended = tokio::time::timeout(CLOSE_TIMEOUT, async {
            self.link.flush().await?;
            loop {
                match self.link.message().await? {
                    (b'Z', _) => break,
                    (b'E', body) => return Err(ServerReport::parse(&body).into_error("cannot end the stream")),
                    _ => {}
                }
            }
            frontend::terminate(self.link.outbox());
            self.link.flush().await
        });
        let late = || Error::new(Kind::Timeout, format!("the server did not end the stream in {} s", CLOSE_TIMEOUT.as_secs()));
        ended.await.map_err(|_| late())?
    }
}

/// The frame in a message, if there is one.
fn streamed(tag: u8, body: Bytes) -> Result<Option<Frame>> {
    match tag {
        b'd' => frame(body).map(Some),
        b'E' => Err(explained(ServerReport::parse(&body).into_error("the server ended the stream"))),
        b'c' | b'C' | b'Z' => Err(Error::new(Kind::Connection, "the server ended the stream")),
        b'N' | b'S' | b'A' => Ok(None),
        _ => Err(malformed("it does not belong into a stream")),
    }
}

/// A row that is wider than any message of PostgreSQL: the server says only that its memory does not grow so far.
fn explained(error: Error) -> Error {
    let too_wide = match error.server_sqlstate.as_deref() {
        Some("54000") => error.message.contains("out of memory"),
        Some("XX000") => error.message.contains("invalid memory alloc request size"),
        _ => false,
    };
    if !too_wide {
        return error;
    }
    Error::new(Kind::NotSupported, "the source cannot send a change of a row of more than 1 GB")
        .detail("PostgreSQL decodes a row into one message in text form, in which bytea takes twice its size, and no message may be longer than 1 GB.")
        .hint("Make the row smaller on the source, call pgrelay.stop_task(), empty the tables on the peer, and start the task anew.")
        .server_sqlstate(error.server_sqlstate.clone().unwrap_or_default())
        .caused_by(error)
}

fn frame(mut body: Bytes) -> Result<Frame> {
    let mut fields = Fields::new(&body);
    match fields.u8()? {
        b'w' => {
            let (wal_start, wal_end, sent) = (fields.lsn()?, fields.lsn()?, fields.i64()?);
            let header = body.len() - fields.rest().len();
            body.advance(header);
            Ok(Frame::Data { wal_start, wal_end, sent, payload: body })
        }
        b'k' => {
            let (wal_end, _sent, reply) = (fields.lsn()?, fields.i64()?, fields.u8()?);
            fields.end()?;
            Ok(Frame::Keepalive { wal_end, reply_requested: reply != 0 })
        }
        _ => Err(malformed("it does not belong into a stream")),
    }
}
