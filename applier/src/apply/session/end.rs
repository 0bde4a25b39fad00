//! How the peer's transaction ends: with the task's position and its mark, at once or prepared.

use futures_util::FutureExt;
use pgrelay_core::{Lsn, Result, name::quote_literal};

use super::{Operation, Session, Value, answer::How};
use crate::{
    apply::{sight::Horizon, standing, statement::all_or_nothing, task_row},
    crash::{self, Point},
    pg::{MESSAGE, server_error},
};

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

impl Session {
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
        // Where nothing of it has changed a row, the opposite stream would not tell of it, and what follows here was made knowing it.
        let message = self.goes_back.then(|| MESSAGE.to_owned());
        let also: Vec<String> = mark.into_iter().chain(message).collect();
        all_or_nothing(&parts, &also)
    }

    pub(super) fn values_of_move(&self, to: Move) -> Vec<Value> {
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
}
