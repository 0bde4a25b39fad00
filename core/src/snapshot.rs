//! Which transactions a copy holds already.
//!
//! A table's copy saw one snapshot of the source; the stream brings every transaction in commit order. A transaction
//! that is visible in the snapshot is in the copy, any other is not: transaction ids against the snapshot decide,
//! WAL positions cannot (a commit is written to the WAL, and may be decoded, before it becomes visible).

use std::str::FromStr;

use crate::error::{Error, Kind};

/// A transaction id with its epoch, as in PostgreSQL's `xid8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Xid(pub u64);

/// PostgreSQL's `pg_snapshot`: `xmin:xmax:xip,…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    xmin: u64,
    xmax: u64,
    running: Vec<u64>,
}

impl Snapshot {
    /// Whether the effects of a committed transaction are in the snapshot (`pg_visible_in_snapshot`).
    pub fn sees(&self, xid: Xid) -> bool {
        xid.0 < self.xmin || (xid.0 < self.xmax && self.running.binary_search(&xid.0).is_err())
    }

    /// Whether a transaction ran.
    pub fn has_running(&self) -> bool {
        self.xmin < self.xmax
    }

    /// Whether every transaction that ran in an `earlier` snapshot has ended.
    pub fn is_past(&self, earlier: &Snapshot) -> bool {
        self.xmin >= earlier.xmax
    }

    /// Ids of transactions that are read from here on.
    pub fn epochs(&self) -> Epochs {
        Epochs { newest: self.xmax }
    }
}

/// Tells the epoch of transaction ids of 32 bits, as the stream has them.
#[derive(Debug, Clone, Copy)]
pub struct Epochs {
    newest: u64,
}

impl Epochs {
    /// The server has come to these ids meanwhile, of which the stream need not have brought any.
    pub fn advance(&mut self, now: Epochs) {
        self.newest = self.newest.max(now.newest);
    }

    /// The 64-bit id of a 32-bit one that is at most 2^31 away from the newest so far: of transactions that a server can have at one time
    /// all are.
    pub fn widen(&mut self, xid: u32) -> Xid {
        let distance = xid.wrapping_sub(self.newest as u32) as i32;
        let id = self.newest.saturating_add_signed(i64::from(distance));
        self.newest = self.newest.max(id);
        Xid(id)
    }
}

impl FromStr for Snapshot {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = || Error::new(Kind::Protocol, format!("\"{text}\" is not a snapshot"));
        let mut parts = text.split(':');
        let mut next = || parts.next().ok_or_else(invalid);
        let (xmin, xmax, running) = (next()?, next()?, next()?);
        let number = |s: &str| s.parse::<u64>().map_err(|_| invalid());
        let mut running = running.split(',').filter(|s| !s.is_empty()).map(number).collect::<Result<Vec<_>, _>>()?;
        running.sort_unstable();
        Ok(Snapshot { xmin: number(xmin)?, xmax: number(xmax)?, running })
    }
}

impl std::fmt::Display for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:", self.xmin, self.xmax)?;
        for (n, xid) in self.running.iter().enumerate() {
            write!(f, "{}{xid}", if n == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(text: &str) -> Snapshot {
        text.parse().expect("a snapshot")
    }

    #[test]
    fn sees_what_was_committed_and_nothing_that_ran_or_came_later() {
        let s = snapshot("10:20:10,14");
        let seen: Vec<u64> = (8..23).filter(|&x| s.sees(Xid(x))).collect();
        assert_eq!(seen, [8, 9, 11, 12, 13, 15, 16, 17, 18, 19]);
        assert_eq!(s.to_string(), "10:20:10,14");
        assert!(snapshot("5:5:").sees(Xid(4)));
        assert!(!snapshot("5:5:").sees(Xid(5)));
    }

    #[test]
    fn is_past_a_snapshot_when_all_that_ran_in_it_has_ended() {
        let earlier = snapshot("10:20:10,14");
        assert!(earlier.has_running() && !snapshot("20:20:").has_running());
        assert!(!snapshot("14:30:14").is_past(&earlier));
        assert!(snapshot("20:30:20").is_past(&earlier));
    }

    #[test]
    fn widens_across_the_epoch_in_both_directions() {
        let epoch = 1u64 << 32;
        let s = snapshot(&format!("{}:{}:", 3 * epoch + 5, 3 * epoch + 5));
        assert_eq!(s.epochs().widen(7), Xid(3 * epoch + 7));
        assert_eq!(s.epochs().widen(u32::MAX - 2), Xid(3 * epoch - 3));
        let s = snapshot(&format!("{}:{}:", 3 * epoch - 5, 3 * epoch - 5));
        assert_eq!(s.epochs().widen(4), Xid(3 * epoch + 4));
        assert_eq!(snapshot("100:100:").epochs().widen(99), Xid(99));
    }

    #[test]
    fn widens_for_as_long_as_a_stream_is_read() {
        let mut epochs = snapshot("1000:1000:").epochs();
        for id in (1000..20_u64 << 32).step_by(1 << 30) {
            assert_eq!(epochs.widen(id as u32), Xid(id));
            // One that has been open for long.
            let old = id.saturating_sub(1 << 30);
            assert_eq!(epochs.widen(old as u32), Xid(old));
        }
    }

    #[test]
    fn widens_after_ids_that_the_stream_did_not_bring() {
        let mut epochs = snapshot("1000:1000:").epochs();
        for _ in 0..5 {
            let newest = epochs.widen(0).0 + (3 << 30);
            epochs.advance(snapshot(&format!("{newest}:{newest}:")).epochs());
            assert_eq!(epochs.widen(newest as u32 - 5), Xid(newest - 5));
            epochs.advance(snapshot("1000:1000:").epochs());
            assert_eq!(epochs.widen(newest as u32), Xid(newest), "it does not go back");
        }
    }

    #[test]
    fn refuses_what_is_not_a_snapshot() {
        for bad in ["", "1", "1:2", "a:2:", "1:2:x"] {
            assert!(bad.parse::<Snapshot>().is_err(), "{bad}");
        }
    }
}
