//! Questions that a function of the extension waits for an answer to.

use pgrelay_core::{Error, Lsn, Result, error::Kind, verify::Difference};

use super::{Store, TaskRow};

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// Run the precheck and write the findings.
    Precheck,
    /// Answer when everything committed before the request is on the peer, sequences too.
    Catchup,
    /// Answer when everything committed on the peer before it is seen is on the source: asked of the reverse direction.
    CatchupReverse,
    /// Compare the structure of both sides and write the differences.
    Verify,
    /// Put back what the resolution of a conflict has overwritten.
    UndoConflict,
    /// Let sequences give other values on each side.
    Interleave,
}

/// One open question.
#[derive(Debug, Clone)]
pub struct Request {
    /// To answer by.
    pub id: i64,
    /// What is asked.
    pub kind: RequestKind,
    /// The source's WAL position when it was asked.
    pub lsn: Lsn,
    /// Of `UndoConflict`: the record.
    pub about: i64,
}

impl Store {
    /// Open questions to a task, oldest first.
    pub async fn open_requests(&self, task: &TaskRow) -> Result<Vec<Request>> {
        let rows = self
            .rows("read the requests", include_str!("../../../sql/store/open_requests.sql"), &[&task.id, &task.direction.as_str()])
            .await?;
        let read = |row: &tokio_postgres::Row| {
            let kind = match row.get::<_, &str>("kind") {
                "precheck" => RequestKind::Precheck,
                "catchup" => RequestKind::Catchup,
                "catchup_reverse" => RequestKind::CatchupReverse,
                "verify" => RequestKind::Verify,
                "undo_conflict" => RequestKind::UndoConflict,
                "interleave" => RequestKind::Interleave,
                other => return Err(Error::new(Kind::Internal, format!("\"{other}\" is not a request"))),
            };
            Ok(Request {
                id: row.get("id"),
                kind,
                lsn: row.get::<_, &str>("lsn").parse()?,
                about: row.get::<_, Option<i64>>("about").unwrap_or(0),
            })
        };
        rows.iter().map(read).collect()
    }

    /// Answers a question with differences, both in one statement.
    pub async fn answer_differences(&self, request: i64, differences: &[Difference]) -> Result<()> {
        let column = |f: fn(&Difference) -> String| differences.iter().map(f).collect::<Vec<String>>();
        let (kinds, identities) = (column(|d| d.kind.clone()), column(|d| d.identity.clone()));
        let (ways, fixes) = (column(|d| d.way.to_string()), differences.iter().map(|d| d.fix.as_deref()).collect::<Vec<_>>());
        let sql = include_str!("../../../sql/store/answer_differences.sql");
        self.write("answer a request", sql, &[&request, &kinds, &identities, &ways, &fixes]).await.map(drop)
    }

    /// Answers a question, with an error or without.
    pub async fn answer(&self, request: i64, error: Option<&Error>) -> Result<()> {
        let (sqlstate, message) = (error.map(|e| e.sqlstate().to_owned()), error.map(|e| e.message.clone()));
        let hint = error.and_then(|e| e.hint.clone());
        self.write("answer a request", include_str!("../../../sql/store/answer_request.sql"), &[&request, &sqlstate, &message, &hint])
            .await
            .map(drop)
    }
}
