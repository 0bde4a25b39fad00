//! Commands on the replication connection.

use pgrelay_core::error::Result;
use pgrelay_core::lsn::Lsn;
use postgres_protocol::escape::escape_identifier;
use postgres_protocol::message::frontend;

use super::stream::Stream;
use crate::pg::endpoint::Endpoint;
use crate::pg::error::ServerReport;
use crate::pg::socket::{Row, Session, Way};
use crate::pg::wire::malformed;

/// A session with `replication=database`: SQL, replication commands, and the start of a stream.
pub struct Connection {
    session: Session,
}

/// A slot just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedSlot {
    /// Its name.
    pub name: String,
    /// The stream begins with the first transaction that commits behind this position.
    pub consistent_point: Lsn,
}

impl Connection {
    /// Connects as [`crate::pg::connect`] does. `options` are settings of this session such as `logical_decoding_work_mem`.
    pub async fn connect(ep: &Endpoint, application_name: &str, options: &[(&str, &str)]) -> Result<Connection> {
        let session = Session::open(ep, application_name, Way { replication: true, options, settings: &[] }).await?;
        Ok(Connection { session })
    }

    /// The server's version, such as 150020.
    pub fn server_version_num(&self) -> u32 {
        self.session.server_version_num()
    }

    /// Runs SQL or a replication command and returns the rows of its last result, as text.
    ///
    /// When the future is dropped the server is asked to cancel the command, and this connection cannot be used any more.
    pub async fn simple_query(&mut self, sql: &str) -> Result<Vec<Row>> {
        self.session.run(sql, "a command on the replication connection failed").await
    }

    /// Makes a permanent logical slot without a snapshot. Waits for every transaction that runs now, which may take long;
    /// when the future is dropped the server is asked to cancel, and then no slot is left.
    pub async fn create_logical_slot(&mut self, name: &str, plugin: &str) -> Result<CreatedSlot> {
        let snapshot = if self.server_version_num() >= 150000 { "(SNAPSHOT 'nothing')" } else { "NOEXPORT_SNAPSHOT" };
        let sql = format!("CREATE_REPLICATION_SLOT {} LOGICAL {} {snapshot}", escape_identifier(name), escape_identifier(plugin));
        let rows = self.session.run(&sql, &format!("cannot create the replication slot \"{name}\"")).await?;
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
        let sql = format!("START_REPLICATION SLOT {} LOGICAL {start}{list}", escape_identifier(slot));
        self.session.write(&sql, &doing)?;
        let mut link = self.session.into_link();
        loop {
            match link.message().await? {
                (b'W', _) => return Ok(Stream::new(link)),
                (b'E', body) => return Err(ServerReport::parse(&body).into_error(&doing)),
                (b'N' | b'S' | b'A', _) => {}
                _ => return Err(malformed("a stream was to start")),
            }
        }
    }

    /// Ends the session in order.
    pub async fn close(self) -> Result<()> {
        let mut link = self.session.into_link();
        frontend::terminate(link.outbox());
        link.flush().await
    }
}
