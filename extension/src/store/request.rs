//! Questions to the applier, and its answers.

use pgrelay_core::{Result, error::Error, error::Kind};

use super::{execute, not_null, read};

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Look at both sides and write the findings.
    Precheck,
    /// Say when everything committed before the question is visible on the peer.
    Catchup,
    /// The same from the peer to the source.
    CatchupReverse,
    /// Compare the structure of both sides and write the differences.
    Verify,
    /// Put back what the resolution of the conflict of this record has overwritten.
    UndoConflict(i64),
    /// Let sequences give other values on each side.
    Interleave,
}

impl Question {
    /// The word in `pgrelay.request.kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Question::Precheck => "precheck",
            Question::Catchup => "catchup",
            Question::CatchupReverse => "catchup_reverse",
            Question::Verify => "verify",
            Question::UndoConflict(_) => "undo_conflict",
            Question::Interleave => "interleave",
        }
    }

    /// What it is about, 0 for nothing.
    pub fn about(self) -> i64 {
        if let Question::UndoConflict(record) = self { record } else { 0 }
    }

    /// Reads the word.
    pub fn parse(word: &str, about: i64) -> Option<Question> {
        let all = [
            Question::Precheck,
            Question::Catchup,
            Question::CatchupReverse,
            Question::Verify,
            Question::UndoConflict(about),
            Question::Interleave,
        ];
        all.into_iter().find(|q| q.as_str() == word)
    }
}

/// What became of a question.
pub enum Answer {
    /// It is not committed yet.
    NotAsked,
    /// It waits.
    Waiting,
    /// It was answered.
    Done,
    /// The applier could not answer it.
    Failed(Error),
}

/// One finding, as `precheck` shows it: item, severity, object, message, fix.
pub type FindingRow = (String, String, String, String, Option<String>);

/// One difference, as `verify_schema` shows it: kind, identity, difference, fix.
pub type DifferenceRow = (String, String, String, Option<String>);

/// A fresh token.
pub fn new_token() -> Result<String> {
    super::one_text("SELECT pg_catalog.gen_random_uuid()::pg_catalog.text")
}

/// Writes a question and tells the applier. Run as the extension's owner, in a transaction that commits at once.
pub fn ask(task: i64, question: Question, token: &str) -> Result<()> {
    let args = [task.into(), question.as_str().into(), token.into(), question.about().into()];
    execute(include_str!("../../../sql/extension/insert_request.sql"), &args)?;
    super::task::notify(task)
}

/// What became of the question with that token.
pub fn answer(token: &str) -> Result<Answer> {
    let found = read(include_str!("../../../sql/extension/read_request.sql"), &[token.into()], |r| {
        Ok((not_null::<bool>(r, 1)?, r.get::<String>(2)?, r.get::<String>(3)?, r.get::<String>(4)?))
    })?;
    Ok(match found.into_iter().next() {
        None => Answer::NotAsked,
        Some((false, ..)) => Answer::Waiting,
        Some((true, _, None, _)) => Answer::Done,
        Some((true, sqlstate, Some(message), hint)) => {
            let mut error = Error::new(Kind::WrongState, message);
            if let Some(sqlstate) = sqlstate {
                error = error.server_sqlstate(sqlstate);
            }
            Answer::Failed(if let Some(hint) = hint { error.hint(hint) } else { error })
        }
    })
}

/// What the last precheck of a task found.
pub fn findings(task: i64) -> Result<Vec<FindingRow>> {
    read(include_str!("../../../sql/extension/read_findings.sql"), &[task.into()], |r| {
        Ok((not_null(r, 1)?, not_null(r, 2)?, not_null(r, 3)?, not_null(r, 4)?, r.get(5)?))
    })
}

/// How many of a task's sequences give other values on each side, and how many stay as they are.
pub fn interleaved(task: i64) -> Result<(i64, i64)> {
    let sql =
        "SELECT pg_catalog.count(*) FILTER (WHERE reason IS NULL), pg_catalog.count(reason) FROM pgrelay.task_sequence WHERE task_id = $1";
    let counts = read(sql, &[task.into()], |r| Ok((not_null(r, 1)?, not_null(r, 2)?)))?;
    Ok(counts.first().copied().unwrap_or_default())
}

/// What was found for the question with that token.
pub fn differences(token: &str) -> Result<Vec<DifferenceRow>> {
    read(include_str!("../../../sql/extension/read_differences.sql"), &[token.into()], |r| {
        Ok((not_null(r, 1)?, not_null(r, 2)?, not_null(r, 3)?, r.get(4)?))
    })
}
