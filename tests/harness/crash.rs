//! Appliers that end themselves at a named point: in builds with debug assertions, as theirs.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use pgrelay_applier::crash::{self, Point};

use crate::applier::Applier;
use crate::process::wait_exit;
use crate::wait;

/// SIGABRT.
const ABORTED: i32 = 6;

impl Applier {
    /// Starts it again, to end itself where it passes a point for the `nth` time.
    pub fn restart_to_crash_at(&mut self, point: Point, nth: u64) {
        self.env.push((crash::VARIABLE.into(), format!("{}:{nth}", point.name())));
        self.restart();
        self.env.pop();
    }

    /// Waits until it has ended itself at the point.
    pub async fn wait_for_crash(&mut self, point: Point, deadline: Duration) {
        let mut child = self.child.take().expect("the applier does not run");
        let Some(status) = wait_exit(&mut child, deadline).await else {
            self.child = Some(child);
            panic!("the applier does not come to {}:\n{}", point.name(), wait::log_tails());
        };
        assert_eq!(status.signal(), Some(ABORTED), "the applier ended otherwise: {status}\n{}", self.log_tail());
        let last = self.log_text().lines().last().unwrap_or_default().to_owned();
        assert_eq!(last, format!("crashed at {}", point.name()));
    }
}
