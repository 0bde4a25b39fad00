//! Transactions of one statement, sent without waiting for those before.

use futures_util::FutureExt;
use pgrelay_core::{Error, Result, error::Kind};
use tokio::task::yield_now;
use tokio_postgres::Statement;

use super::{Answer, Move, Session, Value};
use crate::{
    apply::statement::is_not_one_row,
    crash::{self, Point},
    pg::server_error,
};

impl Session {
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
        self.let_write_alone(true);
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
