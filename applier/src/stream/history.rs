//! The commits that a stream has brought of late: in which order they stand in the WAL, which their times do not tell.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use pgrelay_core::Lsn;

/// Commits that are remembered.
const REMEMBERED: usize = 1 << 18;

/// What a direction has read of the commits of the side that it comes from.
#[derive(Default)]
pub struct History(Mutex<Commits>);

#[derive(Default)]
struct Commits {
    by_xid: HashMap<u32, Lsn>,
    in_order: VecDeque<(u32, Lsn, i64)>,
}

impl History {
    fn locked(&self) -> MutexGuard<'_, Commits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A transaction with its commit record and time.
    pub fn read(&self, xid: u32, commit: Lsn, time: i64) {
        let mut commits = self.locked();
        if commits.by_xid.insert(xid, commit) == Some(commit) {
            return;
        }
        commits.in_order.push_back((xid, commit, time));
        if commits.in_order.len() > REMEMBERED
            && let Some((xid, commit, _)) = commits.in_order.pop_front()
            && commits.by_xid.get(&xid) == Some(&commit)
        {
            commits.by_xid.remove(&xid);
        }
    }

    /// The commit record of a transaction.
    pub fn commit_of(&self, xid: u32) -> Option<Lsn> {
        self.locked().by_xid.get(&xid).copied()
    }

    /// The commit record of the last transaction of that time.
    pub fn commit_at(&self, time: i64) -> Option<Lsn> {
        self.locked().in_order.iter().rev().find(|(.., at)| *at == time).map(|(_, commit, _)| *commit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_commits_are_forgotten() {
        let history = History::default();
        for xid in 0..=REMEMBERED as u32 {
            history.read(xid, Lsn(u64::from(xid) + 1), 0);
        }
        assert_eq!((history.commit_of(0), history.commit_of(1)), (None, Some(Lsn(2))));
    }
}
