//! The states of a task, and what each command does in each of them.
//!
//! `Actual` is what the applier last wrote; `Desired` is what the user asked for last; `pending` is true while the applier has
//! not taken that command up. Together they make a `Standing`, and one table, `next`, says what a command does in it.
//! The same table stands in `docs/functions.md`; a test compares the two.

use std::fmt;

use crate::{
    error::{Error, Kind, Result},
    task::Stages,
};

/// How far a task has come. Set by the applier alone, in `pgrelay.task_actual.state`; durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actual {
    /// Never begun.
    Created,
    /// Both sides are being looked at; nothing is written on the peer.
    Prechecking,
    /// The precheck found an error; nothing was written on the peer.
    PrecheckFailed,
    /// Objects are being created on the peer.
    Schema,
    /// Rows are being copied.
    Copying,
    /// The stream runs and is behind.
    CatchingUp,
    /// The stream runs with nothing unapplied, or less than five seconds behind.
    Running,
    /// A task without a stream has done everything.
    Finished,
    /// At rest by command; slot and position are kept.
    Paused,
    /// A transient error is being waited out.
    Retrying,
    /// Given up with an error; slot and position are kept.
    Failed,
    /// Ended by command; slot, publication and origin are gone, the rows stay.
    Stopped,
}

impl Actual {
    /// Every state, in the order of a task's life.
    pub const ALL: [Actual; 12] = [
        Actual::Created,
        Actual::Prechecking,
        Actual::PrecheckFailed,
        Actual::Schema,
        Actual::Copying,
        Actual::CatchingUp,
        Actual::Running,
        Actual::Finished,
        Actual::Paused,
        Actual::Retrying,
        Actual::Failed,
        Actual::Stopped,
    ];

    /// The word in tables, views and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Actual::Created => "created",
            Actual::Prechecking => "prechecking",
            Actual::PrecheckFailed => "precheck_failed",
            Actual::Schema => "schema",
            Actual::Copying => "copying",
            Actual::CatchingUp => "catching_up",
            Actual::Running => "running",
            Actual::Finished => "finished",
            Actual::Paused => "paused",
            Actual::Retrying => "retrying",
            Actual::Failed => "failed",
            Actual::Stopped => "stopped",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Actual> {
        Actual::ALL.into_iter().find(|s| s.as_str() == word)
    }

    /// Place in the life of a task that runs; `None` for states that are not on that line.
    fn rank(self) -> Option<u8> {
        match self {
            Actual::Prechecking => Some(1),
            Actual::Schema => Some(2),
            Actual::Copying => Some(3),
            Actual::CatchingUp | Actual::Running => Some(4),
            Actual::Finished => Some(5),
            _ => None,
        }
    }
}

impl fmt::Display for Actual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the user asked for last. Set by the extension alone, in `pgrelay.task.desired`; durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Desired {
    /// Nothing yet.
    None,
    /// To go on to the end.
    Run,
    /// To rest with slot and position kept.
    Pause,
    /// To end and clean up.
    Stop,
    /// To end, clean up and forget the task.
    Drop,
}

impl Desired {
    /// Every wish.
    pub const ALL: [Desired; 5] = [Desired::None, Desired::Run, Desired::Pause, Desired::Stop, Desired::Drop];

    /// The word in `pgrelay.task.desired`.
    pub fn as_str(self) -> &'static str {
        match self {
            Desired::None => "none",
            Desired::Run => "run",
            Desired::Pause => "pause",
            Desired::Stop => "stop",
            Desired::Drop => "drop",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Desired> {
        Desired::ALL.into_iter().find(|d| d.as_str() == word)
    }
}

impl fmt::Display for Desired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A life-cycle function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// `start_task`
    Start,
    /// `pause_task`
    Pause,
    /// `resume_task`
    Resume,
    /// `stop_task`
    Stop,
    /// `drop_task`
    Drop,
}

impl Command {
    /// Every command, in the order of the documentation.
    pub const ALL: [Command; 5] = [Command::Start, Command::Pause, Command::Resume, Command::Stop, Command::Drop];

    /// The SQL function's name.
    pub fn function(self) -> &'static str {
        match self {
            Command::Start => "start_task",
            Command::Pause => "pause_task",
            Command::Resume => "resume_task",
            Command::Stop => "stop_task",
            Command::Drop => "drop_task",
        }
    }

    /// As in: task "x" cannot be *started*.
    pub fn participle(self) -> &'static str {
        match self {
            Command::Start => "started",
            Command::Pause => "paused",
            Command::Resume => "resumed",
            Command::Stop => "stopped",
            Command::Drop => "dropped",
        }
    }
}

/// Where a task stands: its actual state together with a command that the applier has not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Created, never started.
    Created,
    /// Told to run; the applier has not begun.
    Starting,
    /// The applier works on it, retrying included.
    Active,
    /// Told to pause; not yet at rest.
    Pausing,
    /// At rest.
    Paused,
    /// The precheck found an error.
    PrecheckFailed,
    /// Given up with an error.
    Failed,
    /// Done, without a stream.
    Finished,
    /// Told to stop; not yet cleaned up.
    Stopping,
    /// Ended and cleaned up.
    Stopped,
    /// Told to drop; not yet cleaned up.
    Dropping,
}

impl Standing {
    /// Every standing, in the order of the documentation.
    pub const ALL: [Standing; 11] = [
        Standing::Created,
        Standing::Starting,
        Standing::Active,
        Standing::Pausing,
        Standing::Paused,
        Standing::PrecheckFailed,
        Standing::Failed,
        Standing::Finished,
        Standing::Stopping,
        Standing::Stopped,
        Standing::Dropping,
    ];

    /// Where a task stands by what its rows say.
    pub fn of(desired: Desired, pending: bool, actual: Actual) -> Standing {
        match (desired, pending, actual) {
            (Desired::None, ..) => Standing::Created,
            (Desired::Drop, ..) => Standing::Dropping,
            (Desired::Run, true, _) => Standing::Starting,
            (Desired::Stop, true, _) => Standing::Stopping,
            (Desired::Pause, _, Actual::Paused) => Standing::Paused,
            (Desired::Pause, true, _) => Standing::Pausing,
            // The applier has taken the command up: what it wrote counts. A stop that failed half-way stays a stop: what is
            // cleaned up cannot be resumed, only stopped again or dropped.
            (_, false, Actual::Stopped) => Standing::Stopped,
            (Desired::Stop, false, _) => Standing::Stopping,
            (_, false, Actual::PrecheckFailed) => Standing::PrecheckFailed,
            (_, false, Actual::Failed) => Standing::Failed,
            (_, false, Actual::Finished) => Standing::Finished,
            (Desired::Pause, false, _) => Standing::Pausing,
            (Desired::Run, false, Actual::Created) => Standing::Starting,
            (Desired::Run, false, _) => Standing::Active,
        }
    }

    /// The word in the documentation.
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Created => "created",
            Standing::Starting => "starting",
            Standing::Active => "active",
            Standing::Pausing => "pausing",
            Standing::Paused => "paused",
            Standing::PrecheckFailed => "precheck_failed",
            Standing::Failed => "failed",
            Standing::Finished => "finished",
            Standing::Stopping => "stopping",
            Standing::Stopped => "stopped",
            Standing::Dropping => "dropping",
        }
    }

    /// As in: task "x" *is paused*.
    fn clause(self) -> &'static str {
        match self {
            Standing::Created => "has never been started",
            Standing::Starting => "is being started",
            Standing::Active => "is active",
            Standing::Pausing => "is being paused",
            Standing::Paused => "is paused",
            Standing::PrecheckFailed => "has failed its precheck",
            Standing::Failed => "has failed",
            Standing::Finished => "has finished",
            Standing::Stopping => "is being stopped",
            Standing::Stopped => "is stopped",
            Standing::Dropping => "is being dropped",
        }
    }
}

/// What a command that is allowed does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The task's `desired` becomes this; the applier does the rest.
    Desire(Desired),
    /// Nothing of the task exists outside its row, which is deleted at once.
    DeleteNow,
}

/// The life cycle: what `command` does to a task that stands at `standing`, or the hint of its error.
fn next(command: Command, standing: Standing) -> std::result::Result<Outcome, &'static str> {
    use Outcome::{DeleteNow, Desire};
    use Standing::*;
    const BEING_DROPPED: &str = "Wait until it is gone with wait_for_state(name, 'dropped').";
    const BEING_STOPPED: &str = "Wait with wait_for_state(name, 'stopped').";
    const START: &str = "Call start_task to begin.";
    const START_ANEW: &str = "Call start_task to begin anew.";
    const RESUME: &str = "Call resume_task to go on.";
    match (command, standing) {
        (Command::Start, Created | PrecheckFailed | Finished | Stopped) => Ok(Desire(Desired::Run)),
        (Command::Start, Starting | Active) => Err("See pgrelay.task_status for how far it is."),
        (Command::Start, Pausing | Paused) => Err(RESUME),
        (Command::Start, Failed) => Err("Call resume_task to go on, or stop_task and then start_task to begin anew."),
        (Command::Start, Stopping) => Err("Wait with wait_for_state(name, 'stopped'), then call start_task again."),

        (Command::Pause, Starting | Active) => Ok(Desire(Desired::Pause)),
        (Command::Pause, Created) => Err(START),
        (Command::Pause, Pausing | Paused) => Err(RESUME),
        (Command::Pause, PrecheckFailed | Failed) => Err("It is at rest already. Call resume_task to try again."),
        (Command::Pause, Finished) => Err("There is nothing left to pause."),
        (Command::Pause, Stopping) => Err(BEING_STOPPED),
        (Command::Pause, Stopped) => Err(START_ANEW),

        (Command::Resume, Pausing | Paused | PrecheckFailed | Failed) => Ok(Desire(Desired::Run)),
        (Command::Resume, Created) => Err(START),
        (Command::Resume, Starting | Active) => Err("See pgrelay.task_status for how far it is."),
        (Command::Resume, Finished | Stopped) => Err(START_ANEW),
        (Command::Resume, Stopping) => Err("Wait with wait_for_state(name, 'stopped'), then call start_task to begin anew."),

        (Command::Stop, Created) => Err("There is nothing to stop. Call drop_task to remove the task."),
        (Command::Stop, Stopped) => Err("Call drop_task to remove the task, or start_task to begin anew."),
        (Command::Stop, Dropping) => Err(BEING_DROPPED),
        (Command::Stop, _) => Ok(Desire(Desired::Stop)),

        (Command::Drop, Created | Stopped) => Ok(DeleteNow),
        (Command::Drop, _) => Ok(Desire(Desired::Drop)),

        (_, Dropping) => Err(BEING_DROPPED),
    }
}

/// What `command` does to the task `name`.
///
/// A started task that no applier has ever taken up (`taken_up` is false: it has no row in `task_actual`) has nothing outside its
/// row either, so a drop deletes it at once.
/// Errors: `WrongState`, which says where the task stands and what to call instead.
pub fn apply(command: Command, name: &str, standing: Standing, taken_up: bool) -> Result<Outcome> {
    match next(command, standing) {
        Ok(Outcome::Desire(Desired::Drop)) if !taken_up => Ok(Outcome::DeleteNow),
        Ok(outcome) => Ok(outcome),
        Err(hint) => Err(Error::new(Kind::WrongState, format!("task \"{name}\" cannot be {}", command.participle()))
            .detail(format!("The task {}.", standing.clause()))
            .hint(hint)
            .object(name)),
    }
}

/// Whether a task can still come to `wanted` without another command.
///
/// False when it already stands past it, when it rests, or when it was told to do something else.
pub fn can_become(desired: Desired, pending: bool, actual: Actual, stages: Stages, wanted: Actual) -> bool {
    if !pending && actual == wanted {
        return true;
    }
    match Standing::of(desired, pending, actual) {
        Standing::Created => wanted == Actual::Created,
        Standing::Dropping => matches!(wanted, Actual::Failed | Actual::Retrying),
        Standing::Starting | Standing::Active => runs_to(pending, actual, stages, wanted),
        Standing::Pausing => runs_to(pending, actual, stages, wanted) || wanted == Actual::Paused,
        Standing::Stopping if !pending && actual == Actual::Failed => false,
        Standing::Stopping => matches!(wanted, Actual::Stopped | Actual::Failed | Actual::Retrying),
        Standing::Paused | Standing::PrecheckFailed | Standing::Failed | Standing::Finished | Standing::Stopped => actual == wanted,
    }
}

/// Whether a task that runs can come to `wanted`.
fn runs_to(pending: bool, actual: Actual, stages: Stages, wanted: Actual) -> bool {
    let has_stage = match wanted {
        Actual::Schema => stages.schema,
        Actual::Copying => stages.copy,
        Actual::CatchingUp | Actual::Running => stages.stream,
        Actual::Finished => !stages.stream,
        Actual::Created | Actual::Paused => false,
        Actual::Prechecking | Actual::PrecheckFailed | Actual::Retrying | Actual::Failed | Actual::Stopped => true,
    };
    // A command not yet taken up, or a retry, may lead anywhere on the line; else only forward.
    let forward = match (actual.rank(), wanted.rank()) {
        (Some(now), Some(then)) if !pending => now <= then,
        (Some(now), None) if !pending && wanted == Actual::PrecheckFailed => now == 1,
        _ => true,
    };
    has_stage && forward
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
