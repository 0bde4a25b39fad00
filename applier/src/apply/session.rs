//! The one session of the peer that applies changes: a transaction at a time, its statements pipelined.
//!
//! The session owns the task's replication origin, so no second applier can write at the same time, and what it writes is
//! marked as pgrelay's. The position is a row of the peer that the same transaction writes. It is not the origin's own
//! progress: from PostgreSQL 16 on an aborted transaction moves that too (`RecordTransactionAbort`).
//! Answers are awaited before COMMIT is sent: a surprise never gets committed.

use std::{collections::VecDeque, future::Future, pin::Pin, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::FutureExt;
use pgrelay_core::{Error, Lsn, Result, error::Kind, name::TableName};
use tokio_postgres::{
    Client, Statement,
    error::SqlState,
    types::{Format, IsNull, ToSql, Type, to_sql_checked},
};

use crate::{
    crash::{self, Point},
    pg::{Endpoint, connect, server_error},
};

/// Statements whose answers are not read yet. More gains nothing once a round trip is covered.
const WINDOW: usize = 1000;

/// Bytes of statements whose answers are not read yet: the client queues them without a bound of its own.
const WINDOW_BYTES: usize = 8 << 20;

/// Settings of the apply session beside those of every session.
/// Row lookups must use the key's index even where the table was empty when the plan was made.
const SETTINGS: [(&str, &str); 7] = [
    ("session_replication_role", "replica"),
    ("synchronous_commit", "on"),
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];

/// A parameter as it goes over the wire.
#[derive(Debug)]
pub enum Value {
    /// The type's text form, NULL when none; what the stream brought, not copied.
    Text(Option<Bytes>),
    /// `pg_lsn`.
    Lsn(Lsn),
    /// `timestamptz`, microseconds since 2000.
    Time(i64),
}

impl Value {
    /// Bytes of a value that the stream brought.
    fn size(&self) -> usize {
        match self {
            Value::Text(Some(text)) => text.len(),
            _ => 0,
        }
    }
}

impl ToSql for Value {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> std::result::Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Value::Text(None) => return Ok(IsNull::Yes),
            Value::Text(Some(text)) => out.extend_from_slice(text),
            Value::Lsn(lsn) => out.put_u64(lsn.0),
            Value::Time(micros) => out.put_i64(*micros),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        match self {
            Value::Text(_) => Format::Text,
            Value::Lsn(_) | Value::Time(_) => Format::Binary,
        }
    }

    to_sql_checked!();
}

/// What a change does, for the count it must have and for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A new row.
    Insert,
    /// Exactly one row changes.
    Update,
    /// One row changes, or is inserted where there is none.
    Upsert,
    /// One row goes; none is counted, not an error.
    Delete,
    /// Any number.
    Truncate,
    /// So many rows by one statement, neither more nor less.
    Many(u64),
    /// The origin's position: exactly one row.
    Position,
    /// pgrelay's own bookkeeping.
    Other,
}

type Answer = Pin<Box<dyn Future<Output = std::result::Result<u64, tokio_postgres::Error>> + Send>>;

struct InFlight {
    answer: Answer,
    operation: Operation,
    table: Arc<TableName>,
    bytes: usize,
}

/// The apply session.
pub struct Session {
    client: Arc<Client>,
    setup: Statement,
    in_flight: VecDeque<InFlight>,
    bytes: usize,
    deletes_missing: u64,
}

impl Session {
    /// Connects and takes the origin, which is created when it is not there.
    ///
    /// Errors: `Contention` while another session, perhaps one whose client is gone, holds the origin.
    pub async fn open(peer: &Endpoint, origin: &str) -> Result<Session> {
        let name = format!("{origin} apply");
        // Set by name too, since a connection string may name another: an applier that comes later ends this session by it.
        let settings: Vec<(&str, &str)> = SETTINGS.into_iter().chain([("application_name", name.as_str())]).collect();
        let client = connect(peer, &name, &settings).await?;
        take_origin(&client, origin).await?;
        let setup = client.prepare("SELECT pg_catalog.pg_replication_origin_xact_setup($1, $2)").await;
        let setup = setup.map_err(|e| server_error(e, "prepare the position"))?;
        Ok(Session { client: Arc::new(client), setup, in_flight: VecDeque::new(), bytes: 0, deletes_missing: 0 })
    }

    /// The connection, for reading the catalogs and preparing.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Prepares a statement. Awaits what is under way, so that the first error is the one that is told.
    pub async fn prepare(&mut self, sql: &str, table: &TableName) -> Result<Statement> {
        match self.client.prepare(sql).await {
            Ok(statement) => Ok(statement),
            Err(e) => {
                self.settle().await?;
                Err(server_error(e, &format!("prepare a change of table \"{table}\"")).object(table.to_string()))
            }
        }
    }

    /// Opens the peer's transaction.
    pub async fn begin(&mut self, table: &Arc<TableName>) -> Result<()> {
        let client = self.client.clone();
        let answer = async move { client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED").await.map(|()| 1) };
        self.push(Box::pin(answer), Operation::Other, table, 0).await
    }

    /// Sends one prepared change.
    pub async fn execute(&mut self, statement: Statement, values: Vec<Value>, operation: Operation, table: &Arc<TableName>) -> Result<()> {
        let client = self.client.clone();
        let bytes = values.iter().map(Value::size).sum();
        let answer = async move { client.execute_raw(&statement, values).await };
        self.push(Box::pin(answer), operation, table, bytes).await
    }

    /// Sends a statement without parameters.
    pub async fn run(&mut self, sql: String, operation: Operation, table: &Arc<TableName>) -> Result<()> {
        let client = self.client.clone();
        let bytes = sql.len();
        let answer = async move { client.batch_execute(&sql).await.map(|()| 1) };
        self.push(Box::pin(answer), operation, table, bytes).await
    }

    /// Puts the position into the transaction, waits for every answer, commits.
    ///
    /// When this returns an error the transaction may or may not have been committed; the position on the peer tells.
    pub async fn commit(&mut self, end: Lsn, commit_ts: i64) -> Result<()> {
        let (client, statement) = (self.client.clone(), self.setup.clone());
        let values = [Value::Lsn(end), Value::Time(commit_ts)];
        let position = Arc::new(TableName::new("pg_catalog", "pg_replication_origin"));
        let answer = async move { client.execute_raw(&statement, values).await };
        self.push(Box::pin(answer), Operation::Position, &position, 0).await?;
        self.settle().await?;
        let committed = crash::sent(Point::CommitSent, self.client.batch_execute("COMMIT")).await;
        committed.map_err(|e| server_error(e, "commit on the peer"))
    }

    /// Rolls back whatever is under way; the session can be used again.
    pub async fn abandon(&mut self) -> Result<()> {
        for InFlight { answer, .. } in std::mem::take(&mut self.in_flight) {
            // What went wrong is known; what followed it went wrong by it.
            let _ = answer.await;
        }
        (self.bytes, self.deletes_missing) = (0, 0);
        self.client.batch_execute("ROLLBACK").await.map_err(|e| server_error(e, "roll back on the peer"))
    }

    /// Deletes that met no row since the last call.
    pub fn take_deletes_missing(&mut self) -> u64 {
        std::mem::take(&mut self.deletes_missing)
    }

    async fn push(&mut self, mut answer: Answer, operation: Operation, table: &Arc<TableName>, bytes: usize) -> Result<()> {
        let table = table.clone();
        // The first poll is what sends the request.
        match (&mut answer).now_or_never() {
            Some(result) => self.check(result, operation, &table)?,
            None => {
                self.bytes += bytes;
                self.in_flight.push_back(InFlight { answer, operation, table, bytes });
            }
        }
        while self.in_flight.len() > WINDOW || self.bytes > WINDOW_BYTES {
            self.settle_one().await?;
        }
        Ok(())
    }

    /// Waits for every answer.
    pub async fn settle(&mut self) -> Result<()> {
        while !self.in_flight.is_empty() {
            self.settle_one().await?;
        }
        Ok(())
    }

    async fn settle_one(&mut self) -> Result<()> {
        if let Some(InFlight { answer, operation, table, bytes }) = self.in_flight.pop_front() {
            self.bytes -= bytes;
            let result = answer.await;
            self.check(result, operation, &table)?;
        }
        Ok(())
    }

    fn check(&mut self, result: std::result::Result<u64, tokio_postgres::Error>, operation: Operation, table: &TableName) -> Result<()> {
        let rows = result.map_err(|e| refused(e, operation, table))?;
        match (operation, rows) {
            (Operation::Delete, 0) => self.deletes_missing += 1,
            (Operation::Many(expected), rows) if expected == rows => {}
            (Operation::Many(expected), rows) => {
                return Err(Error::new(Kind::Conflict, format!("{expected} rows of table \"{table}\" were to change and {rows} did"))
                    .object(table.to_string()));
            }
            (Operation::Truncate | Operation::Other, _) | (Operation::Upsert, 0) | (_, 1) => {}
            (Operation::Update, 0) => return Err(missing(table)),
            (_, n) => {
                return Err(Error::new(Kind::Internal, format!("a change of one row of table \"{table}\" touched {n} rows"))
                    .object(table.to_string()));
            }
        }
        Ok(())
    }
}

/// Creates an origin when it is missing and makes it the session's own.
pub async fn take_origin(client: &Client, origin: &str) -> Result<()> {
    let sql = "SELECT pg_catalog.pg_replication_origin_create($1) WHERE pg_catalog.pg_replication_origin_oid($1) IS NULL";
    let created = client.execute(sql, &[&origin]).await;
    if let Err(e) = created {
        // Two sessions may come to create it at once; whoever loses finds it there.
        if e.code() != Some(&SqlState::UNIQUE_VIOLATION) && e.code() != Some(&SqlState::DUPLICATE_OBJECT) {
            return Err(server_error(e, "create a replication origin on the peer"));
        }
    }
    let setup = client.execute("SELECT pg_catalog.pg_replication_origin_session_setup($1)", &[&origin]).await;
    setup.map(drop).map_err(|e| server_error(e, "take the replication origin on the peer"))
}

fn refused(error: tokio_postgres::Error, operation: Operation, table: &TableName) -> Error {
    let collides = matches!(error.code(), Some(code) if *code == SqlState::UNIQUE_VIOLATION || *code == SqlState::EXCLUSION_VIOLATION);
    let word = match operation {
        Operation::Insert => "an insert",
        Operation::Update | Operation::Upsert => "an update",
        Operation::Delete => "a delete",
        Operation::Truncate => "a truncate",
        Operation::Many(_) => "changes",
        Operation::Position | Operation::Other => "the position",
    };
    let constraint = error.as_db_error().and_then(|e| e.constraint().map(str::to_owned));
    let mut error = server_error(error, &format!("apply {word} to table \"{table}\"")).object(table.to_string());
    if collides {
        error.kind = Kind::Conflict;
        error.message = format!("{word} collides with a row that table \"{table}\" of the peer holds");
        error.detail = constraint.map(|c| format!("The constraint or index is \"{c}\"."));
        error.hint = Some(
            "Remove or mend the row on the peer, then call pgrelay.resume_task(). Nothing but pgrelay should write to the peer's tables."
                .to_owned(),
        );
    }
    error
}

fn missing(table: &TableName) -> Error {
    Error::new(Kind::Conflict, format!("an update met no row in table \"{table}\" of the peer"))
        .object(table.to_string())
        .hint("Put the row back on the peer, then call pgrelay.resume_task(). Nothing but pgrelay should write to the peer's tables.")
}
