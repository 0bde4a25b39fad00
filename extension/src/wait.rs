//! Functions for scripts that wait: `wait_for_state`, `wait_for_catchup`, and `precheck` and `verify_schema`, which wait for the
//! applier's part.
//!
//! They read with fresh snapshots about twenty times a second and end at an interrupt. In a transaction that has written they raise
//! at once: the applier could wait for that very transaction.

use std::time::{Duration, Instant};

use pgrelay_core::{
    Error, Result,
    conflict::Direction,
    error::Kind,
    state::{Actual, Desired, Standing, can_become},
    task::Options,
};
use pgrx::{datum::Interval, iter::TableIterator, pg_sys, prelude::*};

use crate::{
    direction,
    report::{or_raise, required},
    request::Asking,
    store::{
        as_owner,
        request::{self, Answer, DifferenceRow, FindingRow, Question},
        task::{self as tasks, Task},
    },
    task::how_to_attach,
};

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Waits until a task has come to a state.
#[pg_extern(schema = "pgrelay")]
#[search_path(pg_catalog, pg_temp)]
fn wait_for_state(
    name: Option<&str>,
    state: Option<&str>,
    timeout: default!(Option<Interval>, "'1 h'"),
    direction: default!(Option<&str>, "'forward'"),
) -> TableIterator<'static, (name!(task, String), name!(state, String), name!(message, String))> {
    let (name, state) = or_raise(match or_raise(required("direction", direction).and_then(direction::parse)) {
        Direction::Forward => await_state(name, state, timeout),
        Direction::Reverse => await_reverse_state(name, state, timeout),
    });
    TableIterator::once((name.to_owned(), state.to_owned(), "The task has come to this state.".to_owned()))
}

/// Waits until everything committed before the call is visible on the peer.
#[pg_extern(schema = "pgrelay")]
#[search_path(pg_catalog, pg_temp)]
fn wait_for_catchup(
    name: Option<&str>,
    timeout: default!(Option<Interval>, "'1 h'"),
    direction: default!(Option<&str>, "NULL"),
) -> TableIterator<'static, (name!(task, String), name!(state, String), name!(message, String))> {
    let (name, state, message) = or_raise(await_catchup(name, timeout, direction));
    TableIterator::once((name.to_owned(), state.as_str().to_owned(), message.to_owned()))
}

/// Has both sides checked and returns what was found.
#[pg_extern(schema = "pgrelay")]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn precheck(
    name: Option<&str>,
    timeout: default!(Option<Interval>, "'10 min'"),
) -> TableIterator<
    'static,
    (name!(item, String), name!(severity, String), name!(object, String), name!(message, String), name!(fix, Option<String>)),
> {
    TableIterator::new(or_raise(run_precheck(name, timeout)))
}

/// Compares the structure of source and peer.
#[pg_extern(schema = "pgrelay")]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn verify_schema(
    name: Option<&str>,
    timeout: default!(Option<Interval>, "'10 min'"),
) -> TableIterator<'static, (name!(kind, String), name!(identity, String), name!(difference, String), name!(fix, Option<String>))> {
    TableIterator::new(or_raise(run_verify(name, timeout)))
}

fn await_state<'a>(name: Option<&'a str>, state: Option<&'a str>, timeout: Option<Interval>) -> Result<(&'a str, &'a str)> {
    let name = required("name", name)?;
    let word = required("state", state)?;
    let wanted = Actual::parse(word);
    if wanted.is_none() && word != "dropped" {
        let known = Actual::ALL.map(Actual::as_str).join(", ");
        return Err(
            Error::new(Kind::InvalidValue, format!("\"{word}\" is not a state of a task")).hint(format!("States are {known}, dropped."))
        );
    }
    let wait = Wait::begin("wait_for_state", timeout)?;
    as_owner(|| {
        loop {
            let task = match (tasks::find(name)?, wanted) {
                (None, None) => return Ok((name, word)),
                (None, Some(_)) => return tasks::get(name).map(|_| (name, word)),
                (Some(task), _) => task,
            };
            if !task.pending && Some(task.shown()) == wanted {
                return Ok((name, word));
            }
            if !may_come(&task, wanted)? {
                return Err(cannot_come(name, &task, &format!("come to state \"{word}\"")));
            }
            wait.look_again(|| format!("task \"{name}\" did not come to state \"{word}\" in time"), &task, task.shown())?;
        }
    })
}

/// Whether the task can still come to the state, `None` for being dropped.
fn may_come(task: &Task, wanted: Option<Actual>) -> Result<bool> {
    let stages = Options::from_json(&task.options)?.stages;
    Ok(match wanted {
        Some(wanted) => can_become(task.desired, task.pending, task.actual, stages, wanted),
        None => task.standing() == Standing::Dropping && (task.pending || task.actual != Actual::Failed),
    })
}

/// The reverse direction has no life of its own before the forward one runs: until then it is waited for.
fn await_reverse_state<'a>(name: Option<&'a str>, state: Option<&'a str>, timeout: Option<Interval>) -> Result<(&'a str, &'a str)> {
    let name = required("name", name)?;
    let word = required("state", state)?;
    let wanted = Actual::parse(word).ok_or_else(|| {
        Error::new(Kind::InvalidValue, format!("\"{word}\" is not a state of a direction")).hint("See pgrelay.task_status.")
    })?;
    let wait = Wait::begin("wait_for_state", timeout)?;
    as_owner(|| {
        loop {
            let task = tasks::get(name)?;
            direction::has_reverse(name, &task)?;
            if !task.reverse.pending && task.reverse.actual == wanted {
                return Ok((name, word));
            }
            let stages = Options::from_json(&task.options)?.stages;
            let (desired, pending, actual) = (task.reverse.desired, task.reverse.pending, task.reverse.actual);
            if !can_become(desired, pending, actual, stages, wanted) || !matches!(task.desired, Desired::Run | Desired::Pause) {
                return Err(reverse_cannot_come(name, &task, &format!("come to state \"{word}\"")));
            }
            let timed_out = || format!("the reverse direction of task \"{name}\" did not come to state \"{word}\" in time");
            wait.look_again(timed_out, &task, actual)?;
        }
    })
}

fn reverse_cannot_come(name: &str, task: &Task, what: &str) -> Error {
    let error = Error::new(Kind::WrongState, format!("the reverse direction of task \"{name}\" cannot {what} without another command"));
    let (state, last) = (task.reverse.actual, task.reverse.desired);
    match &task.reverse.error {
        Some((message, hint)) => {
            let error = error.detail(format!("Its state is {state}, and its error: {message}."));
            if let Some(hint) = hint { error.hint(hint) } else { error }
        }
        None => error
            .detail(format!("Its state is {state}, and the last command was: {last}."))
            .hint("See pgrelay.task_status; pause_task and resume_task give commands to one direction."),
    }
}

/// Errors when the reverse direction is not on its way.
fn check_reverse(name: &str, task: &Task) -> Result<()> {
    direction::has_reverse(name, task)?;
    match task.reverse_standing() {
        Standing::Starting | Standing::Active if matches!(task.desired, Desired::Run | Desired::Pause) => Ok(()),
        _ => Err(reverse_cannot_come(name, task, "catch up")),
    }
}

/// Waits for one direction, or for all there are: first forward, then reverse.
fn await_catchup<'a>(name: Option<&'a str>, timeout: Option<Interval>, only: Option<&str>) -> Result<(&'a str, Actual, String)> {
    const FORWARD: &str = "Everything committed on the source before the call is visible on the peer.";
    const REVERSE: &str = "Everything committed on the peer before the call is visible on the source.";
    let name = required("name", name)?;
    let only = only.map(direction::parse).transpose()?;
    let wait = Wait::begin("wait_for_catchup", timeout)?;
    let is_two_way = as_owner(|| Options::from_json(&tasks::get(name)?.options).map(|options| options.is_two_way()))?;
    let (mut state, mut said) = (None, vec![]);
    if only != Some(Direction::Reverse) {
        state = Some(forward_catchup(name, &wait)?);
        said.push(FORWARD);
    }
    if only == Some(Direction::Reverse) || (only.is_none() && is_two_way) {
        let reverse = reverse_catchup(name, &wait)?;
        state = state.or(Some(reverse));
        said.push(REVERSE);
    }
    Ok((name, state.unwrap_or(Actual::Running), said.join(" ")))
}

fn reverse_catchup(name: &str, wait: &Wait) -> Result<Actual> {
    as_owner(|| {
        let first = tasks::get(name)?;
        check_reverse(name, &first)?;
        let asking = Asking::start(first.id, Question::CatchupReverse)?;
        wait.for_answer(name, &asking, "catch up", check_reverse).map(|task| task.reverse.actual)
    })
}

fn forward_catchup(name: &str, wait: &Wait) -> Result<Actual> {
    as_owner(|| {
        let first = tasks::get(name)?;
        if !Options::from_json(&first.options)?.stages.stream {
            return Err(Error::new(Kind::WrongState, format!("task \"{name}\" has no stream to catch up"))
                .hint("Wait for its end with wait_for_state(name, 'finished')."));
        }
        check_streams(name, &first)?;
        let asking = Asking::start(first.id, Question::Catchup)?;
        wait.for_answer(name, &asking, "catch up", check_streams).map(|task| task.shown())
    })
}

/// Errors when the task is not on its way.
fn check_streams(name: &str, task: &Task) -> Result<()> {
    match task.standing() {
        Standing::Starting | Standing::Active => Ok(()),
        _ => Err(cannot_come(name, task, "catch up")),
    }
}

fn run_verify(name: Option<&str>, timeout: Option<Interval>) -> Result<Vec<DifferenceRow>> {
    let name = required("name", name)?;
    let wait = Wait::begin("verify_schema", timeout)?;
    as_owner(|| {
        let task = tasks::get(name)?;
        if !task.attached {
            return Err(Error::new(Kind::WrongState, "no applier is attached: nobody can look at the peer").hint(how_to_attach()));
        }
        let asking = Asking::start(task.id, Question::Verify)?;
        wait.for_answer(name, &asking, "have its schema compared", |_, _| Ok(()))?;
        request::differences(&asking.token)
    })
}

fn run_precheck(name: Option<&str>, timeout: Option<Interval>) -> Result<Vec<FindingRow>> {
    let name = required("name", name)?;
    let wait = Wait::begin("precheck", timeout)?;
    as_owner(|| {
        let task = tasks::get(name)?;
        if !task.attached {
            return Err(Error::new(Kind::WrongState, "no applier is attached: nobody can look at the peer").hint(how_to_attach()));
        }
        let asking = Asking::start(task.id, Question::Precheck)?;
        wait.for_answer(name, &asking, "be prechecked", |_, _| Ok(()))?;
        request::findings(task.id)
    })
}

/// Why waiting is in vain: where the task stands, and the error that brought it there.
fn cannot_come(name: &str, task: &Task, what: &str) -> Error {
    let error = Error::new(Kind::WrongState, format!("task \"{name}\" cannot {what} without another command"));
    match &task.error {
        Some((message, hint)) => {
            let error = error.detail(format!("Its state is {}, and its error: {message}.", task.actual));
            if let Some(hint) = hint { error.hint(hint) } else { error }
        }
        None => error
            .detail(format!("Its state is {}, and the last command was: {}.", task.actual, task.desired))
            .hint("See pgrelay.task_status; start_task, resume_task, pause_task, stop_task and drop_task give commands."),
    }
}

/// One wait with its deadline.
pub struct Wait {
    deadline: Option<Instant>,
}

impl Wait {
    /// Errors: `InvalidValue` for the timeout, `WrongState` in a transaction in which waiting would be in vain.
    pub fn begin(function: &str, timeout: Option<Interval>) -> Result<Wait> {
        let micros = required("timeout", timeout)?.as_micros();
        let micros = u64::try_from(micros).map_err(|_| {
            Error::new(Kind::InvalidValue, "argument \"timeout\" is negative or too long").hint("Give an interval such as '10 min'.")
        })?;
        // SAFETY: plain reads of the backend's own state.
        let (isolated, writing) = unsafe {
            (pg_sys::XactIsoLevel > pg_sys::XACT_READ_COMMITTED as i32, pg_sys::GetTopTransactionIdIfAny() != pg_sys::InvalidTransactionId)
        };
        let refuse = |why: &str| {
            Error::new(Kind::WrongState, format!("{function} cannot run in this transaction"))
                .detail(why)
                .hint("Call it in a transaction of its own, as psql does outside BEGIN.")
        };
        if isolated {
            return Err(refuse("It runs above READ COMMITTED and would never see the task change."));
        }
        if writing {
            return Err(refuse("It has written, and the applier may have to wait for its end."));
        }
        Ok(Wait { deadline: Instant::now().checked_add(Duration::from_micros(micros)) })
    }

    /// Waits for the applier's answer; `check` ends the wait when the task no longer allows one.
    pub fn for_answer(&self, name: &str, asking: &Asking, what: &str, check: impl Fn(&str, &Task) -> Result<()>) -> Result<Task> {
        loop {
            // In this order: a worker that has ended has committed, if it ever will.
            let ended = asking.has_ended();
            let answer = request::answer(&asking.token)?;
            let task = tasks::get(name)?;
            match answer {
                Answer::Done => return Ok(task),
                Answer::Failed(error) => return Err(error),
                Answer::NotAsked if ended => {
                    return Err(Error::new(Kind::Internal, format!("the question about task \"{name}\" could not be written"))
                        .hint("See the server's log for the error of the worker \"pgrelay request\"."));
                }
                Answer::NotAsked | Answer::Waiting => check(name, &task)?,
            }
            self.look_again(|| format!("task \"{name}\" did not {what} in time"), &task, task.shown())?;
        }
    }

    /// Sleeps a little. Errors: `Timeout`, which tells the state.
    fn look_again(&self, timed_out: impl Fn() -> String, task: &Task, state: Actual) -> Result<()> {
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            let error = Error::new(Kind::Timeout, timed_out()).detail(format!("Its state is {state}."));
            return Err(if task.attached {
                error.hint("See pgrelay.task_status and pgrelay.event for what it does.")
            } else {
                error.hint(format!("No applier is attached. {}", how_to_attach()))
            });
        }
        let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
        // SAFETY: the backend's own latch.
        unsafe {
            pg_sys::WaitLatch(pg_sys::MyLatch, events as i32, LOOK_EVERY.as_millis() as i64, pg_sys::PG_WAIT_EXTENSION);
            pg_sys::ResetLatch(pg_sys::MyLatch);
        }
        pg_sys::check_for_interrupts!();
        Ok(())
    }
}
