//! A session that runs SQL, one command at a time, and gives rows as text.
//!
//! **Invariant**: a session is usable, or it says that it is not. A command that was abandoned, by a dropped future or a broken
//! connection, leaves it unusable; one that the server refused leaves it as the server leaves it.

use std::sync::Arc;

use bytes::BufMut;
use pgrelay_core::error::{Error, Kind, Result};
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;

use super::cancel::{CancelKey, CancelOnDrop};
use super::link::Link;
use super::login::Login;
use super::transport::Transport;
use crate::pg::attempt::{self, Encryption, Opening};
use crate::pg::endpoint::{Endpoint, Target};
use crate::pg::error::ServerReport;
use crate::pg::session::settings_sql;
use crate::pg::wire::{Fields, malformed};

/// A row: NULL or text.
pub type Row = Vec<Option<String>>;

/// A session on our own connection, with the settings that each session of pgrelay has ([`crate::pg::session::PINNED`]).
pub struct Session {
    link: Link,
    version: u32,
    key: Arc<CancelKey>,
    /// A command was sent whose answer has not been read to its end.
    busy: bool,
}

/// What kind of session it becomes.
pub(in crate::pg) struct Way<'a> {
    /// Whether it takes replication commands.
    pub(in crate::pg) replication: bool,
    /// Settings that come with the startup packet.
    pub(in crate::pg) options: &'a [(&'a str, &'a str)],
    /// Settings that are set when the session is there.
    pub(in crate::pg) settings: &'a [(&'a str, &'a str)],
}

struct Ours<'a> {
    ep: &'a Endpoint,
    application_name: &'a str,
    way: Way<'a>,
}

impl Opening for Ours<'_> {
    type Session = Session;

    async fn open(&self, target: &Target, encryption: Encryption, doing: &str) -> Result<Session> {
        let Ours { ep, application_name, way: Way { replication, options, settings } } = *self;
        let what = if replication { "replication connection" } else { "connection" };
        let mut link = Link::new(Transport::open(ep, target, encryption, doing).await?, what);
        let greeting = Login { ep, target, application_name, replication, options, doing }.run(&mut link).await?;
        let (ep, target) = (ep.clone(), target.clone());
        let key = Arc::new(CancelKey { ep, target, encryption, process_id: greeting.process_id, secret: greeting.secret });
        let mut session = Session { link, version: greeting.version, key, busy: false };
        if let Some(sql) = settings_sql(greeting.version, settings) {
            session.run(&sql, "cannot set up the session").await?;
        }
        Ok(session)
    }

    async fn in_recovery(&self, session: &mut Session) -> Result<bool> {
        let rows = session.run("SELECT pg_catalog.pg_is_in_recovery()", "cannot ask whether the server is a standby").await?;
        Ok(rows == [[Some("t".to_string())]])
    }
}

impl Session {
    /// Connects as [`crate::pg::connect`] does, with the same settings.
    pub async fn connect(ep: &Endpoint, application_name: &str, settings: &[(&str, &str)]) -> Result<Session> {
        Session::open(ep, application_name, Way { replication: false, options: &[], settings }).await
    }

    pub(in crate::pg) async fn open(ep: &Endpoint, application_name: &str, way: Way<'_>) -> Result<Session> {
        attempt::connect(ep, &Ours { ep, application_name, way }).await
    }

    /// The server's version, such as 150020.
    pub fn server_version_num(&self) -> u32 {
        self.version
    }

    /// Whether another command can be run. Inside a transaction that has failed that may be ROLLBACK alone.
    pub fn is_usable(&self) -> bool {
        !self.busy && !self.link.is_broken()
    }

    /// Runs one or more statements and returns the rows of the last result. `doing` says what failed when it fails.
    ///
    /// When the future is dropped the server is asked to cancel, and this session cannot be used any more.
    pub async fn run(&mut self, sql: &str, doing: &str) -> Result<Vec<Row>> {
        self.write(sql, doing)?;
        self.answer(doing).await
    }

    /// Runs one statement with parameters as text, whose types the server finds out, and returns its rows. As [`Session::run`].
    pub async fn query(&mut self, sql: &str, params: &[&str], doing: &str) -> Result<Vec<Row>> {
        let out = self.start(doing)?.outbox();
        frontend::parse("", sql, [], out).map_err(unwritable)?;
        let text = |param: &&str, out: &mut bytes::BytesMut| {
            out.put_slice(param.as_bytes());
            Ok(IsNull::No)
        };
        frontend::bind("", "", [], params.iter(), |p, out| text(p, out), [], out)
            .map_err(|_| Error::new(Kind::InvalidValue, format!("{doing}: a parameter is too long")))?;
        frontend::describe(b'P', "", out).and_then(|()| frontend::execute("", 0, out)).map_err(unwritable)?;
        frontend::sync(out);
        self.answer(doing).await
    }

    /// Asks the server to cancel what this session runs; returns when it has taken the request.
    pub(in crate::pg) async fn cancel(&self) -> Result<()> {
        self.key.send().await
    }

    /// Cancels when it is dropped.
    pub(in crate::pg) fn cancel_on_drop(&self) -> CancelOnDrop {
        CancelOnDrop::new(self.key.clone())
    }

    /// Writes a command, which goes out when its answer is read. From now on the session is busy.
    pub(in crate::pg) fn write(&mut self, sql: &str, doing: &str) -> Result<()> {
        frontend::query(sql, self.start(doing)?.outbox()).map_err(unwritable)
    }

    /// Fails unless the session is usable.
    pub(in crate::pg) fn check(&self, doing: &str) -> Result<()> {
        if self.is_usable() {
            return Ok(());
        }
        Err(Error::new(Kind::Connection, format!("{doing}: the connection broke, or its last command was abandoned")))
    }

    fn start(&mut self, doing: &str) -> Result<&mut Link> {
        self.check(doing)?;
        self.busy = true;
        Ok(&mut self.link)
    }

    /// A command's answer has not been read to its end.
    pub(in crate::pg) fn is_busy(&self) -> bool {
        self.busy
    }

    /// The link of a busy session.
    pub(in crate::pg) fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    /// ReadyForQuery was read: the session may be used again.
    pub(in crate::pg) fn ready(&mut self) {
        self.busy = false;
    }

    /// The link, for what is no command.
    pub(in crate::pg) fn into_link(self) -> Link {
        self.link
    }

    async fn answer(&mut self, doing: &str) -> Result<Vec<Row>> {
        let guard = self.cancel_on_drop();
        let answer = self.read_answer(doing).await;
        guard.disarm();
        answer
    }

    /// Reads up to ReadyForQuery, also behind an error, so that the session stays usable.
    async fn read_answer(&mut self, doing: &str) -> Result<Vec<Row>> {
        let (mut rows, mut error) = (Vec::new(), None);
        loop {
            let (tag, body) = match self.link.message().await {
                Ok(message) => message,
                // What the server said before it closed the connection is the cause.
                Err(e) => return Err(error.unwrap_or_else(|| during(e, doing))),
            };
            match tag {
                b'T' => rows.clear(),
                b'D' => rows.push(row(&body)?),
                b'E' => error = Some(ServerReport::parse(&body).into_error(doing)),
                b'C' | b'I' | b'N' | b'S' | b'A' | b'1' | b'2' | b'n' => {}
                b'Z' => {
                    self.ready();
                    return error.map_or(Ok(rows), Err);
                }
                _ => return Err(error.unwrap_or_else(|| malformed("the command has an answer of another kind"))),
            }
        }
    }
}

/// A broken connection, with what was being done.
pub(in crate::pg) fn during(e: Error, doing: &str) -> Error {
    Error::new(e.kind, format!("{doing}: {}", e.message)).caused_by(e)
}

/// Rows that a command tag such as `COPY 42` counts.
pub(in crate::pg) fn rows_counted(tag: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(tag).ok()?;
    text.trim_end_matches('\0').rsplit(' ').next()?.parse().ok()
}

/// Values as one text parameter of an array type.
pub fn array(values: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let quote = |value: &str| format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
    let quoted: Vec<String> = values.into_iter().map(|value| quote(value.as_ref())).collect();
    format!("{{{}}}", quoted.join(","))
}

fn unwritable(e: std::io::Error) -> Error {
    Error::new(Kind::InvalidValue, "a command holds a zero byte").caused_by(e)
}

fn row(body: &[u8]) -> Result<Row> {
    let mut fields = Fields::new(body);
    (0..fields.u16()?)
        .map(|_| {
            let length = fields.i32()?;
            let Ok(length) = usize::try_from(length) else { return Ok(None) };
            let text = std::str::from_utf8(fields.bytes(length)?).map_err(|_| malformed("a text is not UTF-8"))?;
            Ok(Some(text.to_string()))
        })
        .collect()
}
