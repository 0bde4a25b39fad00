//! Transactions that the source sends while they are in progress, in blocks between which others come.
//!
//! Each is kept (`spill`) until it ends: at its commit it is applied as one that came whole, a (sub)transaction that rolled back is
//! left out. One that comes while nothing else is under way is also applied ahead of its commit, in the peer's open transaction,
//! which is rolled back when anything else has to be applied first, or at the first surprise (`ahead`): what counts is what was kept.
//! Only once every table stands at one position: before that the commit decides what a change means for its table.

mod ahead;
mod blocks;
mod spill;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use pgrelay_core::{Error, Lsn, Result, error::Kind};
use tokio::time::Instant;

use self::spill::Spill;
pub use self::spill::sweep;
use super::relations::{Described, Relations};

/// A transaction that is applied ahead and of which nothing comes for so long is taken back: an open transaction of the peer keeps
/// VACUUM from its work there.
const PATIENCE: Duration = Duration::from_secs(10);

/// One that is in progress.
struct InProgress {
    spill: Spill,
    /// Changes of rows in it.
    rows: i64,
    /// Descriptions of relations in it, which its changes refer to by number.
    described: Vec<Described>,
    /// (Sub)transactions that have changes in it.
    parts: HashSet<u32>,
    /// Those that rolled back.
    aborted: HashSet<u32>,
    /// The opposite direction has written it.
    is_echo: bool,
}

/// The one that is applied ahead of its commit.
struct Ahead {
    xid: u32,
    /// As its changes know them.
    relations: Relations,
    /// When to take it back unless more comes.
    until: Instant,
}

/// All that are in progress.
#[derive(Default)]
pub struct Streamed {
    all: HashMap<u32, InProgress>,
    /// Whose block is being received.
    block: Option<u32>,
    ahead: Option<Ahead>,
    /// Descriptions so far.
    described: u64,
    /// End of the last transaction that was committed.
    last_commit: Lsn,
    /// Transactions with changes before this may have been applied before the stream began.
    began_at: Lsn,
}

impl Streamed {
    /// A stream begins: what it had brought before comes again. `position` is where the peer stands.
    pub fn begin(&mut self, position: Lsn) {
        *self = Streamed { began_at: position, described: self.described, ..Streamed::default() };
    }

    /// Whether a block is being received.
    pub fn in_block(&self) -> bool {
        self.block.is_some()
    }

    /// Whether the peer's open transaction is one that is not committed on the source.
    pub fn is_ahead(&self) -> bool {
        self.ahead.is_some()
    }

    /// Another description comes.
    pub fn describe(&mut self, relation: Arc<super::relation::Relation>) -> Described {
        self.described += 1;
        Described { at: self.described, relation }
    }

    /// A transaction was committed.
    pub fn committed(&mut self, end: Lsn) {
        self.last_commit = self.last_commit.max(end);
    }

    fn of(&mut self, xid: u32) -> Result<&mut InProgress> {
        self.all.get_mut(&xid).ok_or_else(|| unknown(xid))
    }
}

fn unknown(xid: u32) -> Error {
    Error::new(Kind::Protocol, format!("the source sent a part of transaction {xid} without its beginning"))
}
