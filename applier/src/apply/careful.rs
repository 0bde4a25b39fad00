//! Changes applied one at a time, each after a look at what it meets: where the fast ways have met a surprise, the same
//! transactions come again and go this way, by the task's conflict policies.
//!
//! Each transaction of the source is one of the peer here, so that the policy `fail` stops before it and after the one before; but for those
//! that are weighed (`weigh`), which is tried first where both sides write.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use pgrelay_core::{
    Error, Lsn, Result,
    conflict::{self, Rules},
    error::Kind,
};
use tokio::time::Instant;

use super::{
    Applier, Open, outside,
    peer_table::Notices,
    relation::{Relation, Target},
    row::partitioned,
    session::Operation,
    standing,
    tables::{Form, Transaction},
};
use crate::{
    conflict::resolve::{Incoming, Origin},
    pg::pgoutput::{self, Message},
};

/// How often in a row others may get between a look and a change before the task is tried anew.
const CONTENDED: u32 = 20;

/// To read the stream again costs more than to go change by change for a moment. Where both sides write, one conflict seldom comes alone.
const CAREFUL_FOR: Duration = Duration::from_secs(1);

/// To weigh what meets no conflict costs a look at its rows; to read the stream again, for a conflict that was not expected, costs all of it.
const WEIGH_FOR: Duration = Duration::from_secs(10);

/// How much is looked at before a transaction's changes are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Care {
    /// Nothing: a conflict shows as a surprise.
    None,
    /// What others may have written, many rows at once where that can be (`weigh`).
    Weigh,
    /// What each change meets; the transaction is one of the peer's by itself.
    Each,
}

/// What a change that is applied with care belongs to.
pub(super) struct Careful {
    /// Its transaction.
    pub(super) of: Origin,
    /// Its number there.
    pub(super) number: i64,
    /// How conflicts are decided.
    pub(super) rules: Arc<Rules>,
}

impl Open {
    pub(super) fn origin(&self) -> Origin {
        Origin { xid: self.transaction.xid.0, commit: self.transaction.commit, committed: self.commit_ts }
    }

    /// Its commit record, or prepare record.
    pub(super) fn commit(&self) -> Lsn {
        self.transaction.commit
    }

    /// When it was committed, or prepared.
    pub(super) fn commit_ts(&self) -> i64 {
        self.commit_ts
    }
}

impl Applier {
    /// A transaction of the source begins.
    pub(super) fn begin(&self, transaction: Transaction, commit_ts: i64) -> Open {
        let commit = transaction.commit;
        // The position is the end of a commit record.
        let is_there = self.tables.is_none() && commit < self.position;
        let is_careful = commit < self.careful_until.max(self.weigh_until) || self.is_skipped(commit);
        let care = if is_careful { Care::Each } else { Care::None };
        let rules = Arc::new(self.setting.rules.borrow().clone());
        Open { transaction, commit_ts, is_there, changes: 0, rules, care, is_echo: false }
    }

    /// How much care a transaction takes that comes whole.
    pub(super) fn care_for(&mut self, open: &Open) -> Care {
        let commit = open.transaction.commit;
        // The moment for which more of the kind is expected begins with what comes again, however long that takes.
        if commit < self.careful_until {
            self.be_careful();
        } else if commit < self.weigh_until {
            self.be_weighing();
        }
        match () {
            () if commit < self.careful_until || self.is_skipped(commit) || is_before(self.careful_for) => Care::Each,
            () if commit >= self.weigh_until && !is_before(self.weigh_for) => Care::None,
            () if self.may_weigh() => Care::Weigh,
            () => Care::Each,
        }
    }

    /// Whether the transaction of this commit record is to be left out.
    pub(super) fn is_skipped(&self, commit: Lsn) -> bool {
        self.setting.skips.contains(&commit)
    }

    /// Whether the open transaction is to be left out.
    pub(super) fn is_open_skipped(&self) -> bool {
        self.open.as_ref().is_some_and(|open| self.is_skipped(open.transaction.commit))
    }

    /// Whether a conflict was met a moment ago, where changes come from both sides.
    pub(super) fn careful_lately(&self) -> bool {
        is_before(self.careful_for) || is_before(self.weigh_for)
    }

    fn be_careful(&mut self) {
        if self.setting.two_way.is_some() {
            self.careful_for = Some(Instant::now() + CAREFUL_FOR);
        }
    }

    pub(super) fn be_weighing(&mut self) {
        if self.setting.two_way.is_some() {
            self.weigh_for = Some(Instant::now() + WEIGH_FOR);
        }
    }

    /// Whether the open transaction goes change by change.
    pub(super) fn is_careful(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.care == Care::Each)
    }

    pub(super) fn careful_of_open(&self) -> Result<Careful> {
        let open = self.open.as_ref().ok_or_else(outside)?;
        Ok(Careful { of: open.origin(), number: open.changes, rules: open.rules.clone() })
    }

    /// Makes the target of a relation whose changes notice nobody: who wrote a row is looked at before.
    pub(super) async fn careful_target(&mut self, relation: &Arc<Relation>) -> Result<&Target> {
        if self.careful_targets.get(&relation.oid).is_none_or(|t| !Arc::ptr_eq(&t.relation, relation)) {
            let kept = self.setting.kept.contains(relation.table.as_ref());
            let target = Target::new(&mut self.session, relation.clone(), self.setting.exact, kept, Notices::None).await?;
            self.careful_targets.insert(relation.oid, target);
        }
        self.careful_targets.get(&relation.oid).ok_or_else(outside)
    }

    /// Applies as much of a change as `form` says, by the policies; the peer's transaction is open.
    pub(super) async fn carefully(
        &mut self,
        relation: &Arc<Relation>,
        form: &Form,
        payload: &Bytes,
        careful: Careful,
    ) -> Result<Operation> {
        let Careful { of: origin, number, rules } = careful;
        let is_skipped = self.is_skipped(origin.commit);
        self.group.is_careful = true;
        self.careful_target(relation).await?;
        let target = self.careful_targets.get_mut(&relation.oid).ok_or_else(outside)?;
        if target.is_partitioned() {
            return Err(partitioned(&relation.table));
        }
        let (old, new, operation) = match (pgoutput::decode(payload, false)?, form) {
            (Message::Update { new, .. }, Form::NewRow) if new.is_partial() => {
                return Err(standing::start_over(&self.setting.peer, &self.setting.origin, &relation.table).await?);
            }
            (Message::Update { new, .. }, Form::NewRow) | (Message::Insert { new, .. }, _) => {
                (None, Some(new), conflict::Operation::Insert)
            }
            (Message::Update { old: Some((_, old)), .. }, Form::OldRow) | (Message::Delete { old, .. }, _) => {
                (Some(old), None, conflict::Operation::Delete)
            }
            (Message::Update { old, new, .. }, _) => (old.map(|(_, old)| old), Some(new), conflict::Operation::Update),
            _ => return Err(outside()),
        };
        self.session.act_for(target.peer(), &relation.table).await?;
        let incoming = Incoming { origin, number, payload, old, new, operation };
        if is_skipped {
            self.resolver.skip(&mut self.session, target, incoming).await?;
            return Ok(Operation::Other);
        }
        // On the heap: it is large, and few changes come here.
        let outcome = Box::pin(self.resolver.apply(&mut self.session, target, &rules, incoming)).await?;
        match outcome.conflict {
            // New rows are not looked at where changes are weighed.
            Some(conflict::Kind::InsertExists | conflict::Kind::MultipleUniqueConflicts) => self.be_careful(),
            None if !outcome.met_others => {}
            _ => self.be_weighing(),
        }
        if outcome.conflict == Some(conflict::Kind::DeleteMissing) {
            self.setting.progress.stream(|s| s.deletes_missing += 1);
        }
        if !outcome.applied {
            return Ok(Operation::Other);
        }
        Ok(match operation {
            conflict::Operation::Insert => Operation::Insert,
            conflict::Operation::Update => Operation::Update,
            conflict::Operation::Delete => Operation::Delete,
        })
    }

    /// After an error: the same transactions are read again and applied with care, or the error is what the task is told.
    pub(super) async fn take_care(&mut self, error: Error) -> Error {
        // What has failed is another transaction than the open one.
        let is_careful = self.is_careful() && !self.session.has_failed_whole();
        match error.kind {
            Kind::Contention if (is_careful || (self.group.is_decided() && !self.draining)) && self.contended < CONTENDED => {
                self.contended += 1
            }
            Kind::Conflict if is_careful || self.draining => return self.write_failure(error).await,
            Kind::Conflict if !self.rewind && !self.draining => {}
            // What came before it in its group is applied first, so that the task stops right before it.
            Kind::ShapeChanged | Kind::Rejected | Kind::InsufficientPrivilege | Kind::NotSupported if self.has_others_before() => {}
            // It may be the way that is at fault.
            Kind::ShapeChanged | Kind::Rejected | Kind::InsufficientPrivilege | Kind::NotSupported
                if self.group.is_weighed && !is_careful && !self.rewind => {}
            _ => return error,
        }
        tracing::info!(object = error.object, "applied with care: {error}");
        self.setting.progress.replayed(&error);
        let is_fast = !self.group.is_decided() && !is_careful;
        let is_behind_others = self.group.is_weighed && self.contended < CONTENDED / 4;
        let weighs = self.may_weigh()
            && match error.kind {
                Kind::Conflict => is_fast,
                Kind::Contention => is_behind_others,
                _ => false,
            };
        if let Err(worse) = self.session.abandon().await {
            return worse;
        }
        let lost = self.forget_wholes().unwrap_or_default();
        let open = self.open.as_ref().map_or(Lsn(0), |open| Lsn(open.transaction.commit.0 + 1));
        let until = lost.max(self.group.end).max(open);
        if weighs {
            self.be_weighing();
            self.weigh_until = self.weigh_until.max(until);
        } else {
            self.be_careful();
            self.careful_until = self.careful_until.max(until);
        }
        self.close_group();
        self.batch.end();
        self.rewind = true;
        error
    }

    /// Whether the open group holds whole transactions beside the last one.
    fn has_others_before(&self) -> bool {
        let is_grouped = self.tables.is_none() && self.group.transactions() > i64::from(self.open.is_none());
        let may = !self.group.is_careful || self.group.is_weighed;
        is_grouped && may && !self.is_careful() && !self.rewind && !self.draining && !self.streamed.is_ahead()
    }

    /// In a transaction of its own: the one that it is about is rolled back, and the position has not moved.
    async fn write_failure(&mut self, error: Error) -> Error {
        let Some(record) = self.resolver.take_failure() else { return error };
        let written = async {
            self.session.abandon().await?;
            self.session.let_write_alone(true);
            record.write(self.session.client(), &self.resolver.recording).await
        };
        if let Err(worse) = written.await {
            tracing::warn!(%worse, "the conflict that stops the task could not be written down");
        }
        error
    }
}

fn is_before(until: Option<Instant>) -> bool {
    until.is_some_and(|until| Instant::now() < until)
}
