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

pub(in crate::pg) struct Link {
    /// For messages: "connection", "replication connection".
    what: &'static str,
    transport: Transport,
    inbox: BytesMut,
    outbox: BytesMut,
    flushed: bool,
    /// Why sending failed; reading goes on.
    unsent: Option<io::Error>,
    longest: usize,
    broken: bool,
}

/// Tag and length in front of every message.
const HEADER: usize = 5;

impl Link {
    pub(super) fn new(transport: Transport, what: &'static str) -> Link {
        let (inbox, outbox) = (BytesMut::with_capacity(ROOM), BytesMut::new());
        Link { what, transport, inbox, outbox, flushed: true, unsent: None, longest: LONGEST_IN_LOGIN, broken: false }
    }

    pub(super) fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Takes messages of any length from now on.
    pub(super) fn logged_in(&mut self) {
        self.longest = LONGEST;
    }

    /// Where messages to send are appended, whole ones only. They go out with `flush`, or while reading.
    pub(in crate::pg) fn outbox(&mut self) -> &mut BytesMut {
        &mut self.outbox
    }

    /// Sends all that waits. Works while nobody reads. Cancel-safe.
    pub(in crate::pg) async fn flush(&mut self) -> Result<()> {
        self.check()?;
        let sent = poll_fn(|cx| self.poll_send(cx)).await;
        sent.map_err(|e| self.fail(e))
    }

    /// The next message, as tag and body. Cancel-safe.
    pub(in crate::pg) async fn message(&mut self) -> Result<(u8, Bytes)> {
        self.check()?;
        loop {
            if let Some(message) = self.arrived()? {
                return Ok(message);
            }
            let read = poll_fn(|cx| self.poll_exchange(cx)).await;
            read.map_err(|e| self.fail(e))?;
        }
    }

    /// Sends all that waits, unless the server says something first. Cancel-safe.
    pub(in crate::pg) async fn flush_or_message(&mut self) -> Result<Option<(u8, Bytes)>> {
        self.check()?;
        loop {
            if let Some(message) = self.arrived()? {
                return Ok(Some(message));
            }
            let sent = poll_fn(|cx| match self.poll_exchange(cx) {
                Poll::Ready(read) => Poll::Ready(read.map(|()| false)),
                Poll::Pending if self.outbox.is_empty() && self.flushed => Poll::Ready(Ok(true)),
                Poll::Pending => Poll::Pending,
            });
            if sent.await.map_err(|e| self.fail(e))? {
                return Ok(None);
            }
        }
    }

    /// What has arrived and is not taken yet: whole messages and the beginning of one. Whoever takes bytes from its front keeps
    /// count of where messages end.
    pub(in crate::pg) fn inbox(&mut self) -> &mut BytesMut {
        &mut self.inbox
    }

    /// Reads something into the inbox, which does not grow past `size` bytes. Cancel-safe.
    pub(in crate::pg) async fn fill(&mut self, size: usize) -> Result<()> {
        self.check()?;
        self.inbox.reserve(size.saturating_sub(self.inbox.len()));
        let read = poll_fn(|cx| self.poll_exchange(cx)).await;
        read.map_err(|e| self.fail(e))
    }

    /// A message that has arrived in full; if none has, there is room for it now.
    pub(in crate::pg) fn arrived(&mut self) -> Result<Option<(u8, Bytes)>> {
        match self.take_message() {
            Ok(Ok(message)) => Ok(Some(message)),
            Ok(Err(missing)) => {
                if self.inbox.capacity() - self.inbox.len() < missing {
                    self.inbox.reserve(missing.max(ROOM));
                }
                Ok(None)
            }
            Err(e) => {
                self.broken = true;
                Err(e)
            }
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
    ///
    /// A server that ends a session says why and closes: then sending fails first, and what it said is still to be read.
    fn poll_exchange(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(Err(e)) = self.poll_send(cx) {
            self.outbox.clear();
            self.flushed = true;
            self.unsent.get_or_insert(e);
        }
        let mut room = (&mut self.inbox).limit(READ_AT_ONCE);
        match ready!(pin!(self.transport.read_buf(&mut room)).poll(cx))? {
            0 => Poll::Ready(Err(self.unsent.take().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()))),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Closes the connection at once.
    pub(in crate::pg) fn abandon(&mut self) {
        self.broken = true;
        self.transport.close();
    }

    /// Nothing more can be read or sent.
    pub(in crate::pg) fn is_broken(&self) -> bool {
        self.broken
    }

    fn check(&self) -> Result<()> {
        if self.broken { Err(Error::new(Kind::Connection, format!("the {} is closed", self.what))) } else { Ok(()) }
    }

    fn fail(&mut self, e: io::Error) -> Error {
        self.broken = true;
        let what = match e.kind() {
            io::ErrorKind::UnexpectedEof => format!("the server closed the {}", self.what),
            _ => format!("the {} broke: {e}", self.what),
        };
        Error::new(Kind::Connection, what).caused_by(e)
    }
}
