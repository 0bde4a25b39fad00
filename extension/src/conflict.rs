//! How conflicts are decided: `set_conflict_policy`, `set_conflict_option`; and what is left out: `skip_transaction`.

use pgrelay_core::{
    Error, Result,
    conflict::{Direction, Policy, Set, SetOption},
    error::Kind,
    state::Standing,
    task::{Options, alter},
};
use pgrx::prelude::*;

use crate::{
    direction,
    lsn::PgLsn,
    report::{or_raise, required},
    store::{
        self, as_owner,
        conflict::{self as conflicts, Skip},
        task::{self as tasks, Task},
    },
    task::{Rows, is_being_dropped, one_row, takes_effect},
};

/// Sets the policy of a task's conflicts: of all, or of those of a table, a kind, a direction.
#[pg_extern(schema = "pgrelay")]
#[search_path(pg_catalog, pg_temp)]
fn set_conflict_policy(
    name: Option<&str>,
    policy: Option<&str>,
    table: default!(Option<&str>, "NULL"),
    kind: default!(Option<&str>, "NULL"),
    direction: default!(Option<&str>, "NULL"),
) -> TableIterator<'static, (name!(task, String), name!(state, String), name!(message, String))> {
    or_raise(set(name, policy, table, kind, direction))
}

/// Sets the option `strict` or `update_missing` of a task: for all changes, or for those of a table, a direction.
#[pg_extern(schema = "pgrelay")]
#[search_path(pg_catalog, pg_temp)]
fn set_conflict_option(
    name: Option<&str>,
    option: Option<&str>,
    value: Option<&str>,
    table: default!(Option<&str>, "NULL"),
    direction: default!(Option<&str>, "NULL"),
) -> TableIterator<'static, (name!(task, String), name!(state, String), name!(message, String))> {
    or_raise(set_option(name, option, value, table, direction))
}

/// Leaves one transaction of a failed or paused task out.
#[pg_extern(schema = "pgrelay")]
#[search_path(pg_catalog, pg_temp)]
fn skip_transaction(
    name: Option<&str>,
    commit_lsn: Option<PgLsn>,
    direction: default!(Option<&str>, "'forward'"),
) -> TableIterator<'static, (name!(task, String), name!(state, String), name!(message, String))> {
    or_raise(skip(name, commit_lsn, direction))
}

fn set(name: Option<&str>, policy: Option<&str>, table: Option<&str>, kind: Option<&str>, direction: Option<&str>) -> Result<Rows> {
    let name = required("name", name)?;
    let set = Set::parse(required("policy", policy)?, table, kind, direction)?;
    let caller = store::current_user()?;
    as_owner(|| {
        let task = tasks::lock(name)?;
        if task.standing() == Standing::Dropping {
            return Err(is_being_dropped(name));
        }
        // What was set for a table that is gone can be taken back.
        if let (Some(table), Some(_)) = (&set.table, set.policy) {
            conflicts::check_table(name, &task, table)?;
        }
        if set.is_for_all() {
            let value = set.policy.map_or(serde_json::Value::Null, |policy| policy.as_str().into());
            let changes = [("conflict_policy".to_owned(), value)].into_iter().collect();
            tasks::set_options(task.id, alter::merge(&task.options, changes)?)?;
        } else if conflicts::set_policy(task.id, &set)? {
            tasks::notify(task.id)?;
        } else {
            return Ok(one_row(name, task.shown().as_str(), "Nothing to take back: no policy is set for just these."));
        }
        tasks::event(name, "command", &format!("set_conflict_policy ({set}) by role \"{caller}\""))?;
        Ok(one_row(name, task.shown().as_str(), policy_counts(&task, &set)))
    })
}

fn set_option(name: Option<&str>, option: Option<&str>, value: Option<&str>, table: Option<&str>, direction: Option<&str>) -> Result<Rows> {
    let name = required("name", name)?;
    let set = SetOption::parse(required("option", option)?, required("value", value)?, table, direction)?;
    let caller = store::current_user()?;
    as_owner(|| {
        let task = tasks::lock(name)?;
        if task.standing() == Standing::Dropping {
            return Err(is_being_dropped(name));
        }
        // What was set for a table that is gone can be taken back.
        if let (Some(table), Some(_)) = (&set.table, set.setting) {
            conflicts::check_table(name, &task, table)?;
        }
        if set.is_for_all() {
            let changes = [(set.option.to_owned(), set.json())].into_iter().collect();
            tasks::set_options(task.id, alter::merge(&task.options, changes)?)?;
        } else if conflicts::set_option(task.id, &set)? {
            tasks::notify(task.id)?;
        } else {
            return Ok(one_row(name, task.shown().as_str(), "Nothing to take back: the option is not set for just these."));
        }
        tasks::event(name, "command", &format!("set_conflict_option ({set}) by role \"{caller}\""))?;
        Ok(one_row(name, task.shown().as_str(), counts_from(&task, set.direction)))
    })
}

fn counts_from(task: &Task, direction: Option<Direction>) -> String {
    let when = match task.standing() {
        Standing::Active | Standing::Starting if task.attached => "Counts from the next transaction on.",
        _ => takes_effect(task),
    };
    let is_two_way = Options::from_json(&task.options).is_ok_and(|options| options.is_two_way());
    let reverse = if direction == Some(Direction::Reverse) && !is_two_way { " The task goes from source to peer only." } else { "" };
    format!("{when}{reverse}")
}

fn policy_counts(task: &Task, set: &Set) -> String {
    let counts = counts_from(task, set.direction);
    let times = if set.policy == Some(Policy::LatestWins) { " It needs track_commit_timestamp on both sides." } else { "" };
    format!("{counts}{times}")
}

fn skip(name: Option<&str>, commit_lsn: Option<PgLsn>, direction: Option<&str>) -> Result<Rows> {
    let name = required("name", name)?;
    let PgLsn(commit) = required("commit_lsn", commit_lsn)?;
    let direction = direction::parse(required("direction", direction)?)?;
    let caller = store::current_user()?;
    as_owner(|| {
        let task = tasks::lock(name)?;
        if direction == Direction::Reverse {
            direction::has_reverse(name, &task)?;
        }
        let (standing, shown) = match direction {
            Direction::Forward => (task.standing(), task.shown()),
            Direction::Reverse => (task.reverse_standing(), task.reverse.actual),
        };
        if !matches!(standing, Standing::Paused | Standing::Failed) {
            return Err(Error::new(Kind::WrongState, format!("task \"{name}\" is neither paused nor failed"))
                .detail(format!("It is {shown}."))
                .hint("Call pgrelay.pause_task() first, and wait_for_state(…, 'paused')."));
        }
        let message = match conflicts::skip(task.id, direction, commit, &caller)? {
            Skip::Noted => {
                tasks::event(name, "command", &format!("skip_transaction ({commit}, {}) by role \"{caller}\"", direction.as_str()))?;
                tasks::notify(task.id)?;
                "It will be left out, and what it would have changed recorded. Call pgrelay.resume_task() to go on."
            }
            Skip::NotedBefore => "It is to be left out already. Call pgrelay.resume_task() to go on.",
            Skip::Ahead => {
                return Err(Error::new(Kind::InvalidValue, format!("no transaction has been committed at {commit} yet"))
                    .hint("Give the position of its commit record, as the task's error and pgrelay.conflict show it."));
            }
            Skip::Applied => {
                return Err(Error::new(Kind::InvalidValue, format!("a transaction that was committed at {commit} is applied already"))
                    .hint("See applied_lsn of pgrelay.task_status for where the task stands."));
            }
        };
        Ok(one_row(name, shown.as_str(), message))
    })
}
