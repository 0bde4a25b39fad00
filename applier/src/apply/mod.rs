//! Applies the stream to the peer: each transaction once, in commit order.
//!
//! Two phases. Until every table streams, each table has its own position, a row on the peer that moves in the
//! transaction that applies the table's changes (`tables`). When every table stands where the stream stands, one
//! transaction says so on the peer, and from there on the task's one position counts.
//!
//! Several source transactions may share one peer transaction while there is a backlog; the position is that of the
//! last. Dropping an `Applier` at any moment is harmless: nothing but the peer's committed state matters.

mod at_end;
mod batch;
mod bulk;
mod careful;
mod commit;
mod copies;
mod deletions;
mod echo;
mod emptied;
mod flush;
mod gather;
mod group;
pub mod hold;
mod incoming;
mod key_change;
pub mod marks;
mod opening;
pub mod peer_table;
mod place;
mod prepared;
pub mod relation;
mod relations;
pub mod row;
mod same_slot;
pub mod session;
pub mod sight;
pub mod standing;
pub mod statement;
mod streamed;
pub mod tables;
mod truncate;
pub mod waiting;
mod weigh;
mod whole;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use bytes::BytesMut;
use pgrelay_core::{
    Error, Lsn, Result,
    conflict::{Direction, Rules},
    error::Kind,
    name::TableName,
    snapshot::{Epochs, Snapshot},
    task::Names,
};
use tokio::{
    sync::{Mutex, OnceCell, oneshot, watch},
    time::Instant,
};
use tokio_postgres::{Client, Statement};

use self::{
    batch::Batch,
    careful::Care,
    flush::Flush,
    group::Group,
    prepared::TwoPhase,
    relation::Target,
    relations::Relations,
    session::Session,
    sight::Horizon,
    streamed::Streamed,
    tables::{Earlier, Seen, State, Tables, Transaction},
    whole::Wholes,
};
use crate::{
    conflict::{deferrable, place::Place, resolve::Resolver},
    pg::{Endpoint, server_error},
    progress::Progress,
    stream::{history::History, receiver::Mode},
    throttle::Throttle,
};

/// What a table's copy tells the applier, between two transactions of the stream.
pub enum CopyMessage {
    /// The copy is about to take a snapshot. It waits for the answer.
    Ask {
        /// The tables that share it.
        tables: Vec<TableName>,
        /// Of a single one: what earlier tries have copied.
        earlier: Option<Earlier>,
        /// It may take it now.
        reply: oneshot::Sender<()>,
    },
    /// The copy has taken a snapshot and asks whether it may use it.
    Snapshot {
        /// The tables that share it.
        tables: Vec<TableName>,
        /// What the snapshot sees.
        seen: Seen,
        /// True: copy under it. False: take another.
        reply: oneshot::Sender<bool>,
    },
    /// The rows and the keys are on the peer.
    Done {
        /// The tables.
        tables: Vec<TableName>,
        /// What waited for them is applied, or will be before `Applier::passed` moves again.
        reply: oneshot::Sender<()>,
    },
}

/// Why the applier stopped reading.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// Read the stream again from the confirmed position, as `Applier::mode` says.
    Rewind,
}

/// What the applier needs from the task.
pub struct Setting {
    /// The peer.
    pub peer: Endpoint,
    /// The direction's origin there, which is also its key.
    pub origin: String,
    /// Which way the changes go.
    pub direction: Direction,
    /// Where conflicts are written down.
    pub place: Place,
    /// Names of the opposite direction: what is marked with its origins comes back, and is left out.
    pub opposite: Names,
    /// Set where the opposite direction is there too: what it has read. Then this one must be able to mark what it writes.
    pub two_way: Option<Arc<History>>,
    /// Tables of this direction that the opposite one does not carry: nothing tells what the other side has seen of them.
    pub one_way: Arc<HashSet<TableName>>,
    /// The opposite direction carries tables that this one does not.
    pub carries_less: bool,
    /// Nothing is applied before it is true; what comes back is left out from the beginning.
    pub may_apply: watch::Receiver<bool>,
    /// The task made the tables, but for those that are kept: they have no other columns than the source's.
    pub exact: bool,
    /// Tables that the peer had before and keeps, with rows of its own.
    pub kept: BTreeSet<TableName>,
    /// For display and for those who wait.
    pub progress: Arc<Progress>,
    /// Held while a transaction is open on the peer; schema changes on the peer take it.
    pub gate: Arc<Mutex<()>>,
    /// A position that the peer had reached before, when the source knows of one.
    pub at_least: Option<Lsn>,
    /// The task's slot.
    pub slot: String,
    /// A connection to the source for fresh snapshots.
    pub source: Arc<Client>,
    /// How fast changes may go to the peer.
    pub throttle: Arc<Throttle>,
    /// How conflicts are decided; a change counts from the next transaction on.
    pub rules: watch::Receiver<Rules>,
    /// Commit records of transactions that are left out.
    pub skips: Vec<Lsn>,
}

struct Open {
    transaction: Transaction,
    commit_ts: i64,
    /// The peer has it already, once all tables stand at one position.
    is_there: bool,
    /// Changes of rows so far.
    changes: i64,
    /// How its conflicts are decided.
    rules: Arc<Rules>,
    /// How much is looked at before its changes are made.
    care: Care,
    /// The opposite direction has written it.
    is_echo: bool,
}

/// Applies one task's stream.
pub struct Applier {
    setting: Setting,
    session: Session,
    relations: Relations,
    targets: foldhash::HashMap<u32, Target>,
    /// For changes that are applied with care.
    careful_targets: foldhash::HashMap<u32, Target>,
    /// None once the task stands at one position.
    tables: Option<Tables>,
    known: foldhash::HashMap<TableName, u32>,
    epochs: Epochs,
    /// When the source was asked for them.
    epochs_at: Instant,
    open: Option<Open>,
    streamed: Streamed,
    two_phase: TwoPhase,
    /// Memory for changes of transactions in progress.
    copied: BytesMut,
    group: Group,
    /// When the source sent what came last, by its clock.
    sent: i64,
    batch: Batch,
    /// Statements that apply a small transaction whole.
    wholes: Wholes,
    /// Transactions that commit before this go change by change: a faster way has met a surprise in them.
    careful_until: Lsn,
    /// Those that commit before this are weighed.
    weigh_until: Lsn,
    /// Updates that wait to be weighed, by relation.
    weighed: foldhash::HashMap<u32, weigh::Way>,
    /// How many conflicts are written down.
    recording: Option<Statement>,
    resolver: Resolver,
    /// How deferrable keys are tested.
    at_end: deferrable::Tests,
    /// So long transactions go change by change though nothing is known of them: conflicts come together.
    careful_for: Option<Instant>,
    /// Likewise that they are weighed.
    weigh_for: Option<Instant>,
    /// To be told to the other side, once the position has come there: how far it has seen this one when nothing is changed.
    mark: Option<Horizon>,
    /// What the session knows of that: see `open_group`.
    told_seen: Option<i64>,
    /// What deletes rows that came back, by relation.
    again: HashMap<u32, deletions::Again>,
    /// Asks for the tables of which deletions are remembered.
    remembered: OnceCell<Statement>,
    /// Deletions that were committed before are not remembered any more.
    forgotten: Lsn,
    /// When that was looked at last.
    forgot_at: Option<Instant>,
    /// How often in a row somebody else has come between.
    contended: u32,
    /// What waited for a table is applied with care: it cannot be read again from here.
    draining: bool,
    /// The stream must be read again.
    rewind: bool,
    /// Everything the stream brought before is dealt with, or is under way in the peer's open transaction.
    position: Lsn,
    /// The position that stands on the peer; the slot is never confirmed past it.
    on_peer: Lsn,
    /// What the other side had seen there.
    seen_there: Horizon,
    /// When it was last moved without changes.
    moved_at: Option<Instant>,
    /// Nothing on the peer depends on the slot yet.
    fresh: bool,
    confirm: watch::Sender<Lsn>,
    flush: Flush,
    passed: watch::Sender<Lsn>,
    one_position: watch::Sender<bool>,
    mixed: HashMap<TableName, Lsn>,
}

impl Applier {
    /// Up to where the source may forget.
    pub fn confirmations(&self) -> watch::Receiver<Lsn> {
        self.confirm.subscribe()
    }

    /// Up to where everything that the stream brought is on the peer, or waits for the copy of its table.
    pub fn passed(&self) -> watch::Receiver<Lsn> {
        self.passed.subscribe()
    }

    /// Tables that are on the peer and were copied under several snapshots, with the position from which on their rows are of
    /// one point in time.
    pub fn mixed(&self) -> &HashMap<TableName, Lsn> {
        &self.mixed
    }

    /// How the stream is to be read.
    pub fn mode(&self) -> Mode {
        match () {
            () if self.tables.is_some() => Mode::Committed,
            () if self.two_phase.is_on() => Mode::InProgress { two_phase: true },
            // What comes in blocks is left out unread when the opposite direction has written it.
            () if self.heeds_deletions() => Mode::Committed,
            () if !self.two_phase.is_able() => Mode::InProgress { two_phase: false },
            // A prepared transaction holds its locks until it ends, and what follows the rows would wait for that.
            () if self.setting.progress.schema_done() => Mode::InProgress { two_phase: true },
            () => Mode::Committed,
        }
    }

    /// Where the stream is to begin when it is read so; zero is where the slot stands.
    ///
    /// Once it sends transactions when they are prepared, never before that was switched on, even if the slot stands there: it would send
    /// again what was prepared and committed by then, and the position does not tell of those.
    pub async fn begin_at(&mut self, mode: Mode) -> Result<Lsn> {
        if mode != (Mode::InProgress { two_phase: true }) {
            return Ok(Lsn(0));
        }
        match self.two_phase.since() {
            Some(since) => Ok(since),
            None => self.switch_two_phase_on().await,
        }
    }

    /// Turns true when every table stands at one position.
    pub fn one_position(&self) -> watch::Receiver<bool> {
        self.one_position.subscribe()
    }

    /// Tables whose copy is not on the peer yet.
    pub fn to_copy(&self) -> Vec<TableName> {
        let Some(tables) = &self.tables else { return vec![] };
        self.known.keys().filter(|t| matches!(tables.get(t), Some(State::Init))).cloned().collect()
    }
}

fn outside() -> Error {
    Error::new(Kind::Protocol, "the source sent a change outside of a transaction")
}

/// The peer stands before a position that it had reached: it is a restored copy, or a standby that had not received all.
pub fn set_back() -> Error {
    Error::new(Kind::PositionLost, "the peer has been set back: it lacks changes that it had")
        .detail("The source has been told that they are there, so it may not have them any more.")
        .hint("Call pgrelay.stop_task(), empty the tables on the peer, and start the task anew.")
}

/// What comes back could not be told from what others write.
pub fn not_marked() -> Error {
    Error::new(
        Kind::InsufficientPrivilege,
        "a two-way task must mark what it writes, and the applier's role may not use replication origins",
    )
    .hint("Grant EXECUTE on the origin functions, as docs/privileges.md says, then call pgrelay.resume_task().")
}

/// Where the task's position stands, for messages.
pub fn task_row() -> Arc<TableName> {
    Arc::new(TableName::new("pgrelay_peer", "task"))
}

/// A snapshot of the source, now.
pub async fn fresh_snapshot(source: &Client) -> Result<Snapshot> {
    let row = source.query_one("SELECT pg_catalog.pg_current_snapshot()::text", &[]).await;
    row.map_err(|e| server_error(e, "read the source's snapshot"))?.get::<_, &str>(0).parse()
}
