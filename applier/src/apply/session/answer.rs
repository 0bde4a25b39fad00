//! What an answer of the peer means for the change that it is to.

use pgrelay_core::{Error, Result, error::Kind, name::TableName};
use tokio_postgres::error::SqlState;

use super::Session;
use crate::{
    apply::{standing, statement::is_not_one_row},
    pg::server_error,
};

/// What a change does, for the count it must have and for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A new row.
    Insert,
    /// Exactly one row changes.
    Update,
    /// One row goes; none is counted, not an error.
    Delete,
    /// Rows go that may be gone already: any number.
    DeleteAny,
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
    /// Conflicts with rows of the table are written down.
    Records,
    /// pgrelay's own bookkeeping.
    Other,
}

impl Operation {
    /// Whether an answer that is no error may be a surprise all the same.
    pub(super) fn may_surprise(self) -> bool {
        !matches!(self, Operation::DeleteAny | Operation::Truncate | Operation::Role | Operation::Records | Operation::Other)
    }
}

/// What an answer is worth.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct How {
    /// The server fails where it is a surprise.
    pub(super) tested: bool,
    /// It was looked at what the change meets: what is in its way all the same came in between.
    pub(super) looked: bool,
}

impl Session {
    pub(super) fn check(
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
            (Operation::DeleteAny | Operation::Truncate | Operation::Role | Operation::Look { .. }, _)
            | (Operation::Records | Operation::Other, _)
            | (_, 1) => {}
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
        Operation::Update => "an update",
        Operation::Delete | Operation::DeleteAny => "a delete",
        Operation::Truncate => "a truncate",
        Operation::Look { .. } | Operation::Watched => "a change",
        Operation::Many(_) => "changes",
        Operation::Role => "the owner's role",
        Operation::Position | Operation::Other => "the position",
        Operation::Records => "conflicts",
    };
    let doing = match operation {
        Operation::Records => format!("write down conflicts in table \"{table}\""),
        _ => format!("apply {word} to table \"{table}\""),
    };
    let constraint = error.as_db_error().and_then(|e| e.constraint().map(str::to_owned));
    let mut error = server_error(error, &doing).object(table.to_string());
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

fn missing(what: &str, table: &TableName) -> Error {
    Error::new(Kind::Conflict, format!("{what} met no row in table \"{table}\" of the peer"))
        .object(table.to_string())
        .hint("Put the row back on the peer, then call pgrelay.resume_task(). Nothing but pgrelay should write to the peer's tables.")
}
