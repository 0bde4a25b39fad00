//! One change of a row: whether it is applied, and how it goes to the peer.

use std::sync::Arc;

use bytes::Bytes;
use pgrelay_core::{Error, Lsn, Result, error::Kind, name::TableName};

use super::{
    Applier,
    batch::Kept,
    outside,
    peer_table::Notices,
    place,
    relation::{Relation, Target},
    session::Operation,
    standing,
    tables::{Form, Rows, Verdict},
    waiting::WaitingChange,
};
use crate::pg::pgoutput::{self, Message, Tuple};

impl Applier {
    /// A change of a transaction, of one row or of many.
    pub(super) async fn change(&mut self, message: Message<'_>, payload: &Bytes) -> Result<()> {
        match message {
            Message::Insert { relation: oid, new, .. } => self.row(oid, None, Some(new), payload).await,
            Message::Update { relation: oid, old, new, .. } => {
                let old = old.map(|(_, old)| old);
                match self.completed(oid, old, new, payload).await? {
                    Some(payload) => {
                        let Message::Update { old, new, .. } = pgoutput::decode(&payload, false)? else { return Err(outside()) };
                        self.row(oid, old.map(|(_, old)| old), Some(new), &payload).await
                    }
                    None => self.row(oid, old, Some(new), payload).await,
                }
            }
            Message::Delete { relation: oid, old, .. } => self.row(oid, Some(old), None, payload).await,
            Message::Truncate { relations, cascade, restart_identity, .. } => {
                self.truncate(&relations, cascade, restart_identity, payload).await
            }
            _ => Err(Error::new(Kind::Protocol, "the source sent a message that was not asked for")),
        }
    }

    /// A change of one row.
    pub(super) async fn row(&mut self, oid: u32, old: Option<Tuple<'_>>, new: Option<Tuple<'_>>, payload: &Bytes) -> Result<()> {
        let relation = self.relations.get(oid)?.clone();
        let rows = match self.tables.as_ref().and_then(|t| t.key(&relation.table)) {
            Some(key) => place::rows(&relation, key, old, new),
            None => Ok(Rows::Any),
        };
        let (verdict, form) = self.decide(&relation, rows.as_ref().unwrap_or(&Rows::Any))?;
        // A key that is not told any more does not matter where each part of the table says the same.
        if let (Err(error), Form::Ranges(_)) = (rows, &form) {
            return Err(error);
        }
        if let Some(open) = &mut self.open {
            open.changes += 1;
        }
        match verdict {
            Verdict::Apply if self.is_careful() => {
                self.setting.throttle.applied(1, payload.len() as u64).await;
                self.open_group(&relation.table).await?;
                let careful = self.careful_of_open()?;
                let operation = self.carefully(&relation, &form, payload, careful).await?;
                self.group.count(&relation.table, operation);
            }
            Verdict::Apply if self.is_weighing() => self.weigh(&relation, old, new, payload).await?,
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
            Verdict::Wait => return self.wait(relation.table.clone(), Some(relation), form, payload),
            Verdict::LeaveOut => {
                self.setting.progress.settled_rows(1);
                return Ok(());
            }
        }
        let (commit, number) = self.open.as_ref().map(|open| (open.transaction.commit, open.changes)).ok_or_else(outside)?;
        if let Some(old) = old {
            self.note_deletion(&relation, old, new).await?;
        }
        self.note_new_row(&relation, payload, commit, number).await
    }

    pub(super) async fn new_target(&mut self, relation: &Arc<Relation>) -> Result<Target> {
        let kept = self.setting.kept.contains(relation.table.as_ref());
        let two_way = self.setting.two_way.as_ref().filter(|_| !self.setting.one_way.contains(relation.table.as_ref()));
        let decides = self.setting.rules.borrow().decides_about_others(self.setting.direction, &relation.table);
        let notices_others = match (two_way, self.resolver.tracks && self.session.is_marked()) {
            (_, false) => Notices::None,
            // All that the peer had before is written by others: to record each row once would hold up the stream for as long.
            (None, true) if kept && !decides => Notices::None,
            (None, true) => Notices::All,
            (Some(_), true) => Notices::Unseen,
        };
        Target::new(&mut self.session, relation.clone(), self.setting.exact, kept, notices_others).await
    }

    pub(super) async fn target(&mut self, relation: &Arc<Relation>) -> Result<&mut Target> {
        if self.targets.get(&relation.oid).is_none_or(|t| !Arc::ptr_eq(&t.relation, relation)) {
            let target = self.new_target(relation).await?;
            self.targets.insert(relation.oid, target);
            self.wholes.clear();
        }
        let target = self.targets.get_mut(&relation.oid).ok_or_else(outside)?;
        if target.is_partitioned() { Err(partitioned(&relation.table)) } else { Ok(target) }
    }

    pub(super) fn decide(&mut self, relation: &Relation, rows: &Rows) -> Result<(Verdict, Form)> {
        let open = self.open.as_ref().ok_or_else(outside)?;
        standing::same_table(&self.known, &relation.table, relation.oid)?;
        Ok(match &mut self.tables {
            Some(tables) => tables.decide(&relation.table, open.transaction, rows),
            None if open.is_there => (Verdict::LeaveOut, Form::Whole),
            None => (Verdict::Apply, Form::Whole),
        })
    }

    pub(super) fn wait(&mut self, table: Arc<TableName>, relation: Option<Arc<Relation>>, form: Form, payload: &Bytes) -> Result<()> {
        let open = self.open.as_ref().ok_or_else(outside)?;
        let (commit, of) = (open.transaction.commit, open.origin());
        if let Some((waiting, budget)) = self.tables.as_mut().and_then(|t| t.waiting(&table)) {
            // The end is not known before COMMIT; the table's position only has to lie above this commit record.
            let change = WaitingChange { end: Lsn(commit.0 + 1), of, relation, form, payload: Bytes::copy_from_slice(payload) };
            waiting.push(budget, commit, change);
        }
        Ok(())
    }

    /// Sends one change of a row, as much of it as `form` says; the peer's transaction is open.
    pub(super) async fn send(&mut self, oid: u32, relation: &Arc<Relation>, form: &Form, payload: &Bytes) -> Result<Operation> {
        self.target(relation).await?;
        let target = self.targets.get_mut(&oid).ok_or_else(outside)?;
        let session = &mut self.session;
        session.act_for(target.peer(), &relation.table).await?;
        let (ready, operation) = match (pgoutput::decode(payload, false)?, form) {
            (Message::Update { new, .. }, Form::NewRow) if new.is_partial() => {
                return Err(standing::start_over(&self.setting.peer, &self.setting.origin, &relation.table).await?);
            }
            (Message::Update { new, .. }, Form::NewRow) | (Message::Insert { new, .. }, _) => {
                (Some(target.insert(session, payload, new).await?), Operation::Insert)
            }
            (Message::Update { old: Some((_, old)), .. }, Form::OldRow) | (Message::Delete { old, .. }, _) => {
                (Some(target.delete(session, payload, old).await?), Operation::Delete)
            }
            (Message::Update { old, new, .. }, _) => (target.update(session, payload, old.map(|(_, o)| o), new).await?, Operation::Update),
            _ => return Err(outside()),
        };
        let Some(ready) = ready else {
            // Nothing of the row is written, but it must be there.
            let (old, new) = rows(payload)?;
            let look = target.look(session, payload, old, new).await?;
            session.change(look, Operation::Look { update: true }, &relation.table).await?;
            return Ok(operation);
        };
        let sent = match operation {
            Operation::Insert if target.peer().watched => Operation::Watched,
            Operation::Update | Operation::Delete if target.peer().watched => {
                let (old, new) = rows(payload)?;
                let look = target.look(session, payload, old, new).await?;
                let update = operation == Operation::Update;
                session.change(look, Operation::Look { update }, &relation.table).await?;
                Operation::Watched
            }
            as_it_is => as_it_is,
        };
        session.change(ready, sent, &relation.table).await?;
        Ok(operation)
    }
}

/// The row before and after a change of a row, as far as the message tells.
pub(super) fn rows(payload: &Bytes) -> Result<(Option<Tuple<'_>>, Option<Tuple<'_>>)> {
    Ok(match pgoutput::decode(payload, false)? {
        Message::Insert { new, .. } => (None, Some(new)),
        Message::Update { old, new, .. } => (old.map(|(_, old)| old), Some(new)),
        Message::Delete { old, .. } => (Some(old), None),
        _ => return Err(outside()),
    })
}

/// A table of the peer that has partitions where the source's has none: rows of partitions are not found by ONLY.
pub fn partitioned(table: &TableName) -> Error {
    Error::new(Kind::ShapeChanged, format!("table \"{table}\" is partitioned on the peer and not on the source"))
        .object(table.to_string())
        .hint("Make it an ordinary table on the peer, or partition it there once the task is stopped.")
}
