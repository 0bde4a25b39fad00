//! Whether the other side had seen what it met, when it made a change: only what it had not seen is a conflict.
//!
//! What the opposite direction writes comes back in this one's stream, in its place among what the other side made by itself, with its
//! replication origin: it is left out, but it tells up to where of *this* side's WAL the other side had applied at that point. So a row
//! that was written here before that was known there, and a change that follows is a change of that row, not a conflict with it.
//!
//! The positions of commits are exact, and are known as far as the opposite direction has read them in this process (`History`). For what
//! was committed before that the commit time decides. Timestamps are taken a moment before the commit record is written, so two commits
//! may stand in the WAL in another order than by their times: right after a restart, two writes of one row within that moment may be
//! taken for one after the other.

use std::sync::Arc;

use pgrelay_core::Lsn;

use crate::stream::history::History;

/// So much earlier than the latest commit that was seen a row must have been written to be taken for seen by its time alone where many
/// rows are changed at once; others are looked at one by one. In microseconds.
const MARGIN: i64 = 2_000_000;

/// Up to where one side had applied the other's WAL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Horizon {
    /// The end of a commit record.
    pub position: Lsn,
    /// The latest commit time among what lies before, in microseconds since 2000, as far as that is known.
    pub commit: i64,
}

/// What the other side has seen at the place of its stream that is being applied.
#[derive(Clone, Default)]
pub struct Sight {
    /// None where nothing goes back to the other side.
    history: Option<Arc<History>>,
    seen: Horizon,
}

impl Sight {
    /// `history`: of the direction that goes back. `seen`: at the position where this one goes on.
    pub fn new(history: Option<Arc<History>>, seen: Horizon) -> Sight {
        Sight { history, seen }
    }

    /// At the place where the stream stands.
    pub fn seen(&self) -> Horizon {
        self.seen
    }

    /// The stream is read again from where the other side had seen this.
    pub fn go_back_to(&mut self, seen: Horizon) {
        self.seen = seen;
    }

    /// The stream has come to something that was applied there: up to `position`, the last of it committed at `commit`. Of a transaction
    /// that came in blocks the position is not told.
    pub fn came_back(&mut self, position: Option<Lsn>, commit: i64) {
        let found = || self.history.as_ref().and_then(|history| history.commit_at(commit)).map(|lsn| Lsn(lsn.0 + 1));
        let Some(position) = position.or_else(found) else {
            self.seen.commit = self.seen.commit.max(commit);
            return;
        };
        // What a copy wrote tells no position.
        if position > Lsn(0) {
            self.seen = Horizon { position: self.seen.position.max(position), commit: self.seen.commit.max(commit) };
        }
    }

    /// Whether the other side had seen a row that transaction `xid` of this one wrote, committed at `commit`.
    pub fn has_seen(&self, xid: u32, commit: i64) -> bool {
        let Some(history) = &self.history else { return false };
        history.commit_of(xid).map_or(commit <= self.seen.commit, |record| record < self.seen.position)
    }

    /// Whether something goes back to the other side.
    pub fn is_two_way(&self) -> bool {
        self.history.is_some()
    }

    /// Rows that were written up to then were seen for certain; none where nothing goes back.
    pub fn certain(&self) -> Option<i64> {
        self.history.as_ref().map(|_| self.seen.commit - MARGIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_back_was_seen_by_its_position_and_else_by_its_time() {
        let history = Arc::new(History::default());
        history.read(7, Lsn(100), 50);
        history.read(8, Lsn(200), 49);
        let mut sight = Sight::new(Some(history), Horizon::default());
        assert!(!sight.has_seen(7, 50));
        sight.came_back(Some(Lsn(150)), 50);
        assert!(sight.has_seen(7, 50));
        assert!(!sight.has_seen(8, 49), "it was committed earlier by its time, and later by its position");
        assert!(sight.has_seen(6, 50) && !sight.has_seen(6, 51), "of others only the time is known");
        sight.came_back(None, 49);
        assert!(sight.has_seen(8, 49), "it came back in blocks");
        sight.came_back(Some(Lsn(0)), 1000);
        assert!(!sight.has_seen(6, 51), "a copy tells nothing");
        assert!(!Sight::default().has_seen(7, 50), "nothing goes back");
    }
}
