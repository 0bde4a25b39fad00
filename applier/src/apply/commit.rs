//! The peer's transaction: begin, commit with its position, and how far the slot may go afterwards.

use std::{sync::Arc, time::Duration};

use pgrelay_core::{Lsn, Result, name::TableName};
use tokio::time::Instant;

use super::{
    Applier,
    group::Done,
    session::{Move, Operation},
    standing,
    tables::Tables,
    task_row,
};
use crate::{
    crash::{self, Alone, Point},
    pg::EMPTY_MESSAGE,
    progress::TableState,
};

/// How often the position is moved where there are no changes.
const MOVE_EVERY: Duration = Duration::from_secs(1);

/// The same where the opposite direction is there: each move is WAL that the other one then passes, and moves its own.
const MOVE_EVERY_TWO_WAY: Duration = Duration::from_secs(10);

impl Applier {
    pub(super) async fn open_group(&mut self, table: &Arc<TableName>) -> Result<()> {
        if !self.group.is_open() {
            self.group.open(self.setting.gate.clone().lock_owned().await);
            self.group.is_weighed = self.is_weighing();
            if !self.is_careful() && !self.group.is_weighed {
                self.tell_seen(table).await?;
            }
            self.session.begin();
            crash::at(Point::GroupBegun);
        }
        Ok(())
    }

    /// What the other side has seen for certain: changes of many rows at once read it (`PeerTable::written_by_task`). Before the
    /// transaction, so that it stays when that is rolled back.
    async fn tell_seen(&mut self, table: &Arc<TableName>) -> Result<()> {
        let Some(seen) = self.resolver.sight.certain().filter(|seen| self.told_seen != Some(*seen) && self.resolver.tracks) else {
            return Ok(());
        };
        let at = format!("timestamptz '2000-01-01 00:00:00+00' + {seen} * interval '1 microsecond'");
        let sql = format!("SELECT pg_catalog.set_config('pgrelay_apply.seen', ({at})::pg_catalog.text, false)");
        self.told_seen = Some(seen);
        let sql = if crash::is_cancelled(Alone::Seen) { crash::CANCELLED.to_owned() } else { sql };
        self.session.run(sql, Operation::Other, table).await?;
        // It is in no transaction: its error would be taken for one of the transaction that follows.
        if self.tables.is_some() { self.session.settle().await } else { Ok(()) }
    }

    /// Commits the group, if one is open. What has been sent is answered when this returns.
    pub(super) async fn commit_group(&mut self) -> Result<()> {
        self.commit_or_send_group().await?;
        self.settle_wholes().await
    }

    /// Likewise, but of what was sent as one statement the answer may still have to come.
    pub(super) async fn commit_or_send_group(&mut self) -> Result<()> {
        if self.group.is_open() && !self.streamed.is_ahead() && !self.send_whole().await? {
            self.end_group().await?;
        }
        Ok(())
    }

    async fn end_group(&mut self) -> Result<()> {
        self.settle_wholes().await?;
        self.send_gathered().await?;
        self.test_new_rows().await?;
        self.test_brought_back().await?;
        self.remember_deletions().await?;
        crash::at(Point::ChangesSent);
        let committed = self.commit_position().await;
        if committed.is_err() {
            self.or_again(committed).await?;
            self.commit_position().await?;
        }
        crash::at(Point::Committed);
        self.written(self.group.end);
        if self.batch.used {
            tracing::debug!(changes = self.group.total(), "applied many changes at once");
        }
        self.batch.end();
        if self.group.is_weighed {
            self.contended = 0;
        }
        let done = self.close_group();
        self.count_up(done);
        self.settle_position().await
    }

    pub(super) async fn commit_position(&mut self) -> Result<()> {
        self.session.act_as(None, &task_row()).await?;
        if self.tables.is_none() {
            self.forget_deletions().await?;
        }
        let (key, end, commit_ts) = (&self.setting.origin, self.group.end, self.group.commit_ts);
        // To the opposite direction a position says that all before it is there.
        let told = if self.tables.is_some() && self.setting.two_way.is_some() { Lsn(0) } else { end };
        if self.tables.is_none() {
            crash::at(Point::PositionSent);
            let to = Move { from: Some(self.on_peer), to: end, seen: self.resolver.sight.seen(), told, commit_ts };
            return self.session.commit_and_move(key, to).await;
        }
        if self.setting.two_way.is_some() {
            self.session.run(EMPTY_MESSAGE.to_owned(), Operation::Other, &task_row()).await?;
        }
        let touched = self.group.touched();
        for table in &touched {
            self.session.run(standing::move_table(key, table, end), Operation::Other, table).await?;
        }
        crash::at(Point::PositionSent);
        self.session.commit(told, commit_ts).await?;
        // Not before: what is not committed comes again, and must not be taken for what is there.
        if let Some(tables) = &mut self.tables {
            touched.iter().for_each(|table| tables.moved(table, end));
        }
        Ok(())
    }

    /// The peer has committed a position that counts.
    pub(super) fn written(&mut self, position: Lsn) {
        if self.tables.is_none() {
            (self.on_peer, self.seen_there) = (position, self.resolver.sight.seen());
            self.flush.committed(position);
        }
    }

    pub(super) fn close_group(&mut self) -> Done {
        self.group.close(self.session.take_suppressed())
    }

    /// What was in a group is committed.
    pub(super) fn count_up(&mut self, done: Done) {
        self.setting.progress.settled_rows(done.rows);
        for (table, counts) in done.changes {
            self.setting.progress.table(&table, |t| t.changes.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n));
        }
        self.setting.progress.stream(|s| {
            s.transactions += done.transactions;
            s.changes += done.total;
            s.suppressed += done.suppressed as i64;
        });
    }

    /// Where nothing is under way: moves to one position when every table is there, and tells how far the slot may go.
    pub(super) async fn settle_position(&mut self) -> Result<()> {
        self.note_wholes();
        if self.open.is_some() || self.session.wholes() > 0 || (self.group.is_open() && !self.streamed.is_ahead()) {
            return Ok(());
        }
        if self.tables.as_ref().is_some_and(|t| t.stand_at(self.position)) {
            self.stand_at_one_position().await?;
        }
        let mark_is_there = self.mark.is_some_and(|mark| mark.position <= self.position);
        if mark_is_there && self.tables.is_none() && !self.group.is_open() && self.position >= self.on_peer {
            self.move_without_changes(self.position).await?;
        }
        let position = self.position;
        let confirmed = self.tables.as_ref().and_then(Tables::hold).map_or(position, |hold| hold.min(position));
        let confirmed = self.position_for(confirmed).await?;
        self.dealt_with(position, None);
        if self.tables.is_some() {
            self.confirm(confirmed);
        }
        Ok(())
    }

    /// Everything that the stream brought before a position is applied or need not be. `applying_since`: when what follows was committed,
    /// as far as it is under way.
    pub(super) fn dealt_with(&self, position: Lsn, applying_since: Option<i64>) {
        self.passed.send_replace(position);
        let stands = self.tables.is_none();
        self.setting.progress.stream(|s| {
            s.received = s.received.max(position);
            s.applying_since = applying_since;
            if stands {
                s.applied = Some(s.applied.map_or(position, |a| a.max(position)));
            }
        });
        if stands {
            self.flush.dealt_with(position);
        }
    }

    /// The source may forget what lies before: commits have been waited for.
    fn confirm(&self, confirmed: Lsn) {
        let moved = self.confirm.send_if_modified(|c| {
            let moved = *c < confirmed;
            *c = confirmed.max(*c);
            moved
        });
        if moved {
            crash::at(Point::MayConfirm);
        }
        self.setting.progress.stream(|s| s.confirmed = s.confirmed.max(confirmed));
    }

    /// How far the slot may be confirmed when nothing else keeps it: not past what stands on the peer, which is moved now and then
    /// where the source has nothing for it.
    async fn position_for(&mut self, confirmed: Lsn) -> Result<Lsn> {
        // Not into the open transaction of one that is applied ahead.
        if confirmed > self.on_peer && !self.group.is_open() && self.moved_at.is_none_or(|at| at.elapsed() >= self.move_every()) {
            self.move_without_changes(confirmed).await?;
            self.moved_at = Some(Instant::now());
        }
        Ok(confirmed.min(self.on_peer))
    }

    fn move_every(&self) -> Duration {
        if self.setting.two_way.is_some() { MOVE_EVERY_TWO_WAY } else { MOVE_EVERY }
    }

    pub(super) async fn stand_at_one_position(&mut self) -> Result<()> {
        let _gate = self.setting.gate.clone().lock_owned().await;
        self.session.begin();
        let commit_ts = self.send_mark(self.position).await?;
        crash::at(Point::OnePositionSent);
        let to = Move { from: None, to: self.position, seen: self.resolver.sight.seen(), told: self.position, commit_ts };
        self.session.commit_and_move(&self.setting.origin, to).await?;
        crash::at(Point::OnePosition);
        // That commit was waited for: whatever the tables' own positions depend on is on the disk.
        self.session.wait_no_more().await?;
        self.tables = None;
        self.written(self.position);
        self.setting.progress.every_table(|t| t.state = TableState::Ready);
        self.one_position.send_replace(true);
        Ok(())
    }
}
