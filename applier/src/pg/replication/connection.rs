//! Commands on the replication connection.

use std::sync::Arc;
use std::time::Duration;

use pgrelay_core::error::{Error, Kind, Result};
use pgrelay_core::lsn::Lsn;
use postgres_protocol::escape::escape_identifier;
use postgres_protocol::message::frontend;

use super::link::Link;
use super::login::Login;
use super::stream::Stream;
use super::transport::Transport;
use crate::pg::attempt::{self, Encryption, Opening};
use crate::pg::endpoint::{Endpoint, Target};
use crate::pg::error::ServerReport;
use crate::pg::session::settings_sql;
use crate::pg::wire::{Fields, malformed};

/// A request to cancel is given up after this: it is a courtesy to the server.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);

/// A row of a simple query: NULL or text.
pub type Row = Vec<Option<String>>;

/// A session with `replication=database`: SQL, replication commands, and the start of a stream.
pub struct Connection {
    link: Link,
    version: u32,
    key: Arc<CancelKey>,
    /// A command was sent whose answer has not been read to its end.
    busy: bool,
}

/// A slot just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedSlot {
    /// Its name.
    pub name: String,
    /// The stream begins with the first transaction that commits behind this position.
    pub consistent_point: Lsn,
}

struct Receiving<'a> {
    ep: &'a Endpoint,
    application_name: &'a str,
    options: &'a [(&'a str, &'a str)],
}

impl Opening for Receiving<'_> {
    type Session = Connection;

    async fn open(&self, target: &Target, encryption: Encryption, doing: &str) -> Result<Connection> {
        let Receiving { ep, application_name, options } = *self;
        let mut link = Link::new(Transport::open(ep, target, encryption, doing).await?);
        let greeting = Login { ep, target, application_name, options, doing }.run(&mut link).await?;
        let (ep, target) = (ep.clone(), target.clone());
        let key = Arc::new(CancelKey { ep, target, encryption, process_id: greeting.process_id, secret: greeting.secret });
        let mut connection = Connection { link, version: greeting.version, key, busy: false };
        if let Some(sql) = settings_sql(greeting.version, &[]) {
            connection.command(&sql, "cannot set up the session").await?;
        }
        Ok(connection)
    }

    async fn in_recovery(&self, session: &mut Connection) -> Result<bool> {
        let rows = session.command("SELECT pg_catalog.pg_is_in_recovery()", "cannot ask whether the server is a standby").await?;
        Ok(rows == [[Some("t".to_string())]])
    }
}

impl Connection {
    /// Connects as [`crate::pg::connect`] does. `options` are settings of this session such as `logical_decoding_work_mem`.
    pub async fn connect(ep: &Endpoint, application_name: &str, options: &[(&str, &str)]) -> Result<Connection> {
        attempt::connect(ep, &Receiving { ep, application_name, options }).await
    }

    /// The server's version, such as 150020.
    pub fn server_version_num(&self) -> u32 {
        self.version
    }

    /// Runs SQL or a replication command and returns the rows of its last result, as text.
    ///
    /// When the future is dropped the server is asked to cancel the command, and this connection cannot be used any more.
    pub async fn simple_query(&mut self, sql: &str) -> Result<Vec<Row>> {
        self.command(sql, "a command on the replication connection failed").await
    }

    /// Makes a permanent logical slot without a snapshot. Waits for every transaction that runs now, which may take long;
    /// when the future is dropped the server is asked to cancel, and then no slot is left.
    pub async fn create_logical_slot(&mut self, name: &str, plugin: &str) -> Result<CreatedSlot> {
        let snapshot = if self.version >= 150000 { "(SNAPSHOT 'nothing')" } else { "NOEXPORT_SNAPSHOT" };
        let sql = format!("CREATE_REPLICATION_SLOT {} LOGICAL {} {snapshot}", escape_identifier(name), escape_identifier(plugin));
        let rows = self.command(&sql, &format!("cannot create the replication slot \"{name}\"")).await?;
        match rows.as_slice() {
            [row] if row.len() >= 2 => {
                let text = |i: usize| row[i].clone().ok_or_else(|| malformed("a slot without a name or position"));
                Ok(CreatedSlot { name: text(0)?, consistent_point: text(1)?.parse()? })
            }
            _ => Err(malformed("a slot was to be described")),
        }
    }

    /// Starts to receive from `slot`, at the later of `start` and the slot's confirmed position. `options` are the plugin's.
    pub async fn start_replication(mut self, slot: &str, start: Lsn, options: &[(&str, &str)]) -> Result<Stream> {
        let doing = format!("cannot start to receive from the replication slot \"{slot}\"");
        let options: Vec<String> =
            options.iter().map(|(name, value)| format!("{} '{}'", escape_identifier(name), value.replace('\'', "''"))).collect();
        let list = if options.is_empty() { String::new() } else { format!(" ({})", options.join(", ")) };
        self.send(&format!("START_REPLICATION SLOT {} LOGICAL {start}{list}", escape_identifier(slot))).await?;
        loop {
            match self.link.message().await? {
                (b'W', _) => return Ok(Stream::new(self.link)),
                (b'E', body) => return Err(ServerReport::parse(&body).into_error(&doing)),
                (b'N' | b'S' | b'A', _) => {}
                _ => return Err(malformed("a stream was to start")),
            }
        }
    }

    /// Ends the session in order.
    pub async fn close(mut self) -> Result<()> {
        frontend::terminate(self.link.outbox());
        self.link.flush().await
    }

    async fn send(&mut self, sql: &str) -> Result<()> {
        if self.busy {
            return Err(Error::new(Kind::Connection, "an earlier command of this replication connection was abandoned"));
        }
        frontend::query(sql, self.link.outbox()).map_err(|e| Error::new(Kind::InvalidValue, "a command holds a zero byte").caused_by(e))?;
        self.busy = true;
        self.link.flush().await
    }

    async fn command(&mut self, sql: &str, doing: &str) -> Result<Vec<Row>> {
        let mut guard = CancelOnDrop { key: None };
        if !self.busy {
            guard.key = Some(self.key.clone());
        }
        let answer = self.exchange(sql, doing).await;
        guard.key = None;
        answer
    }

    /// Reads up to ReadyForQuery, also behind an error, so that the connection stays usable.
    async fn exchange(&mut self, sql: &str, doing: &str) -> Result<Vec<Row>> {
        self.send(sql).await?;
        let (mut rows, mut error) = (Vec::new(), None);
        loop {
            let (tag, body) = self.link.message().await?;
            match tag {
                b'T' => rows.clear(),
                b'D' => rows.push(row(&body)?),
                b'E' => error = Some(ServerReport::parse(&body).into_error(doing)),
                b'C' | b'I' | b'N' | b'S' | b'A' => {}
                b'Z' => {
                    self.busy = false;
                    return error.map_or(Ok(rows), Err);
                }
                _ => return Err(error.unwrap_or_else(|| malformed("the command has an answer of another kind"))),
            }
        }
    }
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

/// What is needed to ask the server to cancel.
struct CancelKey {
    ep: Endpoint,
    target: Target,
    encryption: Encryption,
    process_id: i32,
    secret: i32,
}

impl CancelKey {
    async fn send(&self) -> Result<()> {
        let transport = Transport::open(&self.ep, &self.target, self.encryption, "cannot cancel a command").await?;
        let mut link = Link::new(transport);
        frontend::cancel_request(self.process_id, self.secret, link.outbox());
        link.flush().await?;
        // The server closes the connection when it has taken the request.
        drop(link.message().await);
        Ok(())
    }
}

/// A server that waits for other transactions does not notice that its client is gone. So it is told.
struct CancelOnDrop {
    key: Option<Arc<CancelKey>>,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        let (Some(key), Ok(runtime)) = (self.key.take(), tokio::runtime::Handle::try_current()) else { return };
        runtime.spawn(async move {
            if !matches!(tokio::time::timeout(CANCEL_TIMEOUT, key.send()).await, Ok(Ok(()))) {
                tracing::debug!("a command of a replication connection could not be cancelled");
            }
        });
    }
}
