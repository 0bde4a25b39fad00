//! Messages over a transport. Everything half done lives in two buffers of the link, so a future that is dropped in the
//! middle of reading or sending loses nothing: the next call goes on where it stopped.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use pgrelay_core::error::{Error, Kind, Result};
use tokio::io::{AsyncReadExt, AsyncWrite};

use super::transport::Transport;
use crate::pg::wire::malformed;

/// Room made at once for messages to come; many small ones share one piece of memory.
const ROOM: usize = 64 * 1024;
/// Most read by one call.
const READ_AT_ONCE: usize = 1024 * 1024;
/// A message from here on gets its memory for itself, which is freed with it.
const LARGE: usize = 1024 * 1024;
/// PostgreSQL builds no message of 1 GB or more (MaxAllocSize).
const LONGEST: usize = 0x4000_0000;
/// Before the login is done nothing long can come from an honest server.
const LONGEST_IN_LOGIN: usize = 64 * 1024;

pub(super) struct Link {
    transport: Transport,
    inbox: BytesMut,
    outbox: BytesMut,
    flushed: bool,
    longest: usize,
    broken: bool,
}

/// Tag and length in front of every message.
const HEADER: usize = 5;

impl Link {
    pub(super) fn new(transport: Transport) -> Link {
        let (inbox, outbox) = (BytesMut::with_capacity(ROOM), BytesMut::new());
        Link { transport, inbox, outbox, flushed: true, longest: LONGEST_IN_LOGIN, broken: false }
    }

    pub(super) fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Takes messages of any length from now on.
    pub(super) fn logged_in(&mut self) {
        self.longest = LONGEST;
    }

    /// Where messages to send are appended, whole ones only. They go out with `flush`, or while reading.
    pub(super) fn outbox(&mut self) -> &mut BytesMut {
        &mut self.outbox
    }

    /// Sends all that waits. Works while nobody reads. Cancel-safe.
    pub(super) async fn flush(&mut self) -> Result<()> {
        self.check()?;
        let sent = poll_fn(|cx| self.poll_send(cx)).await;
        sent.map_err(|e| self.fail(e))
    }

    /// The next message, as tag and body. Cancel-safe.
    pub(super) async fn message(&mut self) -> Result<(u8, Bytes)> {
        self.check()?;
        loop {
            let missing = match self.take_message() {
                Ok(Ok(message)) => return Ok(message),
                Ok(Err(missing)) => missing,
                Err(e) => {
                    self.broken = true;
                    return Err(e);
                }
            };
            if self.inbox.capacity() - self.inbox.len() < missing {
                self.inbox.reserve(missing.max(ROOM));
            }
            let read = poll_fn(|cx| self.poll_exchange(cx)).await;
            read.map_err(|e| self.fail(e))?;
        }
    }

    /// A message that has arrived in full, or how many bytes are missing for certain.
    fn take_message(&mut self) -> Result<std::result::Result<(u8, Bytes), usize>> {
        let Some(head) = self.inbox.first_chunk::<HEADER>() else { return Ok(Err(HEADER - self.inbox.len())) };
        let [tag, length @ ..] = *head;
        let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(0);
        if length < 4 || length > self.longest {
            return Err(malformed("its length is out of range"));
        }
        let total = 1 + length;
        if self.inbox.len() < total {
            return Ok(Err(total - self.inbox.len()));
        }
        let mut message = self.inbox.split_to(total);
        if total >= LARGE {
            // What is left of the large piece would keep all of it.
            let mut room = BytesMut::with_capacity(ROOM.max(self.inbox.len()));
            room.extend_from_slice(&self.inbox);
            self.inbox = room;
        }
        message.advance(HEADER);
        Ok(Ok((tag, message.freeze())))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outbox.is_empty() {
            match ready!(Pin::new(&mut self.transport).poll_write(cx, &self.outbox))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.outbox.advance(sent),
            }
            self.flushed = false;
        }
        if !self.flushed {
            ready!(Pin::new(&mut self.transport).poll_flush(cx))?;
            self.flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads something, and sends meanwhile what waits to be sent.
    fn poll_exchange(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(Err(e)) = self.poll_send(cx) {
            return Poll::Ready(Err(e));
        }
        let mut room = (&mut self.inbox).limit(READ_AT_ONCE);
        match ready!(pin!(self.transport.read_buf(&mut room)).poll(cx))? {
            0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn check(&self) -> Result<()> {
        if self.broken { Err(Error::new(Kind::Connection, "the replication connection is closed")) } else { Ok(()) }
    }

    fn fail(&mut self, e: io::Error) -> Error {
        self.broken = true;
        let what = match e.kind() {
            io::ErrorKind::UnexpectedEof => "the server closed the replication connection".to_string(),
            _ => format!("the replication connection broke: {e}"),
        };
        Error::new(Kind::Connection, what).caused_by(e)
    }
}
