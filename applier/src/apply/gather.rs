//! Changes that are gathered and sent many at once, and sent again one by one after a surprise.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use pgrelay_core::{Lsn, Result, error::Kind};

use super::{
    Applier,
    batch::{Kept, Way},
    relation::Relation,
    session::Operation,
    tables::Form,
};
use crate::pg::pgoutput::Tuple;

impl Applier {
    /// Whether changes are gathered and applied many at once. Only when all tables stand at one position: until then their changes
    /// wait anyway.
    pub(super) fn gathers(&self) -> bool {
        self.tables.is_none() && self.batch.is_on() && !only_one_by_one()
    }

    pub(super) async fn gather(
        &mut self,
        relation: &Arc<Relation>,
        old: Option<Tuple<'_>>,
        new: Option<Tuple<'_>>,
        payload: &Bytes,
    ) -> Result<()> {
        self.setting.throttle.applied(1, payload.len() as u64).await;
        self.open_group(&relation.table).await?;
        let operation = match (old, new, payload.first()) {
            (_, Some(_), Some(b'I')) => Operation::Insert,
            (_, None, _) => Operation::Delete,
            _ => Operation::Update,
        };
        self.group.count(&relation.table, operation);
        if self.batch.ways.get(&relation.oid).is_none_or(|way| !Arc::ptr_eq(way.relation(), relation)) {
            self.settle_gathered().await?;
            let way = match self.target(relation).await?.many() {
                Some(table) => Way::Many(Box::new(table)),
                None => Way::One(relation.clone()),
            };
            self.batch.ways.insert(relation.oid, way);
        }
        // What was settled may have met a surprise: from then on nothing waits for what is sent at once.
        let is_calm = !self.batch.is_on() || self.batch.is_calm(relation.oid);
        let gathered = match self.batch.ways.get_mut(&relation.oid) {
            Some(Way::Many(table)) if !is_calm => table.add(payload, old, new, operation == Operation::Insert).is_ok(),
            _ => false,
        };
        let is_one = is_calm || matches!(self.batch.ways.get(&relation.oid), Some(Way::One(_)));
        let kept = Kept::Row { relation: relation.clone(), payload: payload.clone() };
        if gathered {
            self.batch.keep(kept, true);
            if self.batch.is_full() {
                self.send_gathered().await?;
            }
            return Ok(());
        }
        if !is_one {
            // It must come after what it does not fit to.
            self.send_gathered().await?;
        }
        self.batch.keep(kept, false);
        let sent = self.send(relation.oid, relation, &Form::Whole, payload).await.map(drop);
        self.or_again(sent).await?;
        if self.batch.is_full() { self.send_gathered().await } else { Ok(()) }
    }

    /// Sends what is gathered and waits for what becomes of it: whatever is asked of the session next is answered, not refused since
    /// a statement before has failed.
    pub(super) async fn settle_gathered(&mut self) -> Result<()> {
        self.send_gathered().await?;
        let settled = self.session.settle().await;
        self.or_again(settled).await
    }

    /// Sends what is gathered: in sets, or one by one where it is not worth that.
    pub(super) async fn send_gathered(&mut self) -> Result<()> {
        let sent = self.send_many_or_few().await;
        self.or_again(sent).await
    }

    pub(super) async fn send_many_or_few(&mut self) -> Result<()> {
        if self.group.is_weighed {
            return self.send_weighed().await;
        }
        if !self.batch.is_many() {
            self.forget_gathered();
            for (relation, payload) in self.batch.take_few() {
                self.send(relation.oid, &relation, &Form::Whole, &payload).await?;
            }
            return Ok(());
        }
        self.batch.take_many();
        tracing::debug!("applying many changes at once");
        for (oid, way) in &mut self.batch.ways {
            if let (Way::Many(table), Some(target)) = (way, self.targets.get(oid)) {
                self.session.act_for(target.peer(), &target.relation.table).await?;
                table.send(&mut self.session, target.peer()).await?;
            }
        }
        Ok(())
    }

    /// What is gathered by table is not to be sent.
    pub(super) fn forget_gathered(&mut self) {
        for way in self.batch.ways.values_mut() {
            if let Way::Many(table) = way {
                table.forget();
            }
        }
    }

    /// After a surprise that many at once has met: everything of the open transaction again, row by row, which tells what is wrong
    /// if anything is. A transaction that is applied ahead of its commit is not done again here, but from what was kept.
    pub(super) async fn or_again(&mut self, done: Result<()>) -> Result<()> {
        let surprise = match done {
            // Of another transaction, which is read again before this one.
            Err(error) if self.session.has_failed_whole() => return Err(error),
            Err(error) if self.batch.used && !self.streamed.is_ahead() && error.kind != Kind::Connection => error,
            done => return done,
        };
        tracing::info!(object = surprise.object, "applied row by row: {surprise}");
        self.setting.progress.replayed(&surprise);
        self.batch.calm_down(surprise.object.as_deref());
        self.session.abandon().await?;
        self.note_wholes();
        self.forget_gathered();
        let Some(kept) = self.batch.again() else {
            // What of it has been forgotten is read again.
            self.careful_until = self.open.as_ref().map_or(self.group.end, |open| Lsn(open.transaction.commit.0 + 1));
            self.close_group();
            self.batch.end();
            self.rewind = true;
            return Err(surprise);
        };
        self.session.begin();
        for kept in kept {
            match kept {
                Kept::Row { relation, payload } => self.send(relation.oid, &relation, &Form::Whole, &payload).await.map(drop)?,
                Kept::Sql { sql, table, role } => self.send_truncate(sql, role.as_ref(), &table).await?,
            }
        }
        Ok(())
    }
}

/// For the test that compares the two ways to apply.
fn only_one_by_one() -> bool {
    static ASKED: LazyLock<bool> = LazyLock::new(|| cfg!(debug_assertions) && std::env::var_os("PGRELAY_ROW_BY_ROW").is_some());
    *ASKED
}
