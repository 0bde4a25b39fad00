//! Tables that could not be copied: when each is tried again, and until when.
//!
//! They are tried again while the others are copied and the stream goes on. The window is counted from when something went well
//! last, so nobody has to mend a table sooner because the others take long.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use pgrelay_core::{Error, error::Class, error::Kind, name::TableName};

use super::Job;

/// First wait before a table is tried again; doubled each time up to `LONGEST_WAIT`.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Longest wait before a table is tried again, unless the try itself took longer.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A table that failed.
struct Failed {
    job: Job,
    error: Error,
    /// None: trying again cannot help.
    due: Option<Instant>,
}

/// What is remembered of a table from one try to the next.
struct Tries {
    wait: Duration,
    begun: Instant,
    told: String,
}

/// The tables that failed and wait.
#[derive(Default)]
pub struct Again {
    failed: Vec<Failed>,
    tries: HashMap<TableName, Tries>,
    moved: Option<Instant>,
}

impl Again {
    /// A table could not be copied. Whether that is news: the reason is another than the last time.
    pub fn failed(&mut self, job: Job, error: Error, now: Instant) -> bool {
        self.moved.get_or_insert(now);
        let before = self.tries.remove(&job.table);
        // A try that takes long is not begun again at once: a worker is there for the others half of the time at least.
        let wait = before.as_ref().map_or(FIRST_WAIT, |t| (t.wait * 2).min(LONGEST_WAIT).max(now.duration_since(t.begun)));
        let news = before.is_none_or(|t| t.told != error.message);
        self.tries.insert(job.table.clone(), Tries { wait, begun: now, told: error.message.clone() });
        let due = (error.class() != Class::Never).then(|| now + wait);
        self.failed.push(Failed { job, error, due });
        news
    }

    /// Tables were copied: those of them that had failed before.
    pub fn copied(&mut self, jobs: &[Job], now: Instant) -> Vec<TableName> {
        self.moved = self.moved.map(|_| now);
        jobs.iter().filter(|job| self.tries.remove(&job.table).is_some()).map(|job| job.table.clone()).collect()
    }

    /// A table that is to be tried again now.
    pub fn take_due(&mut self, now: Instant) -> Option<Job> {
        let at = self.failed.iter().position(|f| f.due.is_some_and(|due| due <= now))?;
        let job = self.failed.swap_remove(at).job;
        if let Some(tries) = self.tries.get_mut(&job.table) {
            tries.begun = now;
        }
        Some(job)
    }

    /// When the next is to be tried again; none when there is none.
    pub fn next_due(&self) -> Option<Instant> {
        self.failed.iter().filter_map(|f| f.due).min()
    }

    /// Whether nothing has gone well for so long that it is not worth trying.
    pub fn is_over(&self, window: Duration, now: Instant) -> bool {
        self.moved.is_some_and(|moved| now.duration_since(moved) > window)
    }

    /// The error to end with, when tables are left that could not be copied.
    pub fn first_error(&mut self) -> Option<Error> {
        let mut failed = std::mem::take(&mut self.failed);
        let others = failed.len().checked_sub(1)?;
        let Failed { mut error, due, .. } = failed.swap_remove(0);
        if others > 0 {
            error.message = format!("{} (and {others} other table(s) could not be copied)", error.message);
        }
        if due.is_some() {
            error.kind = Kind::GivenUp;
        }
        Some(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: &str) -> Job {
        Job { table: TableName::new("s", name), oid: 1, by_key: true, after: vec![], settings: None, kept: false, is_analyzed: false }
    }

    fn refused(message: &str) -> Error {
        Error::new(Kind::Rejected, message)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_table_is_tried_again_after_waits_that_grow_and_told_when_the_reason_is_another() {
        let (mut again, mut now) = (Again::default(), Instant::now());
        assert!(again.failed(job("t"), refused("a"), now));
        for wait in [500, 1000, 2000, 4000, 8000, 10_000, 10_000] {
            let due = now + Duration::from_millis(wait);
            assert_eq!(again.next_due(), Some(due));
            assert!(again.take_due(due - Duration::from_millis(1)).is_none());
            now = due;
            assert_eq!(again.take_due(now).expect("due").table.name, "t");
            assert!(!again.failed(job("t"), refused("a"), now));
        }
        again.take_due(now + 10 * SECOND).expect("due");
        assert!(again.failed(job("t"), refused("b"), now + 60 * SECOND));
        assert_eq!(again.next_due(), Some(now + 110 * SECOND), "as long as the try took");
    }

    #[test]
    fn the_window_begins_anew_whenever_something_goes_well() {
        let (mut again, now) = (Again::default(), Instant::now());
        assert!(!again.is_over(SECOND, now + 100 * SECOND), "nothing has failed");
        again.failed(job("t"), refused("a"), now);
        assert!(!again.is_over(SECOND, now + SECOND));
        assert!(again.is_over(SECOND, now + 2 * SECOND));
        assert!(again.copied(&[job("other")], now + 2 * SECOND).is_empty());
        assert!(!again.is_over(SECOND, now + 3 * SECOND));
        assert_eq!(again.first_error().map(|e| e.kind), Some(Kind::GivenUp));
        assert!(again.first_error().is_none());
    }

    #[test]
    fn what_cannot_help_is_not_tried_and_who_has_come_is_told() {
        let (mut again, now) = (Again::default(), Instant::now());
        again.failed(job("t"), Error::new(Kind::Conflict, "a"), now);
        assert_eq!(again.next_due(), None);
        again.failed(job("u"), refused("a"), now);
        let job = again.take_due(now + SECOND).expect("due");
        assert_eq!(again.copied(&[job], now), [TableName::new("s", "u")]);
        assert_eq!(again.first_error().map(|e| e.kind), Some(Kind::Conflict));
    }
}
