//! The replication connection (lands shortly).
use super::endpoint::Endpoint;
use bytes::Bytes;
use pgrelay_core::error::{Error, Kind, Result};
use pgrelay_core::lsn::Lsn;

fn later() -> Error {
    Error::new(Kind::NotSupported, "not landed yet")
}

/// A session with `replication=database`.
pub struct Connection {}

/// A slot just made.
#[derive(Debug, Clone)]
pub struct CreatedSlot {
    /// Its name.
    pub name: String,
    /// Changes committed behind this position will be sent.
    pub consistent_point: Lsn,
}

impl Connection {
    /// Connects; `options` are settings of this session (`logical_decoding_work_mem`).
    pub async fn connect(_ep: &Endpoint, _application_name: &str, _options: &[(&str, &str)]) -> Result<Connection> {
        Err(later())
    }
    /// The server's version, such as 150020.
    pub fn server_version_num(&self) -> u32 {
        0
    }
    /// Runs SQL or a replication command and returns the rows of its last result as text.
    pub async fn simple_query(&mut self, _sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        Err(later())
    }
    /// Makes a permanent logical slot without a snapshot.
    pub async fn create_logical_slot(&mut self, _name: &str, _plugin: &str) -> Result<CreatedSlot> {
        Err(later())
    }
    /// Starts to receive; `options` are the plugin's.
    pub async fn start_replication(self, _slot: &str, _start: Lsn, _options: &[(&str, &str)]) -> Result<Stream> {
        Err(later())
    }
}

/// What the server sends while it streams.
#[derive(Debug)]
pub enum Frame {
    /// A message of the output plugin.
    Data { wal_start: Lsn, wal_end: Lsn, payload: Bytes },
    /// How far the server has come.
    Keepalive { wal_end: Lsn, reply_requested: bool },
}

/// A running stream.
pub struct Stream {}

impl Stream {
    /// The next frame. Cancel-safe.
    pub async fn next(&mut self) -> Result<Frame> {
        Err(later())
    }
    /// Says how far the receiver has come.
    pub async fn send_status(&mut self, _written: Lsn, _flushed: Lsn, _applied: Lsn, _reply_requested: bool) -> Result<()> {
        Err(later())
    }
    /// Ends the stream in order.
    pub async fn close(self) -> Result<()> {
        Err(later())
    }
}
