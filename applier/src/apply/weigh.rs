//! Changes where others write to the same rows: what an update is about is locked and looked at before, many rows at once, and each
//! update is decided by itself. So many transactions of the source share one of the peer though they meet conflicts.
//!
//! Only where changes go both ways, after a conflict was met (`careful`), and where the commit times tell who was first. Updates wait for
//! the look where nothing but the primary key keeps a table's rows apart and the key stays; new rows are gathered as where nothing is looked
//! at, and a row in their way is a surprise. Any other change comes after what waits of its table, and is decided by itself at once.
//! What goes wrong here is read again and goes change by change, which tells what is wrong if anything is (`careful`).

use std::sync::Arc;

use bytes::Bytes;
use pgrelay_core::{
    Error, Result,
    conflict::{Action, Operation as Change, Writer},
    error::Kind,
};

use super::{
    Applier,
    bulk::weighed::{Added, Note, Update, Weighed},
    careful::{Care, Careful},
    outside,
    relation::Relation,
    session::Operation,
    tables::Form,
};
use crate::{
    conflict::{keys::Keys, meet},
    crash::{self, Point},
    pg::pgoutput::Tuple,
};

/// Bytes that wait before they are sent.
const GATHERED: usize = 8 << 20;

/// Changes that wait before they are sent: so many rows are locked at most.
const WAITING: usize = 5000;

/// How a relation's changes are weighed.
pub(super) enum Way {
    /// In sets.
    Many(Box<Weighed>),
    /// One by one.
    Each(Arc<Relation>),
}

impl Way {
    fn relation(&self) -> &Arc<Relation> {
        match self {
            Way::Many(weighed) => weighed.relation(),
            Way::Each(relation) => relation,
        }
    }
}

impl Applier {
    /// Whether transactions can be weighed.
    pub(super) fn may_weigh(&self) -> bool {
        let is_two_way = self.setting.two_way.is_some() && self.resolver.tracks;
        is_two_way && self.tables.is_none() && !self.streamed.is_ahead()
    }

    /// Whether the open transaction is weighed.
    pub(super) fn is_weighing(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.care == Care::Weigh)
    }

    /// A change of a row of a transaction that is weighed.
    pub(super) async fn weigh(
        &mut self,
        relation: &Arc<Relation>,
        old: Option<Tuple<'_>>,
        new: Option<Tuple<'_>>,
        payload: &Bytes,
    ) -> Result<()> {
        self.setting.throttle.applied(1, payload.len() as u64).await;
        self.open_group(&relation.table).await?;
        let careful = self.careful_of_open()?;
        if self.weighed.get(&relation.oid).is_none_or(|way| !Arc::ptr_eq(way.relation(), relation)) {
            self.send_weighed_of(relation.oid).await?;
            let way = self.way_to_weigh(relation).await?;
            self.weighed.insert(relation.oid, way);
        }
        let Careful { of, number, rules } = &careful;
        let seen = self.resolver.sight.seen();
        let update = || Update { payload: payload.clone(), of: *of, number: *number, seen, rules: rules.clone() };
        let is_insert = payload.first() == Some(&b'I');
        let added = match self.weighed.get_mut(&relation.oid) {
            Some(Way::Many(weighed)) => weighed.add(old, new, is_insert, update, payload).ok(),
            _ => None,
        };
        match added {
            Some(Added::Gathered) if is_insert => {
                self.group.inserts_into(&relation.table);
                self.group.count(&relation.table, Operation::Insert);
            }
            Some(Added::Gathered) => self.group.count(&relation.table, Operation::Update),
            Some(Added::Waits) => self.group.waiting += 1,
            None => {
                self.send_weighed_of(relation.oid).await?;
                let operation = self.carefully(relation, &Form::Whole, payload, careful).await?;
                self.group.count(&relation.table, operation);
                self.group.holds_rows = true;
            }
        }
        let bytes: usize = self.weighed.values().map(|way| if let Way::Many(weighed) = way { weighed.bytes() } else { 0 }).sum();
        if bytes >= GATHERED || self.group.waiting >= WAITING { self.send_weighed().await } else { Ok(()) }
    }

    async fn way_to_weigh(&mut self, relation: &Arc<Relation>) -> Result<Way> {
        self.careful_target(relation).await?;
        self.session.settle().await?;
        let target = self.careful_targets.get(&relation.oid).ok_or_else(outside)?;
        let Some(table) = target.many() else { return Ok(Way::Each(relation.clone())) };
        let keys = Keys::read(self.session.client(), &relation.table).await?;
        let takes_updates = keys.are_primary() && target.finds_by_primary_key() && !target.tells_whole_rows();
        Ok(Way::Many(Box::new(Weighed::new(table, target.peer(), takes_updates))))
    }

    /// Looks at what waits, decides, and sends what is to be done.
    pub(super) async fn send_weighed(&mut self) -> Result<()> {
        let oids: Vec<u32> = self.weighed.keys().copied().collect();
        for oid in oids {
            self.send_weighed_of(oid).await?;
        }
        self.group.waiting = 0;
        Ok(())
    }

    async fn send_weighed_of(&mut self, oid: u32) -> Result<()> {
        let mut weighed = match self.weighed.remove(&oid) {
            Some(Way::Many(weighed)) => weighed,
            Some(each) => {
                self.weighed.insert(oid, each);
                return Ok(());
            }
            None => return Ok(()),
        };
        let left = self.decide_weighed(&mut weighed).await;
        let relation = weighed.relation().clone();
        self.weighed.insert(oid, Way::Many(weighed));
        for Update { payload, of, number, seen, rules } in left? {
            let now = self.resolver.sight.seen();
            self.resolver.sight.go_back_to(seen);
            let operation = self.carefully(&relation, &Form::Whole, &payload, Careful { of, number, rules }).await;
            self.resolver.sight.go_back_to(now);
            self.group.count(&relation.table, operation?);
        }
        Ok(())
    }

    /// Returns the updates that are to be decided by themselves, since there is no row that they are about.
    async fn decide_weighed(&mut self, weighed: &mut Weighed) -> Result<Vec<Update>> {
        if weighed.is_empty() {
            return Ok(vec![]);
        }
        let relation = weighed.relation().clone();
        let (table, origin) = (relation.table.clone(), self.setting.origin.clone());
        let target = self.careful_targets.get(&relation.oid).ok_or_else(outside)?;
        self.session.act_for(target.peer(), &table).await?;
        let origins = meet::origins(&origin, self.resolver.tracks);
        let (mut left, mut notes, mut noticed) = (vec![], vec![], false);
        let all_met = weighed.meet(&mut self.session, target.peer(), &origins).await?;
        if !all_met.is_empty() {
            crash::at(Point::RowsWeighed);
        }
        for (updates, found) in all_met {
            self.group.holds_rows = true;
            let Some(mut found) = found else {
                left.extend(updates);
                continue;
            };
            for update in updates {
                let (decision, met_others) =
                    self.resolver.weigh(&table, &update.rules, Change::Update, (update.of, update.seen), (found.xid, &mut found.writer));
                noticed |= met_others || decision.conflict.is_some();
                let applied = match decision.action {
                    Action::Apply | Action::Replace => true,
                    Action::Skip => false,
                    Action::Fail => return Err(to_be_decided_alone(&relation)),
                };
                if applied {
                    weighed.win(&update)?;
                }
                self.group.count(&table, if applied { Operation::Update } else { Operation::Other });
                if let Some(conflict) = decision.conflict {
                    notes.push(Note { update, found: found.clone(), conflict, resolution: decision.action.as_str() });
                }
                if applied {
                    // What follows meets what this one has written.
                    found.writer = Writer::Own;
                }
            }
        }
        notes.sort_by_key(|note| (note.update.of.commit, note.update.number));
        let mut rest = notes.as_slice();
        if self.session.acts_as_itself() {
            weighed.write_records(&mut self.session, target.peer(), &self.setting.place, rest).await?;
            rest = &[];
        }
        while !rest.is_empty() {
            // While the rows are as they were met, and no more of them at once than the memory has room for.
            let records = weighed.next_records(&mut self.session, target.peer(), &self.setting.place, &mut rest).await?;
            // pgrelay's own table is no business of the table's owner.
            self.session.act_as(None, &table).await?;
            records.send(&mut self.session, &self.setting.place, &mut self.recording).await?;
            self.session.act_for(target.peer(), &table).await?;
        }
        weighed.send(&mut self.session, target.peer()).await?;
        if !notes.is_empty() {
            crash::at(Point::ConflictsNoted);
        }
        if noticed {
            self.be_weighing();
        }
        left.sort_by_key(|update| (update.of.commit, update.number));
        Ok(left)
    }
}

/// A policy that stops the task does so before the transaction, and after those before it.
fn to_be_decided_alone(relation: &Relation) -> Error {
    let table = &relation.table;
    Error::new(Kind::Conflict, format!("an update of table \"{table}\" meets a row that the peer has written")).object(table.to_string())
}
