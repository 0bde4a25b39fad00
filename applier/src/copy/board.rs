//! What is left to do, and who can help whom: shared by the workers of a copy.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pgrelay_core::Error;
use tokio::sync::Notify;

use super::{Job, split::Split};

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
    failed: Vec<(Job, Error)>,
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
    /// A lot that is taken must be told done.
    pub async fn next(&self, refused: &HashSet<u32>) -> Option<Work> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.state();
                if let Some(lot) = state.lots.pop_front() {
                    state.busy += 1;
                    return Some(Work::Lot(lot));
                }
                let open = state.splits.iter().filter(|s| !refused.contains(&s.oid()) && s.left() > 0);
                if let Some(split) = open.max_by_key(|s| s.left()) {
                    return Some(Work::Help(split.clone()));
                }
                if state.busy == 0 {
                    return None;
                }
            }
            changed.await;
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
    /// what is wrong with it.
    pub fn failed(&self, mut lot: Vec<Job>, error: Error) {
        match lot.pop() {
            Some(job) if lot.is_empty() => self.state().failed.push((job, error)),
            last => self.alone(lot.into_iter().chain(last).collect()),
        }
    }

    /// Tables that could not be copied.
    pub fn take_failed(&self) -> Vec<(Job, Error)> {
        std::mem::take(&mut self.state().failed)
    }
}
