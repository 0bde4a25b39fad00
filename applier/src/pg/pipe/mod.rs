//! Rows from one server to another: `COPY … TO STDOUT` on one session, `COPY … FROM STDIN` on another, unread.
//!
//! ```text
//!  source ──CopyData, one for each row──▶ inbox ──framing──▶ outbox ──CopyData, as they suit us──▶ peer
//!                                     at most PIECE bytes each; when the peer is slow, nothing is read
//! ```
//!
//! **Invariant**: memory does not depend on the width of a row. After an error each session is usable, if only for ROLLBACK, or
//! says that it is not ([`Session::is_usable`]).

mod framing;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pgrelay_core::error::{Error, Result};
use postgres_protocol::message::frontend;
use tokio::time::timeout;

pub use super::socket::{Row, Session, array};
use super::{
    error::ServerReport,
    socket::{during, rows_counted},
    wire::malformed,
};
use framing::{Framing, Stopped};

/// Bytes read at once, and bytes of rows in a message to the peer: enough that system calls do not count, few enough to stay in
/// the processor's cache.
pub const PIECE: usize = 64 * 1024;

/// For this long a source that was told to stop may go on sending; then its connection is closed.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The two statements.
#[derive(Debug, Clone, Copy)]
pub struct Statements<'a> {
    /// `COPY … TO STDOUT`.
    pub out: &'a str,
    /// `COPY … FROM STDIN`.
    pub into: &'a str,
    /// Both are `FORMAT binary`.
    pub binary: bool,
    /// What fails when it fails, as in `copy table "public.t"`.
    pub doing: &'a str,
}

/// What went through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Poured {
    /// Rows that the source has sent.
    pub sent: u64,
    /// Rows that the peer has written: fewer where triggers have left some out.
    pub written: u64,
    /// Bytes of rows, as they crossed the wire.
    pub bytes: u64,
}

/// Hears what passes, and may hold it up: nothing is read while it waits.
pub trait Meter: Send {
    /// How many bytes of rows may come next, at most [`PIECE`].
    fn piece(&self) -> usize {
        PIECE
    }

    /// Rows and bytes since the last call, before they go on to the peer. A row counts when it begins.
    fn passed(&mut self, rows: u64, bytes: u64) -> impl Future<Output = ()> + Send;
}

/// For those who do not want to know.
pub struct NoMeter;

impl Meter for NoMeter {
    async fn passed(&mut self, _: u64, _: u64) {}
}

/// Copies rows from `source` to `peer`, both within whatever transaction they are in.
///
/// Errors: that of the side which failed first. When the future is dropped both sides are cancelled and unusable.
pub async fn pour(source: &mut Session, peer: &mut Session, statements: Statements<'_>, meter: &mut impl Meter) -> Result<Poured> {
    for session in [&*source, &*peer] {
        session.check(statements.doing)?;
    }
    source.write(statements.out, statements.doing)?;
    peer.write(statements.into, statements.doing)?;
    let guards = (source.cancel_on_drop(), peer.cancel_on_drop());
    let mut pipe = Pipe { source, peer, statements, framing: Framing::default(), bytes: 0, told: (0, 0) };
    let result = match pipe.run(meter).await {
        Ok(sent) => pipe.finish(sent).await,
        Err(Failed::Source(error)) => {
            pipe.fail_peer().await;
            if pipe.source.is_busy() {
                pipe.source.link().abandon();
            }
            Err(error)
        }
        Err(Failed::Peer(error)) => {
            if pipe.source.is_busy() {
                stop(pipe.source, &mut pipe.framing).await;
            }
            Err(error)
        }
    };
    guards.0.disarm();
    guards.1.disarm();
    result
}

/// Which side failed; its session is done with the statement.
enum Failed {
    Source(Error),
    Peer(Error),
}

struct Pipe<'a> {
    source: &'a mut Session,
    peer: &'a mut Session,
    statements: Statements<'a>,
    framing: Framing,
    bytes: u64,
    /// Rows and bytes that the meter knows of.
    told: (u64, u64),
}

impl Pipe<'_> {
    /// Until the source has nothing more: how many rows it says it has sent. All of them are on their way to the peer.
    async fn run(&mut self, meter: &mut impl Meter) -> std::result::Result<u64, Failed> {
        let doing = self.statements.doing;
        let (from, to) = tokio::join!(opened(self.source, b'H', doing), opened(self.peer, b'G', doing));
        match (from, to) {
            (Ok(()), Ok(())) => {}
            (Err(e), _) => return Err(Failed::Source(e)),
            (_, Err(e)) => return Err(Failed::Peer(e)),
        }
        loop {
            let (source, peer) = (self.source.link(), self.peer.link());
            let taken = self.framing.take(source.inbox(), peer.outbox(), meter.piece());
            let (moved, stopped) = taken.map_err(Failed::Source)?;
            if moved > 0 {
                self.bytes += moved as u64;
                self.tell(self.framing.rows(self.statements.binary), meter).await;
                while let Some(said) = self.peer.link().flush_or_message().await.map_err(|e| Failed::Peer(during(e, doing)))? {
                    self.peer_said(said).await?;
                }
            }
            match stopped {
                Stopped::Full => {}
                Stopped::Empty => self.wait().await?,
                Stopped::Other => {
                    if let Some(sent) = self.source_said().await? {
                        self.tell(sent, meter).await;
                        return Ok(sent);
                    }
                }
            }
        }
    }

    /// Waits for more from the source. The peer may fail meanwhile.
    async fn wait(&mut self) -> std::result::Result<(), Failed> {
        let doing = self.statements.doing;
        let said = tokio::select! {
            biased;
            said = self.peer.link().message() => said.map_err(|e| Failed::Peer(during(e, doing)))?,
            filled = self.source.link().fill(PIECE) => return filled.map_err(|e| Failed::Source(during(e, doing))),
        };
        self.peer_said(said).await
    }

    async fn peer_said(&mut self, (tag, body): (u8, Bytes)) -> std::result::Result<(), Failed> {
        let doing = self.statements.doing;
        match tag {
            b'N' | b'S' | b'A' => Ok(()),
            b'E' => {
                let error = ServerReport::parse(&body).into_error(doing);
                until_ready(self.peer).await;
                Err(Failed::Peer(error))
            }
            _ => Err(Failed::Peer(malformed("the peer was to take rows"))),
        }
    }

    /// A message that is no row; the count of rows when it ends the statement.
    async fn source_said(&mut self) -> std::result::Result<Option<u64>, Failed> {
        let doing = self.statements.doing;
        let (tag, body) = self.source.link().message().await.map_err(|e| Failed::Source(during(e, doing)))?;
        match tag {
            b'c' | b'N' | b'S' | b'A' => Ok(None),
            b'C' => {
                let sent = rows_counted(&body).ok_or_else(|| Failed::Source(malformed("rows were to be counted")))?;
                settled(self.source, doing).await.map_err(Failed::Source)?;
                Ok(Some(sent))
            }
            b'E' => {
                let error = ServerReport::parse(&body).into_error(doing);
                until_ready(self.source).await;
                Err(Failed::Source(error))
            }
            _ => Err(Failed::Source(malformed("rows were to be sent"))),
        }
    }

    async fn tell(&mut self, rows: u64, meter: &mut impl Meter) {
        let (known_rows, known_bytes) = self.told;
        self.told = (rows, self.bytes);
        meter.passed(rows.saturating_sub(known_rows), self.bytes - known_bytes).await;
    }

    /// All rows are on their way.
    async fn finish(&mut self, sent: u64) -> Result<Poured> {
        let doing = self.statements.doing;
        frontend::copy_done(self.peer.link().outbox());
        let tag = settled(self.peer, doing).await?;
        let written = rows_counted(&tag).ok_or_else(|| malformed("rows were to be counted"))?;
        Ok(Poured { sent, written, bytes: self.bytes })
    }

    /// The source has failed: what the peer has is not all.
    async fn fail_peer(&mut self) {
        // It may have failed too, and even before it took a row.
        if self.peer.is_busy() && frontend::copy_fail("the source of the rows failed", self.peer.link().outbox()).is_ok() {
            until_ready(self.peer).await;
        }
    }
}

/// Waits until the statement takes or gives rows, which `tag` says.
async fn opened(session: &mut Session, expected: u8, doing: &str) -> Result<()> {
    loop {
        match session.link().message().await.map_err(|e| during(e, doing))? {
            (tag, _) if tag == expected => return Ok(()),
            (b'N' | b'S' | b'A', _) => {}
            (b'E', body) => {
                let error = ServerReport::parse(&body).into_error(doing);
                until_ready(session).await;
                return Err(error);
            }
            _ => return Err(malformed("rows were to be copied")),
        }
    }
}

/// Reads to the end of the statement: the tag of the command, or the server's error.
async fn settled(session: &mut Session, doing: &str) -> Result<Bytes> {
    let (mut tag, mut error) = (Bytes::new(), None);
    loop {
        let (kind, body) = match session.link().message().await {
            Ok(message) => message,
            Err(e) => return Err(error.unwrap_or_else(|| during(e, doing))),
        };
        match kind {
            b'C' => tag = body,
            b'E' => error = Some(ServerReport::parse(&body).into_error(doing)),
            b'Z' => {
                session.ready();
                return error.map_or(Ok(tag), Err);
            }
            b'N' | b'S' | b'A' => {}
            _ => return Err(error.unwrap_or_else(|| malformed("a copy was to end"))),
        }
    }
}

/// Reads to the end of a statement that has failed. A session that does not come to it stays unusable.
async fn until_ready(session: &mut Session) {
    // The error is told already, and a broken link knows that it is.
    let _ = settled(session, "").await;
}

/// Ends a source whose rows nobody takes: cancelled, and what it still sends thrown away; closed when that takes long.
async fn stop(source: &mut Session, framing: &mut Framing) {
    let ended = timeout(STOP_TIMEOUT, async {
        source.cancel().await?;
        discard(source, framing).await
    });
    if !matches!(ended.await, Ok(Ok(()))) {
        source.link().abandon();
    }
}

/// Reads up to ReadyForQuery, keeping no row.
async fn discard(source: &mut Session, framing: &mut Framing) -> Result<()> {
    let mut dropped = BytesMut::new();
    while source.is_busy() {
        let link = source.link();
        match framing.take(link.inbox(), &mut dropped, PIECE)?.1 {
            Stopped::Full => {}
            Stopped::Empty => link.fill(PIECE).await?,
            Stopped::Other => {
                if let (b'Z', _) = link.message().await? {
                    source.ready();
                }
            }
        }
        dropped.clear();
    }
    Ok(())
}
