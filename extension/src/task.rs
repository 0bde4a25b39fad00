//! The life cycle: `create_task`, `start_task`, `pause_task`, `resume_task`, `stop_task`, `drop_task`, `alter_task`.
//!
//! Each checks, writes the user's wish, an event and a notification in the caller's transaction, and returns one row to read.

use pgrelay_core::{
    Error, Result,
    conflict::Direction,
    error::Kind,
    name::Selection,
    state::{self, Command, Desired, Outcome, Standing},
    task::{
        Options,
        alter::{self, Moment},
        check_name,
    },
};
use pgrx::prelude::*;
use pgrx::{JsonB, iter::TableIterator, pg_sys::Oid};

use crate::{
    direction,
    report::{or_raise, required, required_list, warn},
    store::{
        self, as_owner, as_role,
        lineage::{self, Lineage},
        peer, selection,
        task::{self as tasks, NewTask, Task},
    },
};

/// How to start an applier for this database, as a hint.
pub fn how_to_attach() -> String {
    let database = store::database_name().unwrap_or_else(|_| "…".to_owned());
    format!("Start one with: pgrelay-applier run --source 'dbname={database}'")
}

/// What a command returns: the task, its state now, what follows.
pub type Rows = TableIterator<'static, (name!(task, String), name!(state, String), name!(message, String))>;
type Patterns = Option<Vec<Option<String>>>;

/// The row of a command.
pub fn one_row(task: &str, state: &str, message: impl Into<String>) -> Rows {
    TableIterator::once((task.to_owned(), state.to_owned(), message.into()))
}

/// Stores a task; nothing starts yet.
#[pg_extern(schema = "pgrelay")]
#[search_path(pg_catalog, pg_temp)]
fn create_task(
    name: Option<&str>,
    peer: Option<&str>,
    include: default!(Option<Vec<Option<String>>>, "'{*}'"),
    exclude: default!(Option<Vec<Option<String>>>, "'{}'"),
    options: default!(Option<JsonB>, "'{}'"),
) -> TableIterator<'static, (name!(task, String), name!(state, String), name!(message, String))> {
    let (name, tables) = or_raise(create(name, peer, include, exclude, options));
    one_row(name, "created", format!("Created with {tables} tables. Call start_task to begin."))
}

/// Starts a task.
#[pg_extern(schema = "pgrelay")]
#[search_path(pg_catalog, pg_temp)]
fn start_task(name: Option<&str>) -> TableIterator<'static, (name!(task, String), name!(state, String), name!(message, String))> {
    or_raise(command(Command::Start, name, false))
}

/// Stores a task and starts it.
#[pg_extern(name = "start_task", schema = "pgrelay")]
#[search_path(pg_catalog, pg_temp)]
fn start_new_task(
    name: Option<&str>,
    peer: Option<&str>,
    include: default!(Option<Vec<Option<String>>>, "'{*}'"),
    exclude: default!(Option<Vec<Option<String>>>, "'{}'"),
    options: default!(Option<JsonB>, "'{}'"),
) -> TableIterator<'static, (name!(task, String), name!(state, String), name!(message, String))> {
    or_raise(create(name, peer, include, exclude, options));
    or_raise(command(Command::Start, name, false))
}

/// Puts a task to rest; slot and position are kept.
#[pg_extern(schema = "pgrelay")]
#[search_path(pg_catalog, pg_temp)]
fn pause_task(
    name: Option<&str>,
    direction: default!(Option<&str>, "NULL"),
) -> TableIterator<'static, (name!(task, String), name!(state, String), name!(message, String))> {
    or_raise(command_to(Command::Pause, name, direction))
}

/// Lets a paused or failed task go on.
#[pg_extern(schema = "pgrelay")]
#[search_path(pg_catalog, pg_temp)]
fn resume_task(
    name: Option<&str>,
    direction: default!(Option<&str>, "NULL"),
) -> TableIterator<'static, (name!(task, String), name!(state, String), name!(message, String))> {
    or_raise(command_to(Command::Resume, name, direction))
}

/// Ends a task and cleans up both sides; the rows on the peer stay.
#[pg_extern(schema = "pgrelay")]
#[search_path(pg_catalog, pg_temp)]
fn stop_task(name: Option<&str>) -> TableIterator<'static, (name!(task, String), name!(state, String), name!(message, String))> {
    or_raise(command(Command::Stop, name, false))
}

/// Ends a task, cleans up both sides and forgets it. With `force` a peer that is gone does not hold it up.
#[pg_extern(schema = "pgrelay")]
#[search_path(pg_catalog, pg_temp)]
fn drop_task(
    name: Option<&str>,
    force: default!(Option<bool>, "false"),
) -> TableIterator<'static, (name!(task, String), name!(state, String), name!(message, String))> {
    or_raise(required("force", force).and_then(|force| command(Command::Drop, name, force)))
}

/// Replaces options of a task: keys that are not named keep their value.
#[pg_extern(schema = "pgrelay")]
#[search_path(pg_catalog, pg_temp)]
fn alter_task(
    name: Option<&str>,
    options: Option<JsonB>,
) -> TableIterator<'static, (name!(task, String), name!(state, String), name!(message, String))> {
    or_raise(alter(name, options))
}

/// Checks with the caller's rights, then stores. Returns the name and the number of tables selected now.
fn create<'a>(
    name: Option<&'a str>,
    peer: Option<&str>,
    include: Patterns,
    exclude: Patterns,
    options: Option<JsonB>,
) -> Result<(&'a str, usize)> {
    let name = required("name", name)?;
    let peer = required("peer", peer)?;
    let include = required_list("include", include)?;
    let exclude = required_list("exclude", exclude)?;
    let options = required("options", options)?;
    check_name(name)?;
    let checked = Options::from_json(&options.0)?;
    peer::check(peer)?;
    let tables = selection::check(&include, &Selection::parse(&include, &exclude)?, &checked)?;
    let owner = store::current_user()?;
    as_owner(|| {
        let lineage = lineage::current()?;
        tasks::insert(NewTask { name, peer, include, exclude, options, owner: owner.clone(), lineage })?;
        tasks::event(name, "command", &format!("create_task by role \"{owner}\""))
    })?;
    Ok((name, tables))
}

/// Gives a command to a task.
fn command(command: Command, name: Option<&str>, force: bool) -> Result<Rows> {
    let name = required("name", name)?;
    let caller = store::current_user()?;
    as_owner(|| {
        let task = tasks::lock(name)?;
        let lineage = lineage::current()?;
        let elsewhere = task.system_identifier != lineage.system_identifier || task.database != lineage.database;
        let outcome = match (command, elsewhere) {
            // What the task left is elsewhere and belongs to the task there.
            (Command::Drop, true) => Outcome::DeleteNow,
            (Command::Start | Command::Resume, true) => return Err(made_elsewhere(name)),
            _ => state::apply(command, name, task.standing(), task.may_have_left_something())?,
        };
        if command == Command::Start {
            check_owner_may_read(name, &task)?;
        }
        let left_something = task.holds_tables && !elsewhere;
        let outcome = if outcome == Outcome::DeleteNow && left_something { Outcome::Desire(Desired::Drop) } else { outcome };
        tasks::event(name, "command", &format!("{}{} by role \"{caller}\"", command.function(), if force { " (force)" } else { "" }))?;
        carry_out(name, &task, command, outcome, force, lineage)
    })
}

/// Pauses or resumes a task: one direction of it, or all that can be.
fn command_to(to_do: Command, name: Option<&str>, direction: Option<&str>) -> Result<Rows> {
    let name = required("name", name)?;
    let wanted = direction.map(direction::parse).transpose()?;
    if wanted == Some(Direction::Forward) {
        return command(to_do, Some(name), false);
    }
    let caller = store::current_user()?;
    let reverse = as_owner(|| {
        let task = tasks::lock(name)?;
        if let (None, Err(no)) = (wanted, direction::check(to_do, name, &task)) {
            return Ok(Err(no));
        }
        direction::command(to_do, name, &task)?;
        tasks::event(name, "command", &format!("{} (reverse) by role \"{caller}\"", to_do.function()))?;
        Ok(Ok(one_row(name, task.reverse.actual.as_str(), format!("The reverse direction is told to be {}.", to_do.participle()))))
    })?;
    match (wanted, reverse) {
        (Some(_), reverse) => reverse,
        // One direction that can be told is enough: the other one stays as it is.
        (None, Ok(rows)) => Ok(as_owner(|| tasks::get(name).map(|task| can_be(to_do, name, &task)))
            .and_then(|can| if can { command(to_do, Some(name), false) } else { Ok(rows) })?),
        (None, Err(_)) => command(to_do, Some(name), false),
    }
}

fn can_be(command: Command, name: &str, task: &Task) -> bool {
    state::apply(command, name, task.standing(), task.may_have_left_something()).is_ok()
}

fn carry_out(name: &str, task: &Task, command: Command, outcome: Outcome, force: bool, lineage: Lineage) -> Result<Rows> {
    let Outcome::Desire(desired) = outcome else {
        tasks::delete(task.id)?;
        return Ok(one_row(name, "dropped", "The task is gone."));
    };
    let timeline = (command == Command::Start).then_some(lineage.timeline);
    tasks::desire(task.id, desired, force, timeline)?;
    if command == Command::Start {
        tasks::desire_reverse(task.id, Desired::Run)?;
    }
    if !task.attached {
        warn(Error::new(Kind::WrongState, format!("no applier is attached: task \"{name}\" waits for one")).hint(how_to_attach()));
    }
    let message = match command {
        Command::Start => "Told to start. See pgrelay.task_status for how far it is.",
        Command::Pause => "Told to pause. Slot and position are kept; WAL of the source is held until it is resumed or stopped.",
        Command::Resume => "Told to go on.",
        Command::Stop => "Told to stop. Slot, publication and origin will be removed; the rows on the peer stay.",
        Command::Drop => "Told to drop. The task is gone when both sides are cleaned up; wait with wait_for_state(name, 'dropped').",
    };
    Ok(one_row(name, task.shown().as_str(), message))
}

fn alter(name: Option<&str>, options: Option<JsonB>) -> Result<Rows> {
    let name = required("name", name)?;
    let serde_json::Value::Object(changes) = required("options", options)?.0 else {
        return Err(Error::new(Kind::InvalidValue, "options is not a JSON object").hint("Give options such as '{\"copy_jobs\": 8}'."));
    };
    let caller = store::current_user()?;
    as_owner(|| {
        let task = tasks::lock(name)?;
        if task.standing() == Standing::Dropping {
            return Err(is_being_dropped(name));
        }
        let keys: Vec<String> = changes.keys().cloned().collect();
        let merged = alter::merge(&task.options, changes)?;
        let (old, new) = (Options::from_json(&task.options)?, Options::from_json(&merged)?);
        if task.reverse.made && new.is_two_way() && !old.is_two_way() {
            return Err(still_going(name));
        }
        alter::check_change(name, moment(&task), task.reverse.made, &old, &new)?;
        tasks::set_options(task.id, merged)?;
        if new.is_two_way() && !old.is_two_way() {
            // What was asked of an earlier reverse direction went with it.
            tasks::desire_reverse(task.id, Desired::Run)?;
        }
        tasks::event(name, "command", &format!("alter_task ({}) by role \"{caller}\"", keys.join(", ")))?;
        Ok(one_row(name, task.shown().as_str(), takes_effect(&task)))
    })
}

/// Whether options that decide what is made may change. An applier that has read the task just before this commits hears of the
/// change at once, long before its precheck is done, and begins again.
fn moment(task: &Task) -> Moment {
    match task.standing() {
        Standing::Created | Standing::PrecheckFailed | Standing::Finished | Standing::Stopped => Moment::Untouched,
        Standing::Stopping | Standing::Dropping => Moment::Begun,
        _ if task.streams => Moment::Streams,
        _ if task.begun => Moment::Begun,
        Standing::Paused | Standing::Failed => Moment::Untouched,
        Standing::Starting if !task.attached => Moment::Untouched,
        Standing::Starting | Standing::Active | Standing::Pausing => Moment::Beginning,
    }
}

/// When a change of what a task goes by is heeded.
pub fn takes_effect(task: &Task) -> &'static str {
    match task.standing() {
        Standing::Active | Standing::Starting if task.attached => {
            "Takes effect at once: the task goes on. acknowledge_warnings counts at its next precheck."
        }
        Standing::Active | Standing::Starting => "Takes effect when an applier is attached.",
        _ => "Takes effect at the next start_task or resume_task.",
    }
}

/// Nothing can be changed of such a task.
pub fn is_being_dropped(name: &str) -> Error {
    Error::new(Kind::WrongState, format!("task \"{name}\" is being dropped")).hint("Create a task with create_task.")
}

/// What it carried is not what the next one may carry.
fn still_going(name: &str) -> Error {
    Error::new(Kind::WrongState, format!("the reverse direction that task \"{name}\" had is still being taken away"))
        .hint("It goes when the forward direction has passed what it wrote. Wait until pgrelay.task_status has no row of it, then call this again.")
}

fn made_elsewhere(name: &str) -> Error {
    Error::new(Kind::WrongState, format!("task \"{name}\" was made in another database"))
        .detail("This database is a restored dump or a copy: its system identifier or oid is not the one stored with the task.")
        .hint("Call drop_task, which touches nothing but the row, and create_task for this database.")
}

/// Who created the task must still be able to read what it selects, whoever starts it.
fn check_owner_may_read(name: &str, task: &Task) -> Result<()> {
    let sql = "SELECT oid FROM pg_catalog.pg_roles WHERE rolname = $1";
    let role = store::read(sql, &[task.owner.as_str().into()], |r| store::not_null::<Oid>(r, 1))?;
    let role = *role.first().ok_or_else(|| {
        Error::new(Kind::UndefinedObject, format!("role \"{}\", which created task \"{name}\", does not exist", task.owner))
            .hint("Call drop_task and create the task anew.")
    })?;
    let selection = Selection::parse(&task.include, &task.exclude)?;
    let options = Options::from_json(&task.options)?;
    as_role(role, || selection::check(&task.include, &selection, &options)).map(|_| ())
}
