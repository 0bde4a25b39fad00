//! Functions that have the applier do something on both sides and wait for it: `undo_conflict`, `interleave_sequences`.

use pgrelay_core::{Error, Result, error::Kind};
use pgrx::{datum::Interval, iter::TableIterator, prelude::*};

use crate::{
    report::{or_raise, required},
    request::Asking,
    store::{
        as_owner, conflict as conflicts,
        request::{self, Question},
        task::{self as tasks, Task},
    },
    task::{Rows, how_to_attach, one_row},
    wait::Wait,
};

/// Puts back what the resolution of a conflict has overwritten.
#[pg_extern(schema = "pgrelay")]
#[search_path(pg_catalog, pg_temp)]
fn undo_conflict(
    id: Option<i64>,
    timeout: default!(Option<Interval>, "'10 min'"),
) -> TableIterator<'static, (name!(task, String), name!(state, String), name!(message, String))> {
    or_raise(undo(id, timeout))
}

/// Lets source and peer draw other values from the task's sequences.
#[pg_extern(schema = "pgrelay")]
#[search_path(pg_catalog, pg_temp)]
fn interleave_sequences(
    name: Option<&str>,
    timeout: default!(Option<Interval>, "'10 min'"),
) -> TableIterator<'static, (name!(task, String), name!(state, String), name!(message, String))> {
    or_raise(interleave(name, timeout))
}

fn undo(id: Option<i64>, timeout: Option<Interval>) -> Result<Rows> {
    let id = required("id", id)?;
    let wait = Wait::begin("undo_conflict", timeout)?;
    as_owner(|| {
        let Some(name) = conflicts::task_of(id)? else {
            return Err(Error::new(Kind::UndefinedObject, format!("conflict {id} is not recorded"))
                .hint("See pgrelay.conflict; records go after conflict_retention days, and with the task."));
        };
        let task = ask(&wait, &name, Question::UndoConflict(id), "have a conflict undone")?;
        Ok(one_row(&name, task.shown().as_str(), "The rows are as they were before the resolution."))
    })
}

fn interleave(name: Option<&str>, timeout: Option<Interval>) -> Result<Rows> {
    let name = required("name", name)?;
    let wait = Wait::begin("interleave_sequences", timeout)?;
    as_owner(|| {
        let task = ask(&wait, name, Question::Interleave, "have its sequences interleaved")?;
        let (done, left) = request::interleaved(task.id)?;
        let left = if left > 0 { format!(" {left} stay as they are: see pgrelay.interleaved_sequence.") } else { String::new() };
        let message = format!("Source and peer draw other values from {done} sequences.{left}");
        Ok(one_row(name, task.shown().as_str(), message))
    })
}

fn ask(wait: &Wait, name: &str, question: Question, what: &str) -> Result<Task> {
    let task = tasks::get(name)?;
    if !task.attached {
        return Err(Error::new(Kind::WrongState, "no applier is attached: nobody can work on the peer").hint(how_to_attach()));
    }
    let asking = Asking::start(task.id, question)?;
    wait.for_answer(name, &asking, what, |_, _| Ok(()))
}
