//! Applies the stream to the peer: each transaction once, in commit order.
//!
//! Two phases. Until every table streams, each table has its own position, a row on the peer that moves in the
//! transaction that applies the table's changes (`tables`). When every table stands where the stream stands, one
//! transaction says so on the peer, and from there on the task's one position counts.
//!
//! Several source transactions may share one peer transaction while there is a backlog; the position is that of the
//! last. Dropping an `Applier` at any moment is harmless: nothing but the peer's committed state matters.

mod batch;
mod bulk;
mod commit;
mod copies;
mod gather;
mod group;
pub mod marks;
pub mod peer_table;
mod place;
pub mod relation;
pub mod session;
pub mod standing;
pub mod statement;
pub mod tables;
pub mod waiting;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use pgrelay_core::{Error, Lsn, Result, error::Kind, name::TableName, snapshot::Snapshot};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio_postgres::Client;

use self::{
    batch::{Batch, Kept},
    group::Group,
    relation::{Relation, RelationColumn, Target},
    session::{Operation, Session},
    standing::Standing,
    tables::{Earlier, Form, Rows, Seen, State, Tables, Transaction, Verdict},
    waiting::WaitingChange,
};
use crate::{
    pg::{
        Endpoint,
        pgoutput::{self, Message, Tuple},
        replication::Frame,
        server_error,
    },
    progress::{Progress, TableState},
    stream::receiver::Queued,
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
    /// Read the stream again from the confirmed position.
    Rewind,
}

/// What the applier needs from the task.
pub struct Setting {
    /// The peer.
    pub peer: Endpoint,
    /// The task's origin there, which is also its key.
    pub origin: String,
    /// The task made the tables, but for those that are kept: they have no other columns than the source's.
    pub exact: bool,
    /// Tables that the peer had before and keeps: changes overwrite rows that the task has not written.
    pub kept: BTreeSet<TableName>,
    /// For display and for those who wait.
    pub progress: Arc<Progress>,
    /// Held while a transaction is open on the peer; schema changes on the peer take it.
    pub gate: Arc<Mutex<()>>,
    /// A position that the peer had reached before, when the source knows of one.
    pub at_least: Option<Lsn>,
    /// A connection to the source for fresh snapshots.
    pub source: Arc<Client>,
    /// How fast changes may go to the peer.
    pub throttle: Arc<Throttle>,
}

struct Open {
    transaction: Transaction,
    commit_ts: i64,
}

/// Applies one task's stream.
pub struct Applier {
    setting: Setting,
    session: Session,
    relations: HashMap<u32, Arc<Relation>>,
    targets: HashMap<u32, Target>,
    /// None once the task stands at one position.
    tables: Option<Tables>,
    known: HashMap<TableName, u32>,
    reference: Snapshot,
    open: Option<Open>,
    group: Group,
    batch: Batch,
    /// Transactions that commit before this go row by row: many at once has met a surprise in them.
    one_by_one_until: Lsn,
    /// The stream must be read again.
    rewind: bool,
    /// Everything the stream brought before is dealt with.
    position: Lsn,
    confirm: watch::Sender<Lsn>,
    passed: watch::Sender<Lsn>,
    one_position: watch::Sender<bool>,
    mixed: HashMap<TableName, Lsn>,
}

/// How often a fresh snapshot is taken while the slot waits for one.
const SNAPSHOT_PERIOD: Duration = Duration::from_millis(300);

impl Applier {
    /// Takes the origin, then reads how far each table is. `known`: the task's tables with their oids on the source.
    ///
    /// Errors: `ShapeChanged` when a table that was copied has another name now.
    pub async fn open(setting: Setting, known: HashMap<TableName, u32>) -> Result<Applier> {
        let session = Session::open(&setting.peer, &setting.origin).await?;
        let Standing { one_position, position } = Standing::read(session.client(), &setting.origin).await?;
        if setting.at_least.is_some_and(|at| !one_position || position < at) {
            return Err(set_back());
        }
        let (mut tables, mut mixed) = (Tables::default(), HashMap::new());
        for table in known.keys() {
            tables.add(table.clone(), State::Init, None);
        }
        let now: HashMap<u32, &TableName> = known.iter().map(|(table, oid)| (*oid, table)).collect();
        for copied in standing::copied(session.client(), &setting.origin).await? {
            let Some(&name) = now.get(&copied.oid) else {
                // A table that is gone from the source has no changes any more, unless another has taken its name.
                let taken = known.get(&copied.table);
                let before = HashMap::from([(copied.table.clone(), copied.oid)]);
                taken.map_or(Ok(()), |oid| standing::same_table(&before, &copied.table, *oid))?;
                continue;
            };
            if *name != copied.table {
                return Err(standing::renamed(&copied.table, name));
            }
            let state = match copied.whole {
                Some((seen, position)) => {
                    if copied.earlier.is_some() {
                        mixed.insert(copied.table.clone(), seen.visible_below);
                    }
                    setting.progress.table(&copied.table, |t| {
                        (t.state, (t.rows, t.bytes), t.rows_kept) = (TableState::SyncDone, copied.amount, copied.kept);
                    });
                    State::Caught { seen, position }
                }
                None => State::Init,
            };
            tables.add(copied.table, state, copied.earlier);
        }
        if one_position {
            setting.progress.every_table(|t| t.state = TableState::Ready);
            setting.progress.stream(|s| s.applied = Some(position));
        }
        let reference = fresh_snapshot(&setting.source).await?;
        Ok(Applier {
            session,
            relations: HashMap::new(),
            targets: HashMap::new(),
            tables: (!one_position).then_some(tables),
            known,
            reference,
            open: None,
            group: Group::default(),
            batch: Batch::default(),
            one_by_one_until: Lsn(0),
            rewind: false,
            position: if one_position { position } else { Lsn(0) },
            confirm: watch::Sender::new(Lsn(0)),
            passed: watch::Sender::new(Lsn(0)),
            mixed,
            one_position: watch::Sender::new(one_position),
            setting,
        })
    }

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

    /// Turns true when every table stands at one position.
    pub fn one_position(&self) -> watch::Receiver<bool> {
        self.one_position.subscribe()
    }

    /// Tables whose copy is not on the peer yet.
    pub fn to_copy(&self) -> Vec<TableName> {
        let Some(tables) = &self.tables else { return vec![] };
        self.known.keys().filter(|t| matches!(tables.get(t), Some(State::Init))).cloned().collect()
    }

    /// Applies what comes until the stream must be read again.
    pub async fn run(&mut self, frames: &mut mpsc::Receiver<Queued>, copies: &mut mpsc::Receiver<CopyMessage>) -> Result<End> {
        let ended = self.apply(frames, copies).await;
        if std::mem::take(&mut self.rewind) { Ok(End::Rewind) } else { ended }
    }

    async fn apply(&mut self, frames: &mut mpsc::Receiver<Queued>, copies: &mut mpsc::Receiver<CopyMessage>) -> Result<End> {
        self.relations.clear();
        self.targets.clear();
        self.batch.ways.clear();
        self.open = None;
        if let Some(tables) = &mut self.tables {
            tables.rewind();
            self.position = *self.confirm.borrow();
        }
        let mut tick = tokio::time::interval(SNAPSHOT_PERIOD);
        loop {
            // A copy may speak only between two transactions of the stream, and before the next one.
            if self.open.is_none() {
                while let Ok(message) = copies.try_recv() {
                    self.commit_group().await?;
                    if let Some(end) = self.hear(message).await? {
                        return Ok(end);
                    }
                }
                if self.group.is_full() || frames.is_empty() {
                    self.commit_group().await?;
                }
            }
            tokio::select! {
                frame = frames.recv() => {
                    let frame = frame.ok_or_else(|| Error::new(Kind::Connection, "the stream from the source ended"))?;
                    self.take(frame.frame).await?;
                }
                Some(message) = copies.recv(), if self.open.is_none() => {
                    self.commit_group().await?;
                    if let Some(end) = self.hear(message).await? {
                        return Ok(end);
                    }
                }
                _ = tick.tick(), if self.tables.is_some() && self.open.is_none() => self.look_again().await?,
            }
        }
    }

    async fn look_again(&mut self) -> Result<()> {
        if self.tables.as_ref().is_some_and(Tables::wants_fresh_snapshot) {
            self.reference = fresh_snapshot(&self.setting.source).await?;
            if let Some(tables) = &mut self.tables {
                tables.fresh_snapshot(&self.reference);
            }
        }
        self.settle_position().await
    }

    async fn take(&mut self, frame: Frame) -> Result<()> {
        match frame {
            Frame::Keepalive { wal_end, .. } => {
                // Inside a transaction the position says nothing about it; outside, all commits before it have come.
                if self.open.is_none() {
                    self.commit_group().await?;
                    self.position = self.position.max(wal_end);
                    self.settle_position().await?;
                }
                Ok(())
            }
            Frame::Data { payload, .. } => self.message(payload).await,
        }
    }

    async fn message(&mut self, payload: Bytes) -> Result<()> {
        match pgoutput::decode(&payload, false)? {
            Message::Begin { final_lsn, commit_ts, xid } => {
                let transaction = Transaction { xid: self.reference.widen(xid), commit: final_lsn };
                self.open = Some(Open { transaction, commit_ts });
                self.setting.progress.stream(|s| s.applying_since = s.applying_since.or(Some(commit_ts)));
            }
            Message::Commit { end_lsn, .. } => self.finish(end_lsn).await?,
            Message::Relation { oid, schema, name, replica_identity, columns, .. } => {
                let schema = if schema.is_empty() { "pg_catalog" } else { schema };
                let table = Arc::new(TableName::new(schema, name));
                let column = |c: &pgoutput::RelationColumn<'_>| RelationColumn {
                    name: c.name.to_owned(),
                    is_key: c.is_key,
                    type_oid: c.type_oid,
                    typmod: c.typmod,
                };
                let columns = columns.iter().map(column).collect();
                self.relations.insert(oid, Arc::new(Relation { oid, table, identity: replica_identity, columns }));
            }
            Message::Insert { relation: oid, new, .. } => self.row(oid, None, Some(new), &payload).await?,
            Message::Update { relation: oid, old, new, .. } => self.row(oid, old.map(|(_, old)| old), Some(new), &payload).await?,
            Message::Delete { relation: oid, old, .. } => self.row(oid, Some(old), None, &payload).await?,
            Message::Truncate { relations, cascade, restart_identity, .. } => {
                self.truncate(&relations, cascade, restart_identity, &payload).await?;
            }
            Message::Type { .. } | Message::Origin { .. } | Message::LogicalMessage { .. } => {}
            _ => return Err(Error::new(Kind::Protocol, "the source sent a message that was not asked for")),
        }
        Ok(())
    }

    fn relation(&self, oid: u32) -> Result<Arc<Relation>> {
        let unknown = || Error::new(Kind::Protocol, format!("a change of relation {oid} came before its description"));
        self.relations.get(&oid).cloned().ok_or_else(unknown)
    }

    /// A change of one row.
    async fn row(&mut self, oid: u32, old: Option<Tuple<'_>>, new: Option<Tuple<'_>>, payload: &Bytes) -> Result<()> {
        let relation = self.relation(oid)?;
        let rows = match self.tables.as_ref().and_then(|t| t.key(&relation.table)) {
            Some(key) => place::rows(&relation, key, old, new),
            None => Ok(Rows::Any),
        };
        let (verdict, form) = self.decide(&relation, rows.as_ref().unwrap_or(&Rows::Any))?;
        // A key that is not told any more does not matter where each part of the table says the same.
        if let (Err(error), Form::Ranges(_)) = (rows, &form) {
            return Err(error);
        }
        match verdict {
            Verdict::Apply if self.gathers() => self.gather(&relation, old, new, payload).await?,
            Verdict::Apply => {
                self.setting.throttle.applied(1, payload.len() as u64).await;
                self.open_group(&relation.table).await?;
                if self.tables.is_none() {
                    self.batch.keep(Kept::Row { relation: relation.clone(), payload: payload.clone() }, false);
                }
                let operation = self.send(oid, &relation, &form, payload).await?;
                self.group.count(&relation.table, operation);
            }
            Verdict::Wait => self.wait(relation.table.clone(), Some(relation), form, payload)?,
            Verdict::LeaveOut => self.setting.progress.settled_rows(1),
        }
        Ok(())
    }

    async fn new_target(&mut self, relation: &Arc<Relation>) -> Result<Target> {
        let kept = self.setting.kept.contains(relation.table.as_ref());
        Target::new(self.session.client(), relation.clone(), self.setting.exact, kept).await
    }

    async fn target(&mut self, relation: &Arc<Relation>) -> Result<&mut Target> {
        if self.targets.get(&relation.oid).is_none_or(|t| !Arc::ptr_eq(&t.relation, relation)) {
            let target = self.new_target(relation).await?;
            self.targets.insert(relation.oid, target);
        }
        let target = self.targets.get_mut(&relation.oid).ok_or_else(outside)?;
        if target.is_partitioned() { Err(partitioned(&relation.table)) } else { Ok(target) }
    }

    fn decide(&mut self, relation: &Relation, rows: &Rows) -> Result<(Verdict, Form)> {
        let open = self.open.as_ref().ok_or_else(outside)?;
        standing::same_table(&self.known, &relation.table, relation.oid)?;
        Ok(match &mut self.tables {
            Some(tables) => tables.decide(&relation.table, open.transaction, rows),
            // The position is the end of a commit record.
            None if open.transaction.commit < self.position => (Verdict::LeaveOut, Form::Whole),
            None => (Verdict::Apply, Form::Whole),
        })
    }

    fn wait(&mut self, table: Arc<TableName>, relation: Option<Arc<Relation>>, form: Form, payload: &Bytes) -> Result<()> {
        let commit = self.open.as_ref().ok_or_else(outside)?.transaction.commit;
        if let Some((waiting, budget)) = self.tables.as_mut().and_then(|t| t.waiting(&table)) {
            // The end is not known before COMMIT; the table's position only has to lie above this commit record.
            let change = WaitingChange { end: Lsn(commit.0 + 1), relation, form, payload: Bytes::copy_from_slice(payload) };
            waiting.push(budget, commit, change);
        }
        Ok(())
    }

    /// Sends one change of a row, as much of it as `form` says; the peer's transaction is open.
    async fn send(&mut self, oid: u32, relation: &Arc<Relation>, form: &Form, payload: &Bytes) -> Result<Operation> {
        self.target(relation).await?;
        let target = self.targets.get_mut(&oid).ok_or_else(outside)?;
        let session = &mut self.session;
        let (ready, operation) = match (pgoutput::decode(payload, false)?, form) {
            (Message::Update { new, .. }, Form::NewRow) if place::is_partial(new) => {
                return Err(standing::start_over(&self.setting.peer, &self.setting.origin, &relation.table).await?);
            }
            (Message::Update { new, .. }, Form::NewRow) | (Message::Insert { new, .. }, _) => {
                (Some(target.insert(session, payload, new).await?), Operation::Insert)
            }
            (Message::Update { old: Some((_, old)), .. }, Form::OldRow) | (Message::Delete { old, .. }, _) => {
                (Some(target.delete(session, payload, old).await?), Operation::Delete)
            }
            (Message::Update { old, new, .. }, _) => {
                let update = target.update(session, payload, old.map(|(_, o)| o), new).await?;
                update.map_or((None, Operation::Update), |(ready, operation)| (Some(ready), operation))
            }
            _ => return Err(outside()),
        };
        if let Some(ready) = ready {
            session.execute(ready.statement, ready.values, operation, &relation.table).await?;
        }
        Ok(operation)
    }

    async fn truncate(&mut self, relations: &[u32], cascade: bool, restart_identity: bool, payload: &Bytes) -> Result<()> {
        self.settle_gathered().await?;
        let mut now = vec![];
        for &oid in relations {
            let relation = self.relation(oid)?;
            if !self.known.contains_key(&relation.table) && self.is_parent(oid, &relation).await? {
                continue;
            }
            match self.decide(&relation, &Rows::Any)? {
                (Verdict::Apply, Form::Whole) => now.push(relation.table.clone()),
                (Verdict::Apply, form) => {
                    self.open_group(&relation.table).await?;
                    self.empty(&relation.table, &form, restart_identity).await?;
                }
                (Verdict::Wait, form) => self.wait(relation.table.clone(), None, form, payload)?,
                (Verdict::LeaveOut, _) => {}
            }
        }
        let Some(first) = now.first().cloned() else { return Ok(()) };
        self.open_group(&first).await?;
        let names: Vec<&TableName> = now.iter().map(Arc::as_ref).collect();
        // A sequence of the peer's own never goes back.
        let restart_identity = restart_identity && !names.iter().any(|t| self.setting.kept.contains(*t));
        // Foreign keys come when every table streams, so before that nothing can cascade.
        let sql = statement::truncate(&names, cascade && self.tables.is_none(), restart_identity);
        self.batch.keep(Kept::Sql { sql: sql.clone(), table: first.clone() }, false);
        let sent = self.session.run(sql, Operation::Truncate, &first).await;
        self.or_again(sent).await?;
        for table in now {
            self.group.count(&table, Operation::Truncate);
        }
        Ok(())
    }

    /// A TRUNCATE of one table, or of the parts of it that have not seen it.
    async fn empty(&mut self, table: &Arc<TableName>, form: &Form, restart_identity: bool) -> Result<()> {
        let sql = match (form, self.tables.as_ref().and_then(|t| t.key(table))) {
            (Form::Ranges(ranges), Some(key)) => statement::empty_ranges(table, &key.column, ranges),
            _ => statement::truncate(&[table], false, restart_identity && !self.setting.kept.contains(table.as_ref())),
        };
        self.session.run(sql, Operation::Truncate, table).await?;
        self.group.count(table, Operation::Truncate);
        Ok(())
    }

    /// A partitioned table has no rows of its own: TRUNCATE names its partitions too.
    async fn is_parent(&mut self, oid: u32, relation: &Arc<Relation>) -> Result<bool> {
        if !self.targets.contains_key(&oid) {
            let target = self.new_target(relation).await?;
            self.targets.insert(oid, target);
        }
        Ok(self.targets.get(&oid).is_some_and(Target::is_partitioned))
    }

    async fn finish(&mut self, end: Lsn) -> Result<()> {
        let open = self.open.take().ok_or_else(outside)?;
        let applied = self.tables.is_some() || open.transaction.commit >= self.position;
        self.position = self.position.max(end);
        if self.group.is_open() {
            self.group.transaction(end, open.commit_ts);
        } else if applied {
            self.settle_position().await?;
        }
        self.setting.progress.stream(|s| {
            s.received = s.received.max(end);
        });
        Ok(())
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

/// Where the task's position stands, for messages.
fn task_row() -> Arc<TableName> {
    Arc::new(TableName::new("pgrelay_peer", "task"))
}

/// A table of the peer that has partitions where the source's has none: rows of partitions are not found by ONLY.
pub fn partitioned(table: &TableName) -> Error {
    Error::new(Kind::ShapeChanged, format!("table \"{table}\" is partitioned on the peer and not on the source"))
        .object(table.to_string())
        .hint("Make it an ordinary table on the peer, or partition it there once the task is stopped.")
}

/// A snapshot of the source, now.
pub async fn fresh_snapshot(source: &Client) -> Result<Snapshot> {
    let row = source.query_one("SELECT pg_catalog.pg_current_snapshot()::text", &[]).await;
    row.map_err(|e| server_error(e, "read the source's snapshot"))?.get::<_, &str>(0).parse()
}
