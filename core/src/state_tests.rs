use super::*;

const ALL_STAGES: Stages = Stages { schema: true, copy: true, stream: true };
const NO_STREAM: Stages = Stages { schema: true, copy: true, stream: false };

/// What a cell of the table says: the new `desired`, `deleted`, or `error`.
fn cell(command: Command, standing: Standing) -> &'static str {
    match next(command, standing) {
        Ok(Outcome::Desire(desired)) => desired.as_str(),
        Ok(Outcome::DeleteNow) => "deleted",
        Err(_) => "error",
    }
}

#[test]
fn the_life_cycle_is_this_table() {
    use Standing::*;
    // start, pause, resume, stop, drop
    let table = [
        (Created, ["run", "error", "error", "error", "deleted"]),
        (Starting, ["error", "pause", "error", "stop", "drop"]),
        (Active, ["error", "pause", "error", "stop", "drop"]),
        (Pausing, ["error", "error", "run", "stop", "drop"]),
        (Paused, ["error", "error", "run", "stop", "drop"]),
        (PrecheckFailed, ["run", "error", "run", "stop", "drop"]),
        (Failed, ["error", "error", "run", "stop", "drop"]),
        (Finished, ["run", "error", "error", "stop", "drop"]),
        (Stopping, ["error", "error", "error", "stop", "drop"]),
        (Stopped, ["run", "error", "error", "error", "deleted"]),
        (Dropping, ["error", "error", "error", "error", "drop"]),
    ];
    assert_eq!(table.map(|(standing, _)| standing), Standing::ALL);
    for (standing, expected) in table {
        assert_eq!(Command::ALL.map(|c| cell(c, standing)), expected, "{standing:?}");
    }
}

#[test]
fn the_documentation_shows_the_same_table() {
    let mut table = String::from(
        "| the task is | `start_task` | `pause_task` | `resume_task` | `stop_task` | `drop_task` |\n|---|---|---|---|---|---|\n",
    );
    for standing in Standing::ALL {
        let cells = Command::ALL.map(|c| match cell(c, standing) {
            "error" => "error".to_owned(),
            "deleted" => "removed at once".to_owned(),
            desired => format!("→ {desired}"),
        });
        table.push_str(&format!("| {} | {} |\n", standing.as_str(), cells.join(" | ")));
    }
    assert!(include_str!("../../docs/functions.md").contains(&table), "docs/functions.md must contain:\n{table}");
}

#[test]
fn standing_follows_from_command_and_state() {
    use Actual as A;
    for actual in A::ALL {
        for pending in [false, true] {
            assert_eq!(Standing::of(Desired::None, pending, actual), Standing::Created);
            assert_eq!(Standing::of(Desired::Drop, pending, actual), Standing::Dropping);
        }
        assert_eq!(Standing::of(Desired::Run, true, actual), Standing::Starting);
        assert_eq!(Standing::of(Desired::Stop, true, actual), Standing::Stopping);
        let pausing = if actual == A::Paused { Standing::Paused } else { Standing::Pausing };
        assert_eq!(Standing::of(Desired::Pause, true, actual), pausing);

        let run = match actual {
            A::Created => Standing::Starting,
            A::PrecheckFailed => Standing::PrecheckFailed,
            A::Failed => Standing::Failed,
            A::Finished => Standing::Finished,
            A::Stopped => Standing::Stopped,
            A::Prechecking | A::Schema | A::Copying | A::CatchingUp | A::Running | A::Paused | A::Retrying => Standing::Active,
        };
        assert_eq!(Standing::of(Desired::Run, false, actual), run, "{actual}");
        let pause = match actual {
            A::Paused => Standing::Paused,
            A::PrecheckFailed | A::Failed | A::Finished | A::Stopped => run,
            _ => Standing::Pausing,
        };
        assert_eq!(Standing::of(Desired::Pause, false, actual), pause, "{actual}");
        let stop = match actual {
            A::Stopped => Standing::Stopped,
            _ => Standing::Stopping,
        };
        assert_eq!(Standing::of(Desired::Stop, false, actual), stop, "{actual}");
    }
}

#[test]
fn a_refused_command_says_where_the_task_stands_and_what_to_call() {
    let error = apply(Command::Start, "move", Standing::Paused, true).expect_err("refused");
    assert_eq!(error.kind, Kind::WrongState);
    assert_eq!(error.message, "task \"move\" cannot be started");
    assert_eq!(error.detail.as_deref(), Some("The task is paused."));
    assert_eq!(error.hint.as_deref(), Some("Call resume_task to go on."));
}

#[test]
fn a_task_that_no_applier_has_seen_is_dropped_at_once() {
    assert_eq!(apply(Command::Drop, "t", Standing::Starting, false).expect("allowed"), Outcome::DeleteNow);
    assert_eq!(apply(Command::Drop, "t", Standing::Starting, true).expect("allowed"), Outcome::Desire(Desired::Drop));
}

#[test]
fn words_read_back() {
    for state in Actual::ALL {
        assert_eq!(Actual::parse(state.as_str()), Some(state));
    }
    for desired in Desired::ALL {
        assert_eq!(Desired::parse(desired.as_str()), Some(desired));
    }
    assert_eq!(Actual::parse("Running"), None);
}

#[test]
fn waiting_ends_when_the_state_cannot_come() {
    use Actual as A;
    let can = |desired, pending, actual, wanted| can_become(desired, pending, actual, ALL_STAGES, wanted);
    assert!(can(Desired::Run, true, A::Created, A::Running));
    assert!(can(Desired::Run, true, A::Failed, A::Running), "resumed, not yet taken up");
    assert!(can(Desired::Run, false, A::Copying, A::Running));
    assert!(can(Desired::Run, false, A::Running, A::CatchingUp));
    assert!(can(Desired::Run, false, A::Retrying, A::Copying));
    assert!(can(Desired::Pause, false, A::Running, A::Paused));
    assert!(can(Desired::Stop, true, A::Running, A::Stopped));

    assert!(!can(Desired::Run, false, A::Running, A::Copying), "already past it");
    assert!(!can(Desired::Run, false, A::Schema, A::PrecheckFailed), "already past it");
    assert!(!can(Desired::Run, false, A::Failed, A::Running));
    assert!(!can(Desired::Run, false, A::PrecheckFailed, A::Running));
    assert!(!can(Desired::Run, false, A::Running, A::Paused), "nobody asked for it");
    assert!(!can(Desired::Stop, false, A::Failed, A::Stopped), "the clean-up failed");
    assert!(!can(Desired::Pause, false, A::Paused, A::Running));
    assert!(!can(Desired::Stop, true, A::Running, A::Running), "it leaves that state");
    assert!(!can(Desired::None, false, A::Created, A::Running));
    assert!(!can(Desired::Run, false, A::Copying, A::Finished), "a stream never ends");

    assert!(can_become(Desired::Run, false, A::Copying, NO_STREAM, A::Finished));
    assert!(!can_become(Desired::Run, false, A::Copying, NO_STREAM, A::Running));
}
