//! What is left to do, and who can help whom: shared by the workers of a copy.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use pgrelay_core::{Error, name::TableName};
use tokio::{sync::Notify, time::sleep_until};

use super::{Job, again::Again, split::Split};

/// What a worker is to do next.
pub enum Work {
    /// Copy these tables.
    Lot(Vec<Job>),
    /// Copy chunks of a table that another worker has begun.
    Help(Arc<Split>),
}

#[derive(Default)]
struct State {
    lots: VecDeque<Vec<Job>>,
    splits: Vec<Arc<Split>>,
    busy: usize,
    again: Again,
    /// Workers that have not ended.
    workers: usize,
    /// One could not be had.
    limited: bool,
}

/// Whether a worker may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// As the first of them.
    First,
    /// As another did before.
    AsOthers,
    /// No: he is the last.
    No,
}

/// Shared by the workers. Every change of it is whole: no worker waits while it holds it.
pub struct Board {
    state: Mutex<State>,
    changed: Notify,
}

impl Board {
    /// With all that is to be copied, in this order.
    pub fn new(lots: Vec<Vec<Job>>) -> Board {
        let state = State { lots: lots.into(), ..State::default() };
        Board { state: Mutex::new(state), changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something to do; none when nothing will come any more. `refused`: splits that this worker cannot help with.
    /// `window`: for how long tables that failed are tried again when the rest is done. A lot that is taken must be told done.
    pub async fn next(&self, refused: &HashSet<u32>, window: Duration) -> Option<Work> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let due = {
                let (mut state, now) = (self.state(), Instant::now());
                let idle = state.lots.is_empty() && state.busy == 0;
                let given_up = idle && state.again.is_over(window, now);
                if !given_up && let Some(job) = state.again.take_due(now) {
                    state.busy += 1;
                    return Some(Work::Lot(vec![job]));
                }
                if let Some(lot) = state.lots.pop_front() {
                    state.busy += 1;
                    return Some(Work::Lot(lot));
                }
                let open = state.splits.iter().filter(|s| !refused.contains(&s.oid()) && s.left() > 0);
                if let Some(split) = open.max_by_key(|s| s.left()) {
                    return Some(Work::Help(split.clone()));
                }
                let due = state.again.next_due();
                if given_up || (idle && due.is_none()) {
                    return None;
                }
                due
            };
            match due {
                Some(due) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(due.into()) => {}
                },
                None => changed.await,
            }
        }
    }

    /// A table was begun in chunks: others may help.
    pub fn open(&self, split: Arc<Split>) {
        self.state().splits.push(split);
        self.changed.notify_waiters();
    }

    /// Nobody else may begin a chunk of it.
    pub fn close(&self, split: &Arc<Split>) {
        self.state().splits.retain(|s| !Arc::ptr_eq(s, split));
    }

    /// A lot that was taken is done with.
    pub fn done(&self) {
        self.state().busy -= 1;
        self.changed.notify_waiters();
    }

    /// Each table of a lot is to be tried alone, behind all others.
    pub fn alone(&self, lot: Vec<Job>) {
        self.state().lots.extend(lot.into_iter().map(|job| vec![job]));
        self.changed.notify_waiters();
    }

    /// A lot could not be copied. A single table is left for later, the others go on; of several each is tried alone, and then says
    /// what is wrong with it. Whether that is news.
    pub fn failed(&self, mut lot: Vec<Job>, error: Error) -> bool {
        match lot.pop() {
            Some(job) if lot.is_empty() => self.state().again.failed(job, error, Instant::now()),
            last => {
                self.alone(lot.into_iter().chain(last).collect());
                false
            }
        }
    }

    /// Tables were copied, with all that follows their rows: those of them that had failed before.
    pub fn copied(&self, jobs: &[Job]) -> Vec<TableName> {
        self.state().again.copied(jobs, Instant::now())
    }

    /// The error to end with, when tables are left that could not be copied.
    pub fn first_error(&self) -> Option<Error> {
        self.state().again.first_error()
    }

    /// A worker begins.
    pub fn join(&self) {
        self.state().workers += 1;
    }

    /// A worker ends.
    pub fn quit(&self) {
        self.state().workers -= 1;
    }

    /// A worker that cannot do what he has taken gives it back and ends, unless he is the last.
    pub fn leave(&self, work: Work) -> Leave {
        let mut state = self.state();
        if state.workers == 1 {
            return Leave::No;
        }
        state.workers -= 1;
        if let Work::Lot(lot) = work {
            state.lots.push_front(lot);
            state.busy -= 1;
        }
        let before = std::mem::replace(&mut state.limited, true);
        drop(state);
        self.changed.notify_waiters();
        if before { Leave::AsOthers } else { Leave::First }
    }
}
