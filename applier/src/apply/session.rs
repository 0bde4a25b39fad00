//! The one session of the peer that applies changes: a transaction at a time, its statements pipelined.
//!
//! No second session can write at the same time (`hold`), and where the role may use replication origins, what it writes is marked
//! as pgrelay's. The position is a row of the peer that the same transaction writes. It is not the origin's own
//! progress: from PostgreSQL 16 on an aborted transaction moves that too (`RecordTransactionAbort`).
//! What belongs to a table (its triggers, the functions of its CHECK constraints) runs with the rights of its owner: see `act_as`.
//! A surprise never gets committed: either the server itself fails where a change is not of one row, and COMMIT goes out right behind the
//! changes, since a transaction in which something has failed ends by it in a rollback; or answers are awaited before COMMIT is sent.

mod answer;
mod end;
mod value;
mod whole;

use std::{collections::VecDeque, future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use futures_util::{FutureExt, SinkExt};
use pgrelay_core::{
    Result,
    name::{TableName, quote_ident},
};
use tokio::{
    sync::OnceCell,
    task::{JoinSet, yield_now},
};
use tokio_postgres::{Client, Statement};

use super::{hold, peer_table::PeerTable, relation::Ready, task_row};
use crate::{
    crash::{self, Alone},
    pg::{Endpoint, connect, server_error},
};
use answer::How;

pub use self::{answer::Operation, end::Move, value::Value};

/// Statements whose answers are not read yet. More gains nothing once a round trip is covered.
const WINDOW: usize = 1000;

/// Bytes of statements whose answers are not read yet: the client queues them without a bound of its own.
const WINDOW_BYTES: usize = 8 << 20;

/// Bytes of a statement that goes to the server while the next one is made ready.
const LARGE: usize = 64 << 10;

/// Opens a transaction.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";

/// Settings of the apply session beside those of every session.
/// Row lookups must use the key's index even where the table was empty when the plan was made.
/// A transaction of one statement has no BEGIN that says how it is isolated. Notices of triggers would be answers that nobody waits for.
/// Statements are sent behind a BEGIN that is not answered: where it fails alone, none of them may become a transaction of its own, so
/// that nothing can be written but where it says so (`let_write_alone`).
const SETTINGS: [(&str, &str); 10] = [
    ("session_replication_role", "replica"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "on"),
    ("client_min_messages", "error"),
    ("synchronous_commit", "on"),
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];

type Answer = Pin<Box<dyn Future<Output = std::result::Result<u64, tokio_postgres::Error>> + Send>>;

struct InFlight {
    answer: Answer,
    operation: Operation,
    table: Arc<TableName>,
    bytes: usize,
    how: How,
}

/// The apply session.
pub struct Session {
    client: Arc<Client>,
    /// By which the task's writes are known.
    origin: Arc<str>,
    /// Marks a transaction; none where the role may not use origins.
    setup: Option<Statement>,
    /// The opposite direction reads what is written.
    goes_back: bool,
    /// Moves the task's one position, and marks the transaction.
    moving: Option<Statement>,
    /// A transaction is to be opened before anything else is sent.
    begins: bool,
    /// A statement may write that is no part of a transaction.
    writes_alone: bool,
    /// Transactions of one statement, in their order, that are not answered.
    wholes: VecDeque<Answer>,
    /// So many have been answered, and nobody has been told.
    arrived: usize,
    /// One has failed.
    failed: bool,
    /// The server fails where anything of the open transaction is a surprise.
    tested: bool,
    /// Reads the shape of a table.
    shapes: OnceCell<Statement>,
    in_flight: VecDeque<InFlight>,
    bytes: usize,
    suppressed: u64,
    /// The role that the session begins each transaction with.
    own_role: String,
    /// Another one that it has taken in the open transaction.
    role: Option<Arc<str>>,
    /// Constraint triggers of the tables changed in that role, which wait for the end of the transaction.
    deferred: Vec<String>,
}

impl Session {
    /// Connects and becomes the only session that applies the task's changes. `goes_back`: the opposite direction reads what it writes.
    ///
    /// Errors: `Contention` while another session, perhaps one whose client is gone, is that.
    pub async fn open(peer: &Endpoint, origin: &str, goes_back: bool) -> Result<Session> {
        let name = format!("{origin} apply");
        // Set by name too, since a connection string may name another: an applier that comes later ends this session by it.
        let settings: Vec<(&str, &str)> = SETTINGS.into_iter().chain([("application_name", name.as_str())]).collect();
        let client = connect(peer, &name, &settings).await?;
        let setup = match hold::take(&client, origin).await? {
            true => {
                let setup = client.prepare("SELECT pg_catalog.pg_replication_origin_xact_setup($1, $2)").await;
                Some(setup.map_err(|e| server_error(e, "prepare the position"))?)
            }
            false => None,
        };
        let own_role = client.query_one("SELECT current_user::text", &[]).await;
        let own_role = own_role.map_err(|e| server_error(e, "read the role on the peer"))?.get(0);
        Ok(Session {
            client: Arc::new(client),
            origin: origin.into(),
            setup,
            goes_back,
            moving: None,
            begins: false,
            writes_alone: false,
            wholes: VecDeque::new(),
            arrived: 0,
            failed: false,
            tested: false,
            shapes: OnceCell::new(),
            in_flight: VecDeque::new(),
            bytes: 0,
            suppressed: 0,
            own_role,
            role: None,
            deferred: vec![],
        })
    }

    /// The name of the origin that it marks with.
    pub fn origin(&self) -> Arc<str> {
        self.origin.clone()
    }

    /// Whether what it writes is marked as the task's.
    pub fn is_marked(&self) -> bool {
        self.setup.is_some()
    }

    /// Reads the shape of a table of the peer.
    ///
    /// Errors: `ShapeChanged` when there is no such table.
    pub async fn shape_of(&mut self, table: &TableName) -> Result<PeerTable> {
        self.read_answers().await?;
        PeerTable::read(&self.client, &self.shapes, table).await
    }

    /// Reads all answers that are under way; the first error is the one that is told.
    async fn read_answers(&mut self) -> Result<()> {
        let mut read = self.settle_wholes().await;
        while let Some(InFlight { answer, operation, table, bytes, how }) = self.in_flight.pop_front() {
            self.bytes -= bytes;
            let result = answer.await;
            let checked = self.check(result, operation, &table, how);
            read = read.and(checked);
        }
        read
    }

    /// Asks something of `shared`, within the transaction if one has been begun. The answers to what was sent before are read meanwhile: the
    /// connection waits for whoever has one to come, and an error among them is the reason for whatever else goes wrong.
    pub async fn ask<T>(&mut self, question: impl Future<Output = Result<T>>) -> Result<T> {
        self.send_begin().await?;
        let (read, answer) = tokio::join!(self.read_answers(), question);
        read?;
        answer
    }

    /// The connection, for questions that are asked with `ask`.
    pub fn shared(&self) -> Arc<Client> {
        self.client.clone()
    }

    /// The connection, for whatever is asked while nothing is under way.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Prepares a statement.
    pub async fn prepare(&mut self, sql: &str, table: &TableName) -> Result<Statement> {
        self.read_answers().await?;
        let prepared = self.client.prepare(sql).await;
        prepared.map_err(|e| server_error(e, &format!("prepare a change of table \"{table}\"")).object(table.to_string()))
    }

    /// Opens the peer's transaction, with what is sent first in it.
    pub fn begin(&mut self) {
        (self.begins, self.tested) = (true, true);
    }

    async fn send_begin(&mut self) -> Result<()> {
        if !self.begins {
            return Ok(());
        }
        self.settle_wholes().await?;
        self.begins = false;
        self.let_write_alone(false);
        let client = self.client.clone();
        let sql = if crash::is_cancelled(Alone::Begin) { crash::CANCELLED } else { BEGIN };
        let answer = async move { client.batch_execute(sql).await.map(|()| 1) };
        self.queue(Box::pin(answer), Operation::Other, &task_row(), 0, How { tested: true, looked: false }).await
    }

    /// Whether a statement may write that is sent outside of a transaction.
    ///
    /// The answer is not waited for. Where writing is not allowed against what was asked for, such a statement fails; where it is, only the
    /// next BEGIN is without this guard.
    pub fn let_write_alone(&mut self, may: bool) {
        if std::mem::replace(&mut self.writes_alone, may) == may {
            return;
        }
        let client = self.client.clone();
        let value = if may { "off" } else { "on" };
        let set = async move { client.batch_execute(&format!("SET default_transaction_read_only = {value}")).await };
        // The first poll is what sends the request.
        let _ = Box::pin(set).now_or_never();
    }

    /// What is prepared or sent from here on, up to the end of the transaction, has the rights of this role; none for the session's own.
    ///
    /// Nothing is sent where that is so already. The position and everything else of pgrelay's is written as the session's own role.
    /// A ROLLBACK TO SAVEPOINT takes back a change of the role that came after the savepoint.
    pub async fn act_as(&mut self, role: Option<&Arc<str>>, table: &Arc<TableName>) -> Result<()> {
        let role = role.filter(|role| ***role != *self.own_role);
        if role == self.role.as_ref() {
            return Ok(());
        }
        let sql = match role {
            Some(role) => format!("SET LOCAL ROLE {}", quote_ident(role)),
            None => "RESET ROLE".to_owned(),
        };
        self.fire_deferred(table).await?;
        self.role = role.cloned();
        self.run(sql, Operation::Role, table).await
    }

    /// Whether it has no other role than its own.
    pub fn acts_as_itself(&self) -> bool {
        self.role.is_none()
    }

    /// As `act_as`, for changes of a table: with its owner's rights where that can be.
    pub async fn act_for(&mut self, peer: &PeerTable, table: &Arc<TableName>) -> Result<()> {
        self.act_as(peer.acts_as.as_ref(), table).await?;
        for name in &peer.deferred {
            if !self.deferred.contains(name) {
                self.deferred.push(name.clone());
            }
        }
        Ok(())
    }

    /// Constraint triggers that wait for the end of the transaction run now: at COMMIT they would have other rights (before 18).
    pub async fn fire_deferred(&mut self, table: &Arc<TableName>) -> Result<()> {
        if self.deferred.is_empty() {
            return Ok(());
        }
        let names = std::mem::take(&mut self.deferred).join(", ");
        self.run(format!("SET CONSTRAINTS {names} IMMEDIATE; SET CONSTRAINTS {names} DEFERRED"), Operation::Other, table).await
    }

    /// Sends one prepared change of a row.
    pub async fn change(&mut self, Ready { statement, values, tested }: Ready, operation: Operation, table: &Arc<TableName>) -> Result<()> {
        self.send(statement, values, operation, table, How { tested, looked: false }).await
    }

    /// Likewise, of a change for which everything that it meets is locked and has given way.
    ///
    /// Errors, then or where its answer is read: `Contention` when somebody has put a row there in between.
    pub async fn change_after_look(
        &mut self,
        Ready { statement, values, tested }: Ready,
        operation: Operation,
        table: &Arc<TableName>,
    ) -> Result<()> {
        self.send(statement, values, operation, table, How { tested, looked: true }).await
    }

    /// Sends a prepared statement.
    pub async fn execute(&mut self, statement: Statement, values: Vec<Value>, operation: Operation, table: &Arc<TableName>) -> Result<()> {
        self.send(statement, values, operation, table, How::default()).await
    }

    async fn send(
        &mut self,
        statement: Statement,
        values: Vec<Value>,
        operation: Operation,
        table: &Arc<TableName>,
        how: How,
    ) -> Result<()> {
        let client = self.client.clone();
        let bytes = values.iter().map(Value::size).sum();
        let answer = async move { client.execute_raw(&statement, values).await };
        let how = How { tested: how.tested || !operation.may_surprise(), ..how };
        self.push_as(Box::pin(answer), operation, table, bytes, how).await
    }

    /// Sends rows to a prepared `COPY … FROM STDIN`.
    pub async fn copy(&mut self, statement: Statement, rows: Bytes, operation: Operation, table: &Arc<TableName>) -> Result<()> {
        // In a transaction that has failed COPY is refused before it begins, and tokio-postgres then loses count of the answers.
        self.settle().await?;
        let client = self.client.clone();
        let bytes = rows.len();
        let mut copying: Answer = Box::pin(async move {
            let copied = async {
                let mut sink = Box::pin(client.copy_in(&statement).await?);
                sink.send(rows).await?;
                sink.as_mut().finish().await
            };
            match copied.await {
                // The server has refused a row before it had all of them, and tokio-postgres does not tell why: no row has come.
                Err(error) if error.is_closed() && !client.is_closed() => Ok(0),
                copied => copied,
            }
        });
        // What is sent after it must stand behind it in the queue; from then on it goes on by itself, as statements do.
        if let Some(result) = (&mut copying).now_or_never() {
            return self.check(result, operation, table, How::default());
        }
        let mut copying = JoinSet::from_iter([copying]);
        let answer = async move {
            match copying.join_next().await {
                Some(Ok(answer)) => answer,
                Some(Err(ended)) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
                _ => std::future::pending().await,
            }
        };
        self.push(Box::pin(answer), operation, table, bytes).await
    }

    /// Sends a statement without parameters.
    pub async fn run(&mut self, sql: String, operation: Operation, table: &Arc<TableName>) -> Result<()> {
        let client = self.client.clone();
        let bytes = sql.len();
        let answer = async move { client.batch_execute(&sql).await.map(|()| 1) };
        self.push(Box::pin(answer), operation, table, bytes).await
    }

    /// Likewise, of one that moves the task's position, and fails on the server where it does not.
    pub async fn run_move(&mut self, sql: String) -> Result<()> {
        let client = self.client.clone();
        let answer = async move { client.batch_execute(&sql).await.map(|()| 1) };
        self.push_as(Box::pin(answer), Operation::Position, &task_row(), 0, How { tested: true, looked: false }).await
    }

    /// From now on a commit returns before it is on the peer's disk.
    pub async fn wait_no_more(&mut self) -> Result<()> {
        let set = self.client.batch_execute("SET synchronous_commit = off").await;
        set.map_err(|e| server_error(e, "set up the apply session"))
    }

    /// Whether changes of a table take other rights than the session has now, or leave something for the end of the transaction.
    pub fn changes_role(&self, peer: &PeerTable) -> bool {
        let role = peer.acts_as.as_ref().filter(|role| ***role != *self.own_role);
        role != self.role.as_ref() || !peer.deferred.is_empty()
    }

    fn is_over(&mut self) {
        self.role = None;
        self.deferred.clear();
    }

    /// Rolls back whatever is under way; the session can be used again.
    pub async fn abandon(&mut self) -> Result<()> {
        for InFlight { answer, .. } in std::mem::take(&mut self.in_flight) {
            // What went wrong is known; what followed it went wrong by it.
            let _ = answer.await;
        }
        for answer in std::mem::take(&mut self.wholes) {
            match answer.await {
                Ok(_) if !self.failed => self.arrived += 1,
                _ => self.failed = true,
            }
        }
        (self.bytes, self.suppressed, self.begins) = (0, 0, false);
        self.is_over();
        self.client.batch_execute("ROLLBACK").await.map_err(|e| server_error(e, "roll back on the peer"))
    }

    /// Changes that a trigger or rule has kept away since the last call.
    pub fn take_suppressed(&mut self) -> u64 {
        std::mem::take(&mut self.suppressed)
    }

    async fn push(&mut self, answer: Answer, operation: Operation, table: &Arc<TableName>, bytes: usize) -> Result<()> {
        let how = How { tested: !operation.may_surprise(), looked: false };
        self.push_as(answer, operation, table, bytes, how).await
    }

    async fn push_as(&mut self, answer: Answer, operation: Operation, table: &Arc<TableName>, bytes: usize, how: How) -> Result<()> {
        self.send_begin().await?;
        self.queue(answer, operation, table, bytes, how).await
    }

    async fn queue(&mut self, mut answer: Answer, operation: Operation, table: &Arc<TableName>, bytes: usize, how: How) -> Result<()> {
        let table = table.clone();
        self.tested &= how.tested;
        // The first poll is what sends the request.
        match (&mut answer).now_or_never() {
            Some(result) => self.check(result, operation, &table, how)?,
            None => {
                self.bytes += bytes;
                self.in_flight.push_back(InFlight { answer, operation, table, bytes, how });
            }
        }
        if bytes > LARGE {
            // The connection is worked on by the same thread.
            yield_now().await;
        }
        while self.in_flight.len() > WINDOW || self.bytes > WINDOW_BYTES {
            self.settle_one().await?;
        }
        Ok(())
    }

    /// Waits for every answer, within the transaction if one has been begun.
    pub async fn settle(&mut self) -> Result<()> {
        self.send_begin().await?;
        self.read_answers().await
    }

    async fn settle_one(&mut self) -> Result<()> {
        if let Some(InFlight { answer, operation, table, bytes, how }) = self.in_flight.pop_front() {
            self.bytes -= bytes;
            let result = answer.await;
            self.check(result, operation, &table, how)?;
        }
        Ok(())
    }
}
