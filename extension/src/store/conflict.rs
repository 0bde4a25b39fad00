//! Policies for some conflicts of a task, and the transactions that it leaves out.

use pgrelay_core::{
    Error, Lsn, Result,
    conflict::{Direction, Kind, Policy, Set, SetOption, Setting},
    error::Kind as ErrorKind,
    name::{Selection, TableName},
    task::Options,
};
use pgrx::datum::DatumWithOid;

use super::{execute, not_null, read, selection, task::Task, write};

/// Checks that a task carries the rows of a table. Run as the extension's owner.
///
/// Errors: `UndefinedObject` for a table that does not exist, `InvalidValue` for one that the task does not select.
pub fn check_table(name: &str, task: &Task, table: &TableName) -> Result<()> {
    let args: [DatumWithOid; 2] = [table.schema.as_str().into(), table.name.as_str().into()];
    let exists = read(include_str!("../../../sql/extension/table_exists.sql"), &args, |r| not_null::<bool>(r, 1))?;
    if !exists.contains(&true) {
        return Err(Error::new(ErrorKind::UndefinedObject, format!("table {} does not exist", table.quoted()))
            .hint("Give schema.table; a name that is not in lower case is double-quoted. See \\dt *.* in psql."));
    }
    let selected = Selection::parse(&task.include, &task.exclude)?;
    if selection::carries(&selected, &Options::from_json(&task.options)?, table)? {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidValue, format!("table {} is no table of task \"{name}\"", table.quoted()))
        .detail("The task's include and exclude leave it out.")
        .hint("Call pgrelay.dependency_order() with them for what the task carries."))
}

/// Stores a policy for some conflicts, or takes one back; false when there was none to take back.
pub fn set_policy(task: i64, set: &Set) -> Result<bool> {
    let mut args: Vec<DatumWithOid> = vec![
        task.into(),
        set.table.as_ref().map(|t| t.schema.as_str()).into(),
        set.table.as_ref().map(|t| t.name.as_str()).into(),
        set.kind.map(Kind::as_str).into(),
        set.direction.map(Direction::as_str).into(),
    ];
    match set.policy.map(Policy::as_str) {
        None => {
            let gone = write(include_str!("../../../sql/extension/unset_policy.sql"), &args, |r| not_null::<bool>(r, 1))?;
            Ok(!gone.is_empty())
        }
        Some(policy) => {
            args.push(policy.into());
            execute(include_str!("../../../sql/extension/set_policy.sql"), &args).map(|()| true)
        }
    }
}

/// Stores an option for some changes, or takes one back; false when there was none to take back.
pub fn set_option(task: i64, set: &SetOption) -> Result<bool> {
    let mut args: Vec<DatumWithOid> = vec![
        task.into(),
        set.option.into(),
        set.table.as_ref().map(|t| t.schema.as_str()).into(),
        set.table.as_ref().map(|t| t.name.as_str()).into(),
        set.direction.map(Direction::as_str).into(),
    ];
    match set.setting.map(Setting::value) {
        None => {
            let gone = write(include_str!("../../../sql/extension/unset_conflict_option.sql"), &args, |r| not_null::<bool>(r, 1))?;
            Ok(!gone.is_empty())
        }
        Some(value) => {
            args.push(value.into());
            execute(include_str!("../../../sql/extension/set_conflict_option.sql"), &args).map(|()| true)
        }
    }
}

/// The name of the task that a record of a conflict belongs to.
pub fn task_of(record: i64) -> Result<Option<String>> {
    let sql = "SELECT t.name FROM pgrelay.task_conflict c JOIN pgrelay.task t ON t.id = c.task_id WHERE c.id = $1";
    Ok(read(sql, &[record.into()], |r| not_null::<String>(r, 1))?.into_iter().next())
}

/// What became of a wish to leave a transaction out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// It is noted now.
    Noted,
    /// It was noted before.
    NotedBefore,
    /// Nothing has been written at that position yet.
    Ahead,
    /// It is applied already.
    Applied,
}

/// Notes that a transaction is left out, unless it cannot be.
pub fn skip(task: i64, direction: Direction, commit: Lsn, role: &str) -> Result<Skip> {
    let args: [DatumWithOid; 4] = [task.into(), commit.to_string().into(), role.into(), direction.as_str().into()];
    let found = write(include_str!("../../../sql/extension/insert_skip.sql"), &args, |r| {
        Ok((not_null::<bool>(r, 1)?, not_null::<bool>(r, 2)?, not_null::<bool>(r, 3)?))
    })?;
    match found.first() {
        Some((true, ..)) => Ok(Skip::Ahead),
        Some((_, true, _)) => Ok(Skip::Applied),
        Some((.., true)) => Ok(Skip::Noted),
        Some(_) => Ok(Skip::NotedBefore),
        None => Err(Error::new(ErrorKind::Internal, "the task that was locked is gone")),
    }
}
