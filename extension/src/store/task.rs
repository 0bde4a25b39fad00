//! Tasks: reading one, writing what the user wants of it.

use pgrelay_core::{
    Error, Result,
    error::Kind,
    state::{Actual, Desired, Standing},
};
use pgrx::{JsonB, datum::DatumWithOid, pg_sys::Oid, spi};

use super::{Row, execute, lineage::Lineage, not_null, read, write};

/// A task as it stands now.
pub struct Task {
    /// Its key.
    pub id: i64,
    /// Its patterns.
    pub include: Vec<String>,
    /// Its patterns.
    pub exclude: Vec<String>,
    /// Checked when they were stored.
    pub options: serde_json::Value,
    /// Who created it.
    pub owner: String,
    /// Of its source.
    pub system_identifier: i64,
    /// Of its source.
    pub database: Oid,
    /// What the user asked for last.
    pub desired: Desired,
    /// Whether the applier has still to take that up.
    pub pending: bool,
    /// Whether an applier has ever taken the task up.
    pub taken_up: bool,
    /// Whether a table's replica identity is still to be put back.
    pub holds_tables: bool,
    /// How far it is.
    pub actual: Actual,
    /// The last error, if it is in one.
    pub error: Option<(String, Option<String>)>,
    /// Whether an applier works on this database.
    pub attached: bool,
    /// Whether something of it may be on either side.
    pub begun: bool,
    /// Whether its forward direction has come to the stream.
    pub streams: bool,
    /// Its reverse direction.
    pub reverse: Reverse,
}

/// How far the reverse direction of a task is, where it has one.
pub struct Reverse {
    /// What the user asked of it last, while the task runs or rests.
    pub desired: Desired,
    /// Whether the applier has still to take that up.
    pub pending: bool,
    /// How far it is.
    pub actual: Actual,
    /// The last error, if it is in one.
    pub error: Option<(String, Option<String>)>,
    /// Whether something of it may be on either side.
    pub made: bool,
}

impl Task {
    /// Where it stands.
    pub fn standing(&self) -> Standing {
        Standing::of(self.desired, self.pending, self.actual)
    }

    /// Where its reverse direction stands, by the commands to that one alone.
    pub fn reverse_standing(&self) -> Standing {
        Standing::of(self.reverse.desired, self.reverse.pending, self.reverse.actual)
    }

    /// Whether something of it may exist outside its row.
    pub fn may_have_left_something(&self) -> bool {
        self.taken_up || self.holds_tables
    }

    /// The state to show: a stream without an applier does not keep up.
    pub fn shown(&self) -> Actual {
        if self.actual == Actual::Running && !self.attached { Actual::CatchingUp } else { self.actual }
    }
}

/// What `create_task` stores.
pub struct NewTask<'a> {
    /// Its name.
    pub name: &'a str,
    /// Connection string or foreign server.
    pub peer: &'a str,
    /// Patterns.
    pub include: Vec<String>,
    /// Patterns.
    pub exclude: Vec<String>,
    /// As given.
    pub options: JsonB,
    /// Who creates it.
    pub owner: String,
    /// Of this database.
    pub lineage: Lineage,
}

/// Reads a task, if there is one of that name.
pub fn find(name: &str) -> Result<Option<Task>> {
    Ok(read(include_str!("../../../sql/extension/read_task.sql"), &[name.into()], task)?.pop())
}

/// Reads a task. Errors: `UndefinedObject`.
pub fn get(name: &str) -> Result<Task> {
    find(name)?.ok_or_else(|| unknown(name))
}

/// Reads a task and keeps other commands from it until the end of the transaction. Errors: `UndefinedObject`.
pub fn lock(name: &str) -> Result<Task> {
    write(include_str!("../../../sql/extension/lock_task.sql"), &[name.into()], |r| not_null::<i64>(r, 1))?;
    get(name)
}

fn unknown(name: &str) -> Error {
    Error::new(Kind::UndefinedObject, format!("task \"{name}\" does not exist")).hint("See pgrelay.task_status for the tasks there are.")
}

fn task(row: &Row) -> spi::Result<Task> {
    let word = |ordinal| not_null::<String>(row, ordinal);
    let message: Option<String> = row.get(13)?;
    let hint: Option<String> = row.get(14)?;
    Ok(Task {
        id: not_null(row, 1)?,
        include: not_null(row, 2)?,
        exclude: not_null(row, 3)?,
        options: not_null::<JsonB>(row, 4)?.0,
        owner: word(5)?,
        system_identifier: not_null(row, 6)?,
        database: not_null(row, 7)?,
        desired: Desired::parse(&word(8)?).ok_or(spi::Error::InvalidPosition)?,
        pending: not_null(row, 9)?,
        taken_up: not_null(row, 10)?,
        holds_tables: not_null(row, 11)?,
        actual: Actual::parse(&word(12)?).ok_or(spi::Error::InvalidPosition)?,
        error: message.map(|message| (message, hint)),
        attached: not_null(row, 15)?,
        begun: not_null(row, 16)?,
        streams: not_null(row, 17)?,
        reverse: Reverse {
            desired: Desired::parse(&word(18)?).ok_or(spi::Error::InvalidPosition)?,
            pending: not_null(row, 19)?,
            actual: Actual::parse(&word(20)?).ok_or(spi::Error::InvalidPosition)?,
            error: row.get::<String>(21)?.map(|message| Ok::<_, spi::Error>((message, row.get(22)?))).transpose()?,
            made: not_null(row, 23)?,
        },
    })
}

/// Stores a task. Errors: `DuplicateObject`.
pub fn insert(task: NewTask) -> Result<()> {
    let args: [DatumWithOid; 9] = [
        task.name.into(),
        task.peer.into(),
        task.include.into(),
        task.exclude.into(),
        task.options.into(),
        task.owner.into(),
        task.lineage.system_identifier.into(),
        task.lineage.database.into(),
        task.lineage.timeline.into(),
    ];
    let stored = write(include_str!("../../../sql/extension/insert_task.sql"), &args, |r| not_null::<i64>(r, 1))?;
    if stored.is_empty() {
        return Err(Error::new(Kind::DuplicateObject, format!("task \"{}\" exists already", task.name))
            .hint("Choose another name, or drop_task the one there is."));
    }
    Ok(())
}

/// Writes what the user wants, and tells the applier.
pub fn desire(id: i64, desired: Desired, force: bool, timeline: Option<i32>) -> Result<()> {
    let args: [DatumWithOid; 4] = [id.into(), desired.as_str().into(), force.into(), timeline.into()];
    execute(include_str!("../../../sql/extension/set_desired.sql"), &args)?;
    notify(id)
}

/// Writes what the user wants of the reverse direction, and tells the applier.
pub fn desire_reverse(id: i64, desired: Desired) -> Result<()> {
    execute(include_str!("../../../sql/extension/set_reverse_desired.sql"), &[id.into(), desired.as_str().into()])?;
    notify(id)
}

/// Tells the applier, at commit, that there is something to see about a task.
pub fn notify(id: i64) -> Result<()> {
    execute("SELECT pg_catalog.pg_notify('pgrelay', $1::pg_catalog.text)", &[id.into()])
}

/// Replaces the options, and tells the applier.
pub fn set_options(id: i64, options: serde_json::Value) -> Result<()> {
    execute("UPDATE pgrelay.task SET options = $2 WHERE id = $1", &[id.into(), JsonB(options).into()])?;
    notify(id)
}

/// Removes the row of a task of which nothing else is left.
pub fn delete(id: i64) -> Result<()> {
    execute("DELETE FROM pgrelay.task WHERE id = $1", &[id.into()])
}

/// Writes an event of the extension.
pub fn event(task: &str, event: &str, message: &str) -> Result<()> {
    execute(include_str!("../../../sql/extension/write_event.sql"), &[task.into(), event.into(), message.into()])
}
