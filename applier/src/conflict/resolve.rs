//! One change, exactly: looks at what it meets, asks what is to be done, does it, writes down what it was.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use pgrelay_core::{
    Error, Lsn, Result,
    conflict::{Action, Change, Decision, Direction, Gone, Kind as ConflictKind, Met, Operation, Rules, Writer, decide, remembers},
    error::Kind,
    name::TableName,
};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, Statement};

use super::{
    keys::Which,
    meet::{self, Look, MetRow},
    missing,
    place::Place,
    record::{self, Conflict, Images, Record},
    removed,
    tombstone::Memory,
};
use crate::{
    apply::{
        relation::Target,
        session::{self, Session, Value},
        sight::{Horizon, Sight},
    },
    pg::{
        pgoutput::{self, Column, Message, Tuple},
        server_error,
    },
};

/// Characters of each value of a key that an error shows.
const KEY_SHOWN: usize = 100;

/// The transaction of the source that a change belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    /// Its id there.
    pub xid: u64,
    /// Its commit record.
    pub commit: Lsn,
    /// When it was committed, in microseconds since 2000.
    pub committed: i64,
}

/// A change as the stream brought it.
#[derive(Clone, Copy)]
pub struct Incoming<'a> {
    /// Where it comes from.
    pub origin: Origin,
    /// Which change of its transaction it is, from 1.
    pub number: i64,
    /// The message that the rows are parts of.
    pub payload: &'a Bytes,
    /// What is known of the old row.
    pub old: Option<Tuple<'a>>,
    /// The new row.
    pub new: Option<Tuple<'a>>,
    /// Insert, update or delete.
    pub operation: Operation,
}

/// How conflicts are met on one side.
pub struct Resolver {
    /// Under which name the task's own writes are known there.
    pub origin: String,
    /// Which way the changes go.
    pub direction: Direction,
    /// Where records are written down.
    pub place: Place,
    /// The server has `track_commit_timestamp` on.
    pub tracks: bool,
    /// A session on the side that the changes come from, for values that they do not carry.
    pub other_side: Arc<Client>,
    /// What that side had seen of this one.
    pub sight: Sight,
    /// Tables of which nothing goes back to that side, so that it has seen nothing of them.
    pub one_way: Arc<HashSet<TableName>>,
    /// How records are written.
    pub recording: OnceCell<Statement>,
    tables: HashMap<u32, Table>,
    failure: Option<Record>,
    /// Changes, by commit record and number, whose deferrable keys were violated at the end of their transaction.
    at_end: HashSet<(Lsn, i64)>,
}

/// What a change met: the row that it is about, those that its new row collides with, and what is remembered of deletions.
#[derive(Default)]
struct Seen {
    row: Option<MetRow>,
    colliding: Vec<MetRow>,
    gone: Deletions,
}

#[derive(Default)]
struct Deletions {
    new: Option<MetRow>,
    is_known: bool,
}

impl Seen {
    fn decide(&self, rules: &Rules, change: Change<'_>) -> Decision {
        let met = |row: &MetRow| Met { writer: row.writer };
        let colliding: Vec<Met> = self.colliding.iter().map(met).collect();
        let gone = Gone { new: self.gone.new.as_ref().map(met), is_known: self.gone.is_known };
        decide(rules, change, self.row.as_ref().map(met), &colliding, gone)
    }
}

impl<'a> Incoming<'a> {
    /// The same change as another message tells it.
    fn with(self, payload: &'a Bytes) -> Result<Incoming<'a>> {
        match pgoutput::decode(payload, false)? {
            Message::Update { old, new, .. } => {
                Ok(Incoming { payload, old: self.old.and(old).map(|(_, old)| old), new: Some(new), ..self })
            }
            _ => Err(Error::new(Kind::Internal, "a change was completed to something else")),
        }
    }
}

struct Table {
    look: Look,
    rows: HashMap<bool, Statement>,
    images: Images,
    /// None until it is needed, or where rows are not found by a key.
    memory: Option<Option<Memory>>,
}

/// A prepared query and its parameters.
pub(super) type Asking = (Statement, Vec<Value>);

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// False when it was left out.
    pub applied: bool,
    /// The kind of conflict that it was.
    pub conflict: Option<pgrelay_core::conflict::Kind>,
    /// A row that it met was written last by somebody else, who was known of.
    pub met_others: bool,
}

impl Resolver {
    /// For a session of the peer, whose setting is looked at.
    pub async fn new(peer: &Client, origin: &str, direction: Direction, place: Place, other_side: Arc<Client>) -> Result<Resolver> {
        let sql = "SELECT pg_catalog.current_setting('track_commit_timestamp') = 'on'";
        let row = peer.query_one(sql, &[]).await.map_err(|e| server_error(e, "look whether commit times are known"))?;
        Ok(Resolver {
            origin: origin.to_owned(),
            direction,
            place,
            tracks: row.get(0),
            other_side,
            sight: Sight::default(),
            one_way: Arc::default(),
            recording: OnceCell::new(),
            tables: HashMap::new(),
            failure: None,
            at_end: HashSet::new(),
        })
    }

    /// The stream is read again, and with it what is known of the peer's tables.
    pub fn forget(&mut self) {
        self.tables.clear();
        self.failure = None;
    }

    /// These changes left deferrable keys violated: when they come again, they collide at once with whatever holds their values. False
    /// when all of them were known.
    pub fn violated_at_end(&mut self, changes: impl IntoIterator<Item = (Lsn, i64)>) -> bool {
        let known = self.at_end.len();
        self.at_end.extend(changes);
        self.at_end.len() > known
    }

    /// Everything before this commit record is on the peer.
    pub fn passed(&mut self, commit: Lsn) {
        self.at_end.retain(|(known, _)| *known >= commit);
    }

    /// Applies one change by these rules. The peer's transaction is open; the answer to the change may still be under way afterwards, and an
    /// error of it goes before one from here.
    ///
    /// Errors: `Conflict` when the policy is to fail, with the record to be written once the transaction is rolled back; `Contention`
    /// when somebody else writes at the same time and all of it is to be tried again.
    pub async fn apply(&mut self, session: &mut Session, target: &mut Target, rules: &Rules, incoming: Incoming<'_>) -> Result<Outcome> {
        let table = target.relation.table.clone();
        self.prepare(session, target).await?;
        let change =
            Change { operation: incoming.operation, table: &table, direction: self.direction, committed: incoming.origin.committed };
        let is_by_key = self.goes_back(&table) && remembers(rules, change);
        let moves = is_by_key && target.changes_key(incoming.old, incoming.new);
        let nothing = if is_by_key { self.meet_nothing(session, target, incoming).await? } else { None };
        let (mut row, mut colliding, new) = match nothing {
            Some(new) => (None, vec![], new),
            None => {
                let (row, colliding) = self.meet(session, target, incoming).await?;
                let new = match incoming.new {
                    Some(new) if is_by_key && (row.is_none() || moves) => self.gone(session, target, incoming, new).await?,
                    _ => None,
                };
                (row, colliding, new)
            }
        };
        let gone = Deletions { new, is_known: is_by_key };
        let mut met_others = false;
        for met in row.iter_mut().chain(&mut colliding) {
            met_others |= self.judge(&table, met.xid, &mut met.writer);
        }
        let met = Seen { row, colliding, gone };
        let decision = met.decide(rules, change);
        if let (true, Some(row), Action::Skip) = (moves, &met.row, decision.action) {
            // Both keys have a history of their own on both sides, so what wins of the two halves is done.
            let goes = Seen { row: Some(row.clone()), ..Seen::default() };
            let gone =
                self.conclude(session, target, rules, Incoming { operation: Operation::Delete, new: None, ..incoming }, &goes).await?;
            let mut comes = Seen { row: None, ..met };
            if !gone.applied {
                // The row that stays may have values of other keys that the new row has too.
                comes.colliding = self.colliding(session, target, incoming, None).await?;
                for met in &mut comes.colliding {
                    self.judge(&table, met.xid, &mut met.writer);
                }
            }
            let come = self.conclude(session, target, rules, Incoming { operation: Operation::Insert, ..incoming }, &comes).await?;
            return Ok(Outcome { applied: gone.applied || come.applied, conflict: come.conflict.or(gone.conflict), met_others });
        }
        Ok(Outcome { met_others, ..self.conclude(session, target, rules, incoming, &met).await? })
    }

    /// Of an insert that collides with nothing the last deletion of a row with its key, in one round trip; none where it is to be looked
    /// at what it meets.
    async fn meet_nothing(&mut self, session: &mut Session, target: &Target, incoming: Incoming<'_>) -> Result<Option<Option<MetRow>>> {
        let is_insert = incoming.operation == Operation::Insert;
        // pgrelay's own table is no business of the table's owner.
        let Some(new) = incoming.new.filter(|_| is_insert && session.acts_as_itself()) else { return Ok(None) };
        self.prepare_memory(session, target).await?;
        let table = self.table(target)?;
        let Some(Some(memory)) = &table.memory else { return Ok(None) };
        let (client, seen, values) = (session.shared(), self.sight.seen().position, values_of(incoming, new));
        let both = async {
            tokio::try_join!(self.candidates(&client, target, incoming), memory.of(&client, &target.relation.table, &values, seen))
        };
        let (found, gone) = session.ask(both).await?;
        Ok(found.is_empty().then_some(gone))
    }

    /// The row that the change is about, and those that its new row collides with, in one round trip where nothing collides.
    async fn meet(&mut self, session: &mut Session, target: &Target, incoming: Incoming<'_>) -> Result<(Option<MetRow>, Vec<MetRow>)> {
        if incoming.operation == Operation::Insert {
            return Ok((None, self.colliding(session, target, incoming, None).await?));
        }
        let (statement, values) = self.asking_row(session, target, incoming).await?;
        let look = &self.table(target)?.look;
        let client = session.shared();
        let both = async { tokio::try_join!(look.row(&client, &statement, values), self.candidates(&client, target, incoming)) };
        let (row, found) = session.ask(both).await?;
        let colliding = match found.iter().any(|at| row.as_ref().is_none_or(|row| row.at != *at)) {
            true => self.colliding(session, target, incoming, row.as_ref().map(|row| row.at.as_str())).await?,
            false => vec![],
        };
        Ok((row, colliding))
    }

    /// Where rows lie that the new row may collide with; they are not locked.
    async fn candidates(&self, peer: &Client, target: &Target, incoming: Incoming<'_>) -> Result<Vec<String>> {
        if incoming.new.is_none() {
            return Ok(vec![]);
        }
        self.table(target)?.look.candidates(peer, new_values(incoming), self.which(incoming)).await
    }

    fn which(&self, incoming: Incoming<'_>) -> Which {
        if self.at_end.contains(&(incoming.origin.commit, incoming.number)) { Which::All } else { Which::Immediate }
    }

    /// The rows that the new row collides with, but for the one at `own`.
    async fn colliding(&self, session: &mut Session, target: &Target, incoming: Incoming<'_>, own: Option<&str>) -> Result<Vec<MetRow>> {
        if incoming.new.is_none() {
            return Ok(vec![]);
        }
        let look = &self.table(target)?.look;
        let client = session.shared();
        session.ask(look.colliding(&client, || new_values(incoming), own, self.which(incoming))).await
    }

    /// Decides, does what was decided, and writes down what it was.
    async fn conclude(
        &mut self,
        session: &mut Session,
        target: &mut Target,
        rules: &Rules,
        incoming: Incoming<'_>,
        met: &Seen,
    ) -> Result<Outcome> {
        let table = target.relation.table.clone();
        let change =
            Change { operation: incoming.operation, table: &table, direction: self.direction, committed: incoming.origin.committed };
        let decision = met.decide(rules, change);
        let Seen { row, colliding, gone } = met;
        let mut conflict = decision.conflict.map(|(kind, policy)| Conflict {
            met: Some((kind, policy)),
            resolution: decision.action.as_str(),
            note: match (decision.update_missing, decision.by_deletion) {
                (true, _) => Some("The row that the update is about is missing too.".to_owned()),
                (_, true) => Some("The row was deleted, and that counts more than the change.".to_owned()),
                _ => None,
            },
            // What was deleted is no row to be put back, but the reason why the change is left out.
            rows: row.iter().chain(colliding).chain(gone.new.iter().filter(|_| decision.by_deletion)).cloned().collect(),
        });
        if let (Action::Fail, Some(conflict)) = (decision.action, &conflict) {
            self.failure = Some(self.record(session, target, incoming, conflict, None).await?);
            return Err(stopped(target, self.direction, &decision, colliding, incoming));
        }
        let is_strict = decision.conflict.is_some_and(|(_, policy)| policy.is_strict());
        let is_whole = self.goes_back(&table) && is_strict;
        let applied = match decision.action {
            Action::Skip | Action::Fail => false,
            Action::Apply | Action::Replace => self.write(session, target, incoming, met, is_whole).await?,
        };
        if applied && is_whole {
            // A row with the primary key of the change is the change's own. Without such a key that tests at once the two cannot be told
            // apart, here or there.
            let primary = self.table(target)?.look.primary().filter(|_| target.peer().primary_key().is_some());
            if let Some(primary) = primary {
                let others: Vec<&MetRow> = colliding.iter().filter(|row| !row.constraints.iter().any(|c| c == primary)).collect();
                let client = session.shared();
                session.ask(removed::tell(&client, &table, &others, incoming.origin.committed)).await?;
            }
        }
        if !applied && decision.action != Action::Skip {
            let policy = rules.policy(self.direction, &table, ConflictKind::UpdateMissing);
            let left_out = conflict.get_or_insert(Conflict { met: Some((ConflictKind::UpdateMissing, policy)), ..Conflict::SKIPPED });
            (left_out.resolution, left_out.note) = (Action::Skip.as_str(), Some(missing::NOTE.to_owned()));
        }
        if let Some(conflict) = &conflict {
            let result = if applied { self.asking_result(session, target, incoming).await? } else { None };
            let record = self.record(session, target, incoming, conflict, result).await?;
            // pgrelay's own table is no business of the table's owner.
            session.act_as(None, &table).await?;
            record.send(session, &self.recording).await?;
            session.act_for(target.peer(), &table).await?;
        }
        Ok(Outcome { applied, conflict: conflict.and_then(|conflict| conflict.met).map(|(kind, _)| kind), met_others: false })
    }

    /// Whether what is written to a table here goes to the other side.
    fn goes_back(&self, table: &TableName) -> bool {
        self.sight.is_two_way() && !self.one_way.contains(table)
    }

    /// A change that knew of what it meets comes after that, as after what its own direction wrote. True when it is so and
    /// changes of many rows at once would have noticed that row.
    fn judge(&self, table: &TableName, xid: u32, writer: &mut Writer) -> bool {
        if !self.goes_back(table) {
            return false;
        }
        let Writer::Other(Some(committed)) = *writer else { return false };
        let has_seen = self.sight.has_seen(xid, committed);
        if has_seen {
            *writer = Writer::Own;
        }
        has_seen && self.sight.certain().is_none_or(|certain| committed > certain)
    }

    /// Decides about a deletion, or an update with an unchanged key where nothing but that key keeps rows apart, of a row that transaction
    /// `met.0` has written. `seen`: what the other side had seen when it made the change. The second is true where changes of many rows at once
    /// would have noticed the row.
    pub fn weigh(
        &mut self,
        table: &TableName,
        rules: &Rules,
        operation: Operation,
        (of, seen): (Origin, Horizon),
        met: (u32, &mut Writer),
    ) -> (Decision, bool) {
        let now = self.sight.seen();
        self.sight.go_back_to(seen);
        let (xid, writer) = met;
        let met_others = self.judge(table, xid, writer);
        self.sight.go_back_to(now);
        let change = Change { operation, table, direction: self.direction, committed: of.committed };
        (decide(rules, change, Some(Met { writer: *writer }), &[], Gone::default()), met_others)
    }

    /// Leaves one change out and writes down what it was.
    pub async fn skip(&mut self, session: &mut Session, target: &Target, incoming: Incoming<'_>) -> Result<()> {
        self.prepare(session, target).await?;
        let record = self.record(session, target, incoming, &Conflict::SKIPPED, None).await?;
        session.act_as(None, &target.relation.table).await?;
        record.send(session, &self.recording).await
    }

    /// Writes down a TRUNCATE of a table that is left out.
    pub async fn skip_truncate(&self, session: &mut Session, table: &Arc<TableName>, of: Origin, number: i64) -> Result<()> {
        session.settle().await?;
        session.act_as(None, table).await?;
        record::of_truncate(&self.place, table, of, number).send(session, &self.recording).await
    }

    /// Whether the last error is a policy's decision.
    pub fn has_failure(&self) -> bool {
        self.failure.is_some()
    }

    /// The record of the conflict that the last error was about, once: to be written when the transaction is rolled back.
    pub fn take_failure(&mut self) -> Option<Record> {
        self.failure.take()
    }

    /// `result`: how the row is asked for that the change has become.
    async fn record(
        &mut self,
        session: &mut Session,
        target: &Target,
        incoming: Incoming<'_>,
        conflict: &Conflict,
        result: Option<Asking>,
    ) -> Result<Record> {
        let table = self.tables.get_mut(&target.relation.oid).ok_or_else(not_prepared)?;
        let client = session.shared();
        session.ask(record::make(&client, &mut table.images, &self.place, target, incoming, conflict, (&table.look, result))).await
    }

    async fn prepare(&mut self, session: &mut Session, target: &Target) -> Result<()> {
        let relation = &target.relation;
        if !self.tables.contains_key(&relation.oid) {
            let given = target.column_names();
            let client = session.shared();
            let look = session.ask(Look::new(&client, &relation.table, given, &self.origin, self.tracks)).await?;
            self.tables.insert(relation.oid, Table { look, rows: HashMap::new(), images: Images::default(), memory: None });
        }
        Ok(())
    }

    fn table(&self, target: &Target) -> Result<&Table> {
        self.tables.get(&target.relation.oid).ok_or_else(not_prepared)
    }

    /// The last deletion here of a row with the key of the new row, unless the other side had seen it.
    async fn gone(&mut self, session: &mut Session, target: &mut Target, incoming: Incoming<'_>, new: Tuple<'_>) -> Result<Option<MetRow>> {
        // pgrelay's own table is no business of the table's owner.
        session.act_as(None, &target.relation.table).await?;
        self.prepare_memory(session, target).await?;
        session.settle().await?;
        let last = self.last_deletion(session, target, incoming, new).await?;
        session.act_for(target.peer(), &target.relation.table).await?;
        Ok(last)
    }

    async fn prepare_memory(&mut self, session: &mut Session, target: &Target) -> Result<()> {
        if self.table(target)?.memory.is_none() {
            session.settle().await?;
            let memory = Memory::new(session.client(), &self.origin, target).await?;
            self.tables.get_mut(&target.relation.oid).ok_or_else(not_prepared)?.memory = Some(memory);
        }
        Ok(())
    }

    async fn last_deletion(
        &self,
        session: &mut Session,
        target: &Target,
        incoming: Incoming<'_>,
        row: Tuple<'_>,
    ) -> Result<Option<MetRow>> {
        let seen = self.sight.seen().position;
        let Some(Some(memory)) = &self.table(target)?.memory else { return Ok(None) };
        memory.of(session.client(), &target.relation.table, &values_of(incoming, row), seen).await
    }

    /// How the new row is asked for as it stands there; none where the change does not carry what finds it.
    async fn asking_result(&mut self, session: &mut Session, target: &Target, incoming: Incoming<'_>) -> Result<Option<Asking>> {
        let (_, parameters) = target.condition(false);
        if incoming.new.is_none() || target.values(&parameters, incoming.payload, None, incoming.new).is_err() {
            return Ok(None);
        }
        self.asking_row(session, target, Incoming { old: None, ..incoming }).await.map(Some)
    }

    /// How the row is asked for that an update or a delete is about.
    async fn asking_row(&mut self, session: &mut Session, target: &Target, incoming: Incoming<'_>) -> Result<Asking> {
        let old_known = incoming.old.is_some();
        let (condition, parameters) = target.condition(old_known);
        let table = self.tables.get_mut(&target.relation.oid).ok_or_else(not_prepared)?;
        if !table.rows.contains_key(&old_known) {
            let statement = session.prepare(&table.look.row_sql(&condition), &target.relation.table).await?;
            table.rows.insert(old_known, statement);
        }
        let values = target.values(&parameters, incoming.payload, incoming.old, incoming.new)?;
        Ok((table.rows[&old_known].clone(), values))
    }

    /// Makes the change; false when a value that it needs is nowhere any more. `is_whole`: the row becomes what it is on the other side,
    /// also where the change leaves a long value as it was there.
    async fn write(
        &mut self,
        session: &mut Session,
        target: &mut Target,
        incoming: Incoming<'_>,
        met: &Seen,
        is_whole: bool,
    ) -> Result<bool> {
        let table = target.relation.table.clone();
        let completed = match incoming.new.filter(|new| new.is_partial() && (is_whole || met.row.is_none())) {
            Some(new) => match missing::complete(&self.other_side, target, incoming.payload, incoming.old, new).await? {
                Some(completed) => Some(completed),
                // Of the row that is here the rest changes, and its key above all: a change that follows takes it away, or brings the value.
                None if met.row.is_some() => None,
                None => return Ok(false),
            },
            None => None,
        };
        let incoming = match &completed {
            Some(payload) => incoming.with(payload)?,
            None => incoming,
        };
        let colliding = &met.colliding;
        let (ready, operation) = match (incoming.operation, incoming.new) {
            (Operation::Delete, _) | (_, None) => {
                let Some(old) = incoming.old else { return Err(without_row(target)) };
                (Some(target.delete(session, incoming.payload, old).await?), session::Operation::Delete)
            }
            (Operation::Update, Some(new)) if met.row.is_some() => {
                self.remove(session, target, colliding, None).await?;
                (target.update(session, incoming.payload, incoming.old, new).await?, session::Operation::Update)
            }
            (_, Some(new)) => {
                // Only by that key the row could be updated in its place.
                let primary = self.table(target)?.look.primary().filter(|_| target.finds_by_primary_key());
                let same = colliding.iter().find(|row| primary.is_some_and(|name| row.constraints.iter().any(|c| c == name)));
                self.remove(session, target, colliding, same.map(|row| row.at.as_str())).await?;
                match same {
                    // In place, so that what the peer alone has in this row stays.
                    Some(_) => (target.update(session, incoming.payload, None, new).await?, session::Operation::Update),
                    None => (Some(target.insert(session, incoming.payload, new).await?), session::Operation::Insert),
                }
            }
        };
        if let Some(ready) = ready {
            // That the row is there, or nothing in its way, is known.
            let operation = if target.peer().watched { session::Operation::Watched } else { operation };
            session.change_after_look(ready, operation, &table).await?;
            if target.peer().watched {
                // What the triggers did is looked at next.
                session.settle().await?;
            }
        }
        Ok(true)
    }

    /// Removes the rows that give way, but for the one at `but`.
    async fn remove(&self, session: &mut Session, target: &Target, rows: &[MetRow], but: Option<&str>) -> Result<()> {
        let places: Vec<&str> = rows.iter().map(|row| row.at.as_str()).filter(|at| Some(*at) != but).collect();
        if places.is_empty() {
            return Ok(());
        }
        let client = session.shared();
        session.ask(meet::remove(&client, &target.relation.table, &places)).await
    }
}

/// The values of the new row. What an update leaves as it was counts as NULL, which collides with nothing: so it was before.
fn new_values(incoming: Incoming<'_>) -> Vec<Value> {
    incoming.new.map(|new| values_of(incoming, new)).unwrap_or_default()
}

fn values_of(incoming: Incoming<'_>, row: Tuple<'_>) -> Vec<Value> {
    let value = |column: Column<'_>| match column {
        Column::Text(text) => Value::Text(Some(incoming.payload.slice_ref(text))),
        _ => Value::Text(None),
    };
    row.columns().map(value).collect()
}

fn not_prepared() -> Error {
    Error::new(Kind::Internal, "a table was not looked at before its changes")
}

fn without_row(target: &Target) -> Error {
    Error::new(Kind::Protocol, format!("a change of table \"{}\" has no row", target.relation.table))
}

/// The key of the row that a change is about, in PostgreSQL's words.
fn key_of(target: &Target, incoming: Incoming<'_>) -> String {
    let (Some(key), Some(row)) = (target.key_columns(), incoming.old.or(incoming.new)) else { return String::new() };
    let row: Vec<Column<'_>> = row.columns().collect();
    let value = |n: &usize| match row.get(*n) {
        Some(Column::Text(text)) => {
            let text = String::from_utf8_lossy(text);
            let short: String = text.chars().take(KEY_SHOWN).collect();
            if short.len() < text.len() { short + "…" } else { short }
        }
        _ => "null".to_owned(),
    };
    let names: Vec<&str> = key.iter().map(|n| target.column_names()[*n].as_str()).collect();
    format!("Key ({})=({}). ", names.join(", "), key.iter().map(value).collect::<Vec<_>>().join(", "))
}

/// The error that a task stops with.
fn stopped(target: &Target, direction: Direction, decision: &Decision, colliding: &[MetRow], incoming: Incoming<'_>) -> Error {
    let table = &target.relation.table;
    let kind = decision.conflict.map_or("conflict", |(kind, _)| kind.as_str());
    let constraints: Vec<String> = colliding.iter().flat_map(|row| row.constraints.iter().map(|name| format!("\"{name}\""))).collect();
    let operation = incoming.operation.as_str();
    let article = if operation == "delete" { "a" } else { "an" };
    let what = match colliding.len() {
        0 => format!("{article} {operation} of table \"{table}\" conflicts with the peer"),
        1 => format!("{article} {operation} collides with a row that table \"{table}\" of the peer holds"),
        n => format!("{article} {operation} collides with {n} rows that table \"{table}\" of the peer holds"),
    };
    let by = if constraints.is_empty() { String::new() } else { format!(" by {}", constraints.join(", ")) };
    Error::new(Kind::Conflict, what)
        .object(table.to_string())
        .detail(format!("{}It is {kind}{by}, in the transaction that commits at {}.", key_of(target, incoming), incoming.origin.commit))
        .hint(format!(
            "See pgrelay.conflict. Mend the row on the peer or choose a policy with pgrelay.set_conflict_policy(), then call \
             pgrelay.resume_task(); or leave the whole transaction out with pgrelay.skip_transaction(task, '{}', '{}').",
            incoming.origin.commit,
            direction.as_str()
        ))
}
