//! Commands to one direction of a two-way task.

use pgrelay_core::{
    Error, Result,
    conflict::Direction,
    error::Kind,
    state::{self, Command, Desired, Outcome},
    task::Options,
};

use crate::store::task::{self as tasks, Task};

/// Reads the word.
///
/// Errors: `InvalidValue`.
pub fn parse(word: &str) -> Result<Direction> {
    Direction::parse(word).ok_or_else(|| {
        Error::new(Kind::InvalidValue, format!("\"{word}\" is not a direction")).hint("Directions are forward and reverse; NULL is both.")
    })
}

/// Errors: `WrongState` for a task that goes one way.
pub fn has_reverse(name: &str, task: &Task) -> Result<()> {
    if Options::from_json(&task.options)?.is_two_way() {
        return Ok(());
    }
    Err(Error::new(Kind::WrongState, format!("task \"{name}\" has no reverse direction"))
        .hint("Call pgrelay.alter_task(…, '{\"topology\": \"two_way\"}') once it runs."))
}

/// Whether a command may be given to the reverse direction, and what it then wants.
///
/// Errors: `WrongState`, which says where it stands.
pub fn check(command: Command, name: &str, task: &Task) -> Result<Desired> {
    has_reverse(name, task)?;
    let too_early = |detail: &str| {
        Err(Error::new(Kind::WrongState, format!("the reverse direction of task \"{name}\" cannot be {}", command.participle()))
            .detail(detail)
            .hint("It starts by itself once the forward direction runs: see pgrelay.task_status."))
    };
    if !matches!(task.desired, Desired::Run | Desired::Pause) {
        return too_early("The task itself is not at work.");
    }
    if !task.streams {
        return too_early("The forward direction does not run yet.");
    }
    match state::apply(command, name, task.reverse_standing(), true)? {
        Outcome::Desire(desired) => Ok(desired),
        Outcome::DeleteNow => Err(Error::new(Kind::Internal, "a direction of a task cannot be deleted by itself")),
    }
}

/// Pauses or resumes the reverse direction.
///
/// Errors: as `check`.
pub fn command(command: Command, name: &str, task: &Task) -> Result<()> {
    let desired = check(command, name, task)?;
    tasks::desire_reverse(task.id, desired)
}
