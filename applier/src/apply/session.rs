//! The one session of the peer that applies changes: a transaction at a time, its statements pipelined.
//!
//! No second session can write at the same time (`hold`), and where the role may use replication origins, what it writes is marked
//! as pgrelay's. The position is a row of the peer that the same transaction writes. It is not the origin's own
//! progress: from PostgreSQL 16 on an aborted transaction moves that too (`RecordTransactionAbort`).
//! What belongs to a table (its triggers, the functions of its CHECK constraints) runs with the rights of its owner: see `act_as`.
//! A surprise never gets committed: either the server itself fails where a change is not of one row, and COMMIT goes out right behind the
//! changes, since a transaction in which something has failed ends by it in a rollback; or answers are awaited before COMMIT is sent.

use std::{collections::VecDeque, future::Future, pin::Pin, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{FutureExt, SinkExt};
use pgrelay_core::{
    Error, Lsn, Result,
    error::Kind,
    name::{TableName, quote_ident, quote_literal},
};
use tokio::{
    sync::OnceCell,
    task::{JoinSet, yield_now},
};
use tokio_postgres::{
    Client, Statement,
    error::SqlState,
    types::{Format, IsNull, ToSql, Type, to_sql_checked},
};

use super::{
    hold,
    peer_table::PeerTable,
    relation::Ready,
    sight::Horizon,
    standing,
    statement::{all_or_nothing, is_not_one_row},
    task_row,
};
use crate::{
    crash::{self, Point},
    pg::{Endpoint, connect, server_error},
};

/// Statements whose answers are not read yet. More gains nothing once a round trip is covered.
const WINDOW: usize = 1000;

/// Bytes of statements whose answers are not read yet: the client queues them without a bound of its own.
const WINDOW_BYTES: usize = 8 << 20;

/// Bytes of a statement that goes to the server while the next one is made ready.
const LARGE: usize = 64 << 10;

/// Settings of the apply session beside those of every session.
/// Row lookups must use the key's index even where the table was empty when the plan was made.
/// A transaction of one statement has no BEGIN that says how it is isolated. Notices of triggers would be answers that nobody waits for.
const SETTINGS: [(&str, &str); 9] = [
    ("session_replication_role", "replica"),
    ("default_transaction_isolation", "read committed"),
    ("client_min_messages", "error"),
    ("synchronous_commit", "on"),
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];

/// A parameter as it goes over the wire.
#[derive(Debug, Clone)]
pub enum Value {
    /// The type's text form, NULL when none; what the stream brought, not copied.
    Text(Option<Bytes>),
    /// `pg_lsn`.
    Lsn(Lsn),
    /// `timestamptz`, microseconds since 2000.
    Time(i64),
    /// `bigint`.
    Int(i64),
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
            Value::Time(number) | Value::Int(number) => out.put_i64(*number),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        match self {
            Value::Text(_) => Format::Text,
            Value::Lsn(_) | Value::Time(_) | Value::Int(_) => Format::Binary,
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
    /// The row of the next change must be there.
    Look {
        /// What the change is.
        update: bool,
    },
    /// One row changes, unless a trigger or rule of the peer keeps the change away: that it is there, or is new, is known.
    Watched,
    /// Any number.
    Truncate,
    /// So many rows by one statement, neither more nor less.
    Many(u64),
    /// Whose rights what follows has.
    Role,
    /// The origin's position: exactly one row.
    Position,
    /// pgrelay's own bookkeeping.
    Other,
}

impl Operation {
    /// Whether an answer that is no error may be a surprise all the same.
    fn may_surprise(self) -> bool {
        !matches!(self, Operation::Truncate | Operation::Role | Operation::Other)
    }
}

type Answer = Pin<Box<dyn Future<Output = std::result::Result<u64, tokio_postgres::Error>> + Send>>;

struct InFlight {
    answer: Answer,
    operation: Operation,
    table: Arc<TableName>,
    bytes: usize,
    how: How,
}

/// What an answer is worth.
#[derive(Debug, Clone, Copy, Default)]
struct How {
    /// The server fails where it is a surprise.
    tested: bool,
    /// It was looked at what the change meets: what is in its way all the same came in between.
    looked: bool,
}

/// Parameters of what moves the task's position, before those that mark the transaction.
const MOVED: usize = 4;

/// What moves the task's one position.
#[derive(Debug, Clone, Copy)]
pub struct Move {
    /// From here; none where that is not known.
    pub from: Option<Lsn>,
    /// To here.
    pub to: Lsn,
    /// What the other side had seen there.
    pub seen: Horizon,
    /// What the transaction is marked with.
    pub told: Lsn,
    /// Of the last source transaction in it, in microseconds since 2000.
    pub commit_ts: i64,
}

/// The apply session.
pub struct Session {
    client: Arc<Client>,
    /// Marks a transaction; none where the role may not use origins.
    setup: Option<Statement>,
    /// Moves the task's one position, and marks the transaction.
    moving: Option<Statement>,
    /// A transaction is to be opened before anything else is sent.
    begins: bool,
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
    /// Connects and becomes the only session that applies the task's changes.
    ///
    /// Errors: `Contention` while another session, perhaps one whose client is gone, is that.
    pub async fn open(peer: &Endpoint, origin: &str) -> Result<Session> {
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
            setup,
            moving: None,
            begins: false,
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
        let client = self.client.clone();
        let answer = async move { client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED").await.map(|()| 1) };
        self.queue(Box::pin(answer), Operation::Other, &task_row(), 0, How { tested: true, looked: false }).await
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

    /// From now on a commit returns before it is on the peer's disk.
    pub async fn wait_no_more(&mut self) -> Result<()> {
        let set = self.client.batch_execute("SET synchronous_commit = off").await;
        set.map_err(|e| server_error(e, "set up the apply session"))
    }

    /// Marks the transaction and commits it.
    ///
    /// When this returns an error the transaction may or may not have been committed; the position on the peer tells.
    pub async fn commit(&mut self, end: Lsn, commit_ts: i64) -> Result<()> {
        self.mark(end, commit_ts).await?;
        self.end().await
    }

    /// As `commit`, and moves the task's one position with it. `key` is the task's on the peer.
    ///
    /// Errors: `PositionLost` when the peer does not have that any more.
    pub async fn commit_and_move(&mut self, key: &str, to: Move) -> Result<()> {
        let statement = match &self.moving {
            Some(statement) => statement.clone(),
            None => {
                let sql = self.with_move(key, vec![], 0);
                let statement = self.prepare(&sql, &task_row()).await?;
                self.moving.insert(statement).clone()
            }
        };
        let values = self.values_of_move(to);
        self.send(statement, values, Operation::Position, &task_row(), How { tested: true, looked: false }).await?;
        self.end().await
    }

    /// One statement that does all of these and moves the task's position, or nothing of it; the latter behind so many parameters.
    pub fn with_move(&self, key: &str, mut parts: Vec<String>, before: usize) -> String {
        parts.push(standing::move_task(key, before));
        let mark = self.setup.is_some().then(|| standing::mark(before + MOVED));
        all_or_nothing(&parts, mark.as_deref())
    }

    fn values_of_move(&self, to: Move) -> Vec<Value> {
        let seen = (to.seen != Horizon::default()).then_some(to.seen);
        let mut values = vec![
            Value::Lsn(to.to),
            seen.map_or(Value::Text(None), |seen| Value::Lsn(seen.position)),
            seen.map_or(Value::Text(None), |seen| Value::Int(seen.commit)),
            to.from.map_or(Value::Text(None), Value::Lsn),
        ];
        if self.setup.is_some() {
            values.extend([Value::Lsn(to.told), Value::Time(to.commit_ts)]);
        }
        values
    }

    /// Whether changes of a table take other rights than the session has now, or leave something for the end of the transaction.
    pub fn changes_role(&self, peer: &PeerTable) -> bool {
        let role = peer.acts_as.as_ref().filter(|role| ***role != *self.own_role);
        role != self.role.as_ref() || !peer.deferred.is_empty()
    }

    /// Whether a transaction is begun and nothing has been sent of it.
    pub fn is_untouched(&self) -> bool {
        self.begins && self.in_flight.is_empty()
    }

    /// Instead of the transaction that has been begun, and of which nothing has been sent: a statement made `with_move`, by itself. It
    /// goes out without the answers to those before it, whose position it starts from.
    pub async fn send_whole(&mut self, statement: Statement, mut values: Vec<Value>, to: Move) {
        values.extend(self.values_of_move(to));
        self.begins = false;
        self.is_over();
        let client = self.client.clone();
        let mut answer: Answer = Box::pin(async move { client.execute_raw(&statement, values).await });
        // The first poll is what sends the request.
        let answer = match (&mut answer).now_or_never() {
            Some(answered) => Box::pin(async { answered }),
            None => answer,
        };
        self.wholes.push_back(answer);
        // The connection is worked on by the same thread.
        yield_now().await;
        crash::at(Point::WholeSent);
    }

    /// How many of them are not answered.
    pub fn wholes(&self) -> usize {
        self.wholes.len()
    }

    /// Waits for the first answer to one of them. Cancel-safe.
    ///
    /// Errors: what the server says; it has done nothing of it, nor of those sent after it. From then on nothing more is sent before
    /// `forget_wholes`.
    pub async fn next_whole(&mut self) -> Result<()> {
        let Some(answer) = self.wholes.front_mut() else { return Ok(()) };
        let answered = answer.await;
        self.wholes.pop_front();
        match answered {
            Ok(_) => {
                self.arrived += 1;
                Ok(())
            }
            Err(e) => {
                self.failed = true;
                Err(refused_whole(e))
            }
        }
    }

    /// How many have been committed since the last call.
    pub fn take_arrived(&mut self) -> usize {
        std::mem::take(&mut self.arrived)
    }

    /// Waits for all their answers.
    pub async fn settle_wholes(&mut self) -> Result<()> {
        if self.failed {
            return Err(failed_whole());
        }
        while !self.wholes.is_empty() {
            self.next_whole().await?;
        }
        Ok(())
    }

    /// Whether one has failed.
    pub fn has_failed_whole(&self) -> bool {
        self.failed
    }

    /// After a failure, and `abandon`: what failed is known to be read again.
    pub fn forget_wholes(&mut self) {
        self.failed = false;
    }

    async fn end(&mut self) -> Result<()> {
        if !self.tested {
            self.settle().await?;
        }
        debug_assert!(!self.begins, "a transaction ends in which nothing was sent");
        let client = self.client.clone();
        let mut commit = std::pin::pin!(async move { client.batch_execute("COMMIT").await });
        let committed = match commit.as_mut().now_or_never() {
            Some(committed) => committed,
            None => {
                crash::gone_out(Point::CommitSent).await;
                // Answers are read in their order: the connection waits for whoever has one to come. Whatever has failed before COMMIT, that
                // was a rollback.
                let settled = self.settle().await;
                let committed = commit.await;
                settled?;
                committed
            }
        };
        self.is_over();
        committed.map_err(|e| server_error(e, "commit on the peer"))
    }

    fn is_over(&mut self) {
        self.role = None;
        self.deferred.clear();
    }

    /// As `commit`, but the transaction is prepared under a name of the server.
    pub async fn prepare_as(&mut self, name: &str, end: Lsn, prepared_ts: i64) -> Result<()> {
        self.mark_and_settle(end, prepared_ts).await?;
        let sql = format!("PREPARE TRANSACTION {}", quote_literal(name));
        let prepared = crash::sent(Point::PrepareSent, self.client.batch_execute(&sql)).await;
        prepared.map_err(|e| {
            let error = server_error(e, "prepare a transaction on the peer").object(name);
            let hint = "The peer needs as many max_prepared_transactions as the source has, and room for them. Raise it there and restart the server.";
            // out_of_memory, object_not_in_prerequisite_state: what PostgreSQL says when there is no room, or none at all.
            if ["53200", "55000"].contains(&error.sqlstate()) { error.hint(hint) } else { error }
        })
    }

    /// Ends a prepared transaction; none is open.
    pub async fn end_prepared(&mut self, name: &str, commits: bool, end: Lsn, ended_ts: i64) -> Result<()> {
        self.mark_and_settle(end, ended_ts).await?;
        let sql = format!("{} PREPARED {}", if commits { "COMMIT" } else { "ROLLBACK" }, quote_literal(name));
        let ended = crash::sent(Point::EndOfPreparedSent, self.client.batch_execute(&sql)).await;
        ended.map_err(|e| server_error(e, "end a prepared transaction on the peer").object(name))
    }

    /// Marks the transaction as the task's.
    async fn mark(&mut self, end: Lsn, commit_ts: i64) -> Result<()> {
        let Some(statement) = self.setup.clone() else { return Ok(()) };
        self.send(
            statement,
            vec![Value::Lsn(end), Value::Time(commit_ts)],
            Operation::Position,
            &task_row(),
            How { tested: true, looked: false },
        )
        .await
    }

    /// Likewise, and waits for every answer.
    async fn mark_and_settle(&mut self, end: Lsn, commit_ts: i64) -> Result<()> {
        self.mark(end, commit_ts).await?;
        self.settle().await?;
        self.is_over();
        Ok(())
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

    fn check(
        &mut self,
        result: std::result::Result<u64, tokio_postgres::Error>,
        operation: Operation,
        table: &TableName,
        how: How,
    ) -> Result<()> {
        let checked = self.check_rows(result, operation, table, how.tested);
        checked.map_err(|mut error| {
            if how.looked && error.kind == Kind::Conflict {
                error.kind = Kind::Contention;
            }
            error
        })
    }

    fn check_rows(
        &mut self,
        result: std::result::Result<u64, tokio_postgres::Error>,
        operation: Operation,
        table: &TableName,
        tested: bool,
    ) -> Result<()> {
        let rows = match result {
            Err(e) if tested && e.as_db_error().is_some_and(|e| is_not_one_row(e.message())) => 0,
            result => result.map_err(|e| refused(e, operation, table))?,
        };
        match (operation, rows) {
            (Operation::Delete | Operation::Look { update: false }, 0) => return Err(missing("a delete", table)),
            (Operation::Look { update: true }, 0) => return Err(missing("an update", table)),
            (Operation::Watched, 0) => self.suppressed += 1,
            (Operation::Many(expected), rows) if expected == rows => {}
            (Operation::Many(expected), rows) => {
                return Err(Error::new(Kind::Conflict, format!("{expected} rows of table \"{table}\" were to change and {rows} did"))
                    .object(table.to_string()));
            }
            (Operation::Truncate | Operation::Role | Operation::Look { .. } | Operation::Other, _) | (Operation::Upsert, 0) | (_, 1) => {}
            (Operation::Update, 0) => return Err(missing("an update", table)),
            (Operation::Position, 0) => return Err(standing::position_gone()),
            (_, n) => {
                return Err(Error::new(Kind::Internal, format!("a change of one row of table \"{table}\" touched {n} rows"))
                    .object(table.to_string()));
            }
        }
        Ok(())
    }
}

fn refused(error: tokio_postgres::Error, operation: Operation, table: &TableName) -> Error {
    let forbidden = error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE);
    let collides = matches!(error.code(), Some(code) if *code == SqlState::UNIQUE_VIOLATION || *code == SqlState::EXCLUSION_VIOLATION);
    let word = match operation {
        Operation::Insert => "an insert",
        Operation::Update | Operation::Upsert => "an update",
        Operation::Delete => "a delete",
        Operation::Truncate => "a truncate",
        Operation::Look { .. } | Operation::Watched => "a change",
        Operation::Many(_) => "changes",
        Operation::Role => "the owner's role",
        Operation::Position | Operation::Other => "the position",
    };
    let constraint = error.as_db_error().and_then(|e| e.constraint().map(str::to_owned));
    let mut error = server_error(error, &format!("apply {word} to table \"{table}\"")).object(table.to_string());
    if forbidden {
        error.hint = Some(
            "What belongs to a table runs with the rights of the table's owner, where the applier may take his role. \
             Give him the right on the peer, then call pgrelay.resume_task()."
                .to_owned(),
        );
    }
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

/// Whatever the server has against it, change by change it says what: only what has to do with others is told as it is.
fn refused_whole(error: tokio_postgres::Error) -> Error {
    if error.as_db_error().is_some_and(|e| is_not_one_row(e.message())) {
        return Error::new(Kind::Conflict, "a change of one row met none");
    }
    let mut error = server_error(error, "apply a transaction");
    if !matches!(error.kind, Kind::Connection | Kind::Contention | Kind::InsufficientResources | Kind::Internal | Kind::Protocol) {
        error.kind = Kind::Conflict;
    }
    error
}

fn failed_whole() -> Error {
    Error::new(Kind::Conflict, "a transaction before this one was not applied")
}

fn missing(what: &str, table: &TableName) -> Error {
    Error::new(Kind::Conflict, format!("{what} met no row in table \"{table}\" of the peer"))
        .object(table.to_string())
        .hint("Put the row back on the peer, then call pgrelay.resume_task(). Nothing but pgrelay should write to the peer's tables.")
}
