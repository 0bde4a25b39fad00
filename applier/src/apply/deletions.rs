//! Deletions, where changes go both ways and `latest_wins` or `source_priority` decide
//! ([decision 18](../../../docs/decisions/0018-deletions-are-remembered-from-the-stream.md)).
//!
//! This direction tells the side that it comes from which rows were deleted there, before the other side has the deletions. Of the
//! opposite direction's deletions it hears when they come back: what an older change has put back here meanwhile goes again.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use pgrelay_core::{
    Error, Lsn, Result,
    conflict::{Kind, Policy, remember_deletions},
    error::Kind as ErrorKind,
};
use tokio::time::Instant;

use super::{
    Applier, outside,
    relation::{Relation, Target, is_another},
    session::{Operation, Value},
    standing,
    statement::Parameter,
};
use crate::{
    conflict::{
        meet,
        removed::{self, Removal, Side},
        tombstone::{self, Deleted},
    },
    pg::pgoutput::{self, Column, Message, Tuple},
};

/// Deletions that are noted before they are written down.
const NOTED: usize = 5000;

/// How often what is remembered and need not be is removed.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// What deletes a row that came back, unless somebody else has written it.
pub(super) struct Again {
    relation: Arc<Relation>,
    statement: tokio_postgres::Statement,
    parameters: Vec<Parameter>,
}

impl Applier {
    /// Whether deletions matter to anything: then what comes back is read, and comes whole.
    pub(super) fn heeds_deletions(&self) -> bool {
        let rules = self.setting.rules.borrow();
        self.setting.two_way.is_some() && (rules.uses(Policy::LatestWins) || rules.uses(Policy::SourcePriority))
    }

    /// A change of the other side's own: a row that is gone there by it is to be remembered there.
    pub(super) async fn note_deletion(&mut self, relation: &Arc<Relation>, old: Tuple<'_>, new: Option<Tuple<'_>>) -> Result<()> {
        let Some(open) = &self.open else { return Ok(()) };
        let (commit, committed) = (open.transaction.commit, open.commit_ts);
        let opposite = self.setting.direction.opposite();
        if self.setting.two_way.is_none() || !remember_deletions(&open.rules, opposite, &relation.table) {
            return Ok(());
        }
        let careful = self.careful_targets.get(&relation.oid).filter(|target| Arc::ptr_eq(&target.relation, relation));
        let key = match careful.map(tombstone::key_of) {
            Some(key) => key,
            None => tombstone::key_of(self.target(relation).await?),
        };
        let Some(key) = key else { return Ok(()) };
        let old: Vec<Column<'_>> = old.columns().collect();
        let new: Option<Vec<Column<'_>>> = new.map(|new| new.columns().collect());
        if new.is_some_and(|new| !key.iter().any(|(n, ..)| is_another(&old[*n], &new[*n]))) {
            return Ok(());
        }
        let value = |n: usize| match old.get(n) {
            Some(Column::Text(text)) => Value::Text(Some(Bytes::copy_from_slice(text))),
            _ => Value::Text(None),
        };
        let values = key.iter().map(|(n, ..)| value(*n)).collect();
        let columns = key.into_iter().map(|(_, name, type_sql)| (name, type_sql)).collect();
        self.group.deleted.push(Deleted { table: relation.table.clone(), columns, key: values, commit, committed });
        // However many one transaction deletes.
        if self.group.deleted.len() >= NOTED { self.remember_deletions().await } else { Ok(()) }
    }

    /// Before the commit of the peer's transaction: the side where they were deleted remembers them first.
    pub(super) async fn remember_deletions(&mut self) -> Result<()> {
        let (deleted, emptied) = (std::mem::take(&mut self.group.deleted), std::mem::take(&mut self.group.emptied));
        let (there, key) = (&self.setting.source, &self.setting.opposite.origin);
        for emptied in emptied {
            tombstone::remember_emptied(there, key, &emptied).await?;
        }
        tombstone::remember(there, key, deleted).await
    }

    /// Before the commit of a transaction that was not decided change by change.
    ///
    /// Errors: `Conflict` when it has put a row back that was deleted here.
    pub(super) async fn test_brought_back(&mut self) -> Result<()> {
        let is_decided = self.group.is_careful && !self.group.is_weighed;
        if is_decided || self.group.is_closed || !self.heeds_deletions() {
            return Ok(());
        }
        let touched = if self.group.is_weighed { self.group.new_in.clone() } else { self.group.touched() };
        if touched.is_empty() {
            return Ok(());
        }
        self.session.act_as(None, &super::task_row()).await?;
        let (client, seen) = (self.session.shared(), self.resolver.sight.seen().position);
        // Behind what is under way, in one round trip with it: rows are locked.
        let remembered = tombstone::tables(&client, &self.remembered, &self.setting.origin, &touched, seen);
        let remembered = self.session.ask(remembered).await?;
        for table in remembered {
            let targets = if self.group.is_weighed { &self.careful_targets } else { &self.targets };
            let Some(target) = targets.values().find(|target| *target.relation.table == table) else { continue };
            if tombstone::is_brought_back(self.session.client(), &self.setting.origin, target, seen).await? {
                return Err(Error::new(ErrorKind::Conflict, format!("a change puts back a row of table \"{table}\" that was deleted"))
                    .object(table.to_string()));
            }
        }
        Ok(())
    }

    /// What the other side has seen need not be remembered any more. In the peer's open transaction.
    pub(super) async fn forget_deletions(&mut self) -> Result<()> {
        let seen = self.resolver.sight.seen().position;
        let is_time = self.forgot_at.is_none_or(|at| at.elapsed() >= FORGET_EVERY);
        if seen > self.forgotten && is_time && self.heeds_deletions() {
            (self.forgotten, self.forgot_at) = (seen, Some(Instant::now()));
            let sql = tombstone::forget(&self.setting.origin, seen);
            self.session.run(sql, Operation::Other, &super::task_row()).await?;
        }
        Ok(())
    }

    /// A change of the opposite direction comes back: the other side has deleted a row as a session here did before. If this direction has
    /// put it back here meanwhile, by an older change, it goes again.
    pub(super) async fn change_came_back(&mut self, payload: &Bytes) -> Result<()> {
        if !self.heeds_deletions() || self.is_open_there() {
            return Ok(());
        }
        let (oid, old, new) = match pgoutput::decode(payload, false)? {
            Message::Delete { relation, old, .. } => (relation, old, None),
            Message::Update { relation, old: Some((_, old)), new, .. } => (relation, old, Some(new)),
            Message::Truncate { relations, .. } => return self.emptied_there(&relations).await,
            _ => return Ok(()),
        };
        let relation = self.relations.get(oid)?.clone();
        let is_known = standing::same_table(&self.known, &relation.table, oid).is_ok();
        let rules = self.open.as_ref().ok_or_else(outside)?.rules.clone();
        let remembers = remember_deletions(&rules, self.setting.direction, &relation.table);
        if !is_known || self.tables.is_some() || !self.resolver.tracks || !remembers {
            return Ok(());
        }
        self.begin_closed(&relation.table).await?;
        if self.again.get(&oid).is_none_or(|again| !Arc::ptr_eq(&again.relation, &relation)) {
            let Some(again) = self.prepare_again(&relation).await? else { return Ok(()) };
            self.again.insert(oid, again);
        }
        let target = self.targets.get(&oid).ok_or_else(outside)?;
        let key = target.key_columns().unwrap_or_default();
        let (olds, news): (Vec<Column<'_>>, Option<Vec<Column<'_>>>) = (old.columns().collect(), new.map(|new| new.columns().collect()));
        if news.is_some_and(|news| !key.iter().any(|&n| is_another(&olds[n], &news[n]))) {
            return Ok(());
        }
        self.session.act_for(target.peer(), &relation.table).await?;
        let again = &self.again[&oid];
        let values = target.values(&again.parameters, payload, Some(old), None)?;
        self.session.execute(again.statement.clone(), values, Operation::DeleteAny, &relation.table).await
    }

    async fn prepare_again(&mut self, relation: &Arc<Relation>) -> Result<Option<Again>> {
        let origin = self.setting.origin.clone();
        let target: &mut Target = self.target(relation).await?;
        if target.key_columns().is_none() {
            return Ok(None);
        }
        let (condition, parameters) = target.condition(true);
        let sql = format!("DELETE FROM ONLY {} WHERE {condition} AND {}", relation.table.quoted(), meet::written_with(&origin));
        let statement = self.session.prepare(&sql, &relation.table).await?;
        Ok(Some(Again { relation: relation.clone(), statement, parameters }))
    }

    /// A message of the opposite direction comes back: a row has given way on the other side to another one, in a transaction that only
    /// the owner of its origin can have written.
    pub(super) async fn removed_there(&mut self, content: &[u8]) -> Result<()> {
        let Some(removal) = Removal::read(content) else { return Ok(()) };
        let table = Arc::new(removal.table());
        if !self.known.contains_key(&*table) || self.tables.is_some() || !self.resolver.tracks || self.is_open_there() {
            return Ok(());
        }
        let open = self.open.as_mut().ok_or_else(outside)?;
        open.changes += 1;
        let (of, number) = (open.origin(), open.changes);
        let policy = open.rules.policy(self.setting.direction, &table, Kind::DeleteOriginDiffers);
        self.begin_closed(&table).await?;
        self.session.settle().await?;
        let peer = self.session.shape_of(&table).await?;
        self.session.act_for(&peer, &table).await?;
        self.session.settle().await?;
        let side =
            Side { origin: &self.setting.origin, place: &self.setting.place, tracks: self.resolver.tracks, sight: &self.resolver.sight };
        let record = removed::apply(self.session.client(), side, &peer, &removal, policy, (of, number)).await?;
        self.session.act_as(None, &table).await?;
        self.session.settle().await?;
        match record {
            Some(record) => record.write(self.session.client(), &self.resolver.recording).await,
            None => Ok(()),
        }
    }

    /// Whether the open transaction lies before the position: the stream is read again, and what it says was heeded, and passed.
    fn is_open_there(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.is_there)
    }

    /// Opens a transaction of the peer that nothing else shares.
    pub(super) async fn begin_closed(&mut self, table: &Arc<pgrelay_core::name::TableName>) -> Result<()> {
        if !self.group.is_closed {
            self.commit_group().await?;
            self.open_group(table).await?;
            self.group.is_closed = true;
        }
        Ok(())
    }

    /// Nothing is remembered as forgotten any more.
    pub(super) fn forget_what_was_forgotten(&mut self) {
        self.forgotten = Lsn(0);
        self.again.clear();
    }
}
