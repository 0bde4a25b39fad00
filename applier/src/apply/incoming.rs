//! The loop over what the stream brings, and the borders of its transactions.

use std::time::Duration;

use bytes::Bytes;
use pgrelay_core::{Error, Lsn, Result, error::Kind};
use tokio::{sync::mpsc, time::Instant};

use super::{
    Applier, CopyMessage, End,
    careful::Care,
    fresh_snapshot, outside, relations, set_back,
    standing::Standing,
    tables::{Tables, Transaction},
};
use crate::{
    conflict::removed,
    pg::{
        pgoutput::{self, Message},
        replication::Frame,
    },
    stream::receiver::{Frames, Mode},
};

/// How often a fresh snapshot is taken while the slot waits for one.
const SNAPSHOT_PERIOD: Duration = Duration::from_millis(300);

/// How often the source is asked for its transaction ids otherwise: long before it has used up half of the numbers they have in the stream.
const EPOCHS_EVERY: Duration = Duration::from_secs(3600);

/// A group that may wait for more is committed when nothing comes for so long.
const QUIET: Duration = Duration::from_millis(30);

impl Applier {
    /// Applies what comes until the stream must be read again; `mode` is how it is read now.
    pub async fn run(&mut self, mode: Mode, frames: &mut Frames, copies: &mut mpsc::Receiver<CopyMessage>) -> Result<End> {
        let flushing = self.flush.clone();
        let mut ended = tokio::select! {
            ended = self.apply(mode, frames, copies) => ended,
            // Whatever is under way is cut off with it: only the peer knows how far it came, so nothing here goes on.
            failed = flushing.run() => return failed.map(|never| match never {}),
        };
        if ended.is_ok()
            && let Err(error) = self.settle_wholes().await
        {
            ended = Err(error);
        }
        if let Err(error) = ended {
            ended = Err(self.take_care(error).await);
        }
        if std::mem::take(&mut self.rewind) { Ok(End::Rewind) } else { ended }
    }

    async fn apply(&mut self, mode: Mode, frames: &mut Frames, copies: &mut mpsc::Receiver<CopyMessage>) -> Result<End> {
        self.forget_wholes();
        self.read_position().await?;
        self.same_slot().await?;
        self.relations.clear();
        self.targets.clear();
        self.wholes.clear();
        self.careful_targets.clear();
        self.batch.ways.clear();
        self.weighed.clear();
        self.resolver.forget();
        self.at_end.forget();
        self.forget_what_was_forgotten();
        self.open = None;
        self.resolver.sight.go_back_to(self.seen_there);
        self.position = match &mut self.tables {
            Some(tables) => {
                tables.rewind();
                *self.confirm.borrow()
            }
            // What was under way is rolled back and comes again.
            None => self.on_peer,
        };
        self.streamed.begin(self.position);
        self.read_prepared().await?;
        let mut tick = tokio::time::interval(SNAPSHOT_PERIOD);
        loop {
            self.note_arrived_wholes().await?;
            // A copy may speak only between two transactions of the stream, and before the next one.
            if self.open.is_none() {
                while let Ok(message) = copies.try_recv() {
                    self.commit_group().await?;
                    if let Some(end) = self.hear(message).await? {
                        return Ok(end);
                    }
                }
                // One by itself goes at once, also where more has come: what follows need not wait for the answer.
                if self.group.transactions() == 1 && !frames.is_empty() && !self.group.may_wait() && !self.streamed.is_ahead() {
                    self.send_whole().await?;
                }
                if self.group.is_full() || (self.group.is_open() && frames.is_empty() && !self.group.may_wait()) {
                    self.commit_or_send_group().await?;
                }
                if mode != self.mode() && !self.group.is_open() {
                    return Ok(End::Rewind);
                }
            }
            let ahead_until = self.ahead_until();
            // While tables are copied, what is beside the stream must not wait until nothing comes.
            if (self.tables.is_none() || self.open.is_some())
                && let Some(frame) = frames.ready()
            {
                self.take(frame).await?;
                continue;
            }
            tokio::select! {
                more = frames.come() => {
                    if !more {
                        return Err(Error::new(Kind::Connection, "the stream from the source ended"));
                    }
                    if let Some(frame) = frames.ready() {
                        self.take(frame).await?;
                    }
                }
                Some(message) = copies.recv(), if self.open.is_none() => {
                    self.commit_group().await?;
                    if let Some(end) = self.hear(message).await? {
                        return Ok(end);
                    }
                }
                answer = self.session.next_whole(), if self.session.wholes() > 0 => self.whole_answered(answer).await?,
                // The time is not looked at where there is none.
                _ = tokio::time::sleep_until(ahead_until.unwrap_or_else(Instant::now)), if ahead_until.is_some() => {
                    self.yield_to_others().await?;
                }
                _ = tokio::time::sleep(QUIET), if self.open.is_none() && self.group.is_open() && !self.streamed.is_ahead() => {
                    self.commit_group().await?;
                }
                _ = tick.tick(), if self.open.is_none() => self.look_again().await?,
            }
        }
    }

    /// What stands on the peer, where the stream is read again: an error of something beside a transaction does not tell what became of that.
    async fn read_position(&mut self) -> Result<()> {
        if self.tables.is_some() {
            return Ok(());
        }
        let Standing { position, seen, .. } = Standing::read(self.session.client(), &self.setting.origin).await?;
        if position < self.on_peer {
            return Err(set_back());
        }
        (self.on_peer, self.seen_there) = (position, seen);
        self.flush.committed(position);
        Ok(())
    }

    async fn look_again(&mut self) -> Result<()> {
        let wanted = self.tables.as_ref().is_some_and(Tables::wants_fresh_snapshot);
        if wanted || self.epochs_at.elapsed() >= EPOCHS_EVERY {
            let snapshot = fresh_snapshot(&self.setting.source).await?;
            self.epochs.advance(snapshot.epochs());
            self.epochs_at = Instant::now();
            if let Some(tables) = &mut self.tables {
                tables.fresh_snapshot(&snapshot);
            }
        }
        self.settle_position().await
    }

    async fn take(&mut self, frame: Frame) -> Result<()> {
        match frame {
            Frame::Keepalive { wal_end, .. } => {
                // Inside a transaction the position says nothing about it; outside, all commits before it have come.
                if self.open.is_none() { self.come_to(wal_end).await } else { Ok(()) }
            }
            Frame::Data { payload, wal_start, sent, .. } => {
                self.sent = sent;
                if self.streamed.in_block() { self.take_in_block(payload, wal_start).await } else { self.message(payload, wal_start).await }
            }
        }
    }

    /// The source has nothing for this stream before `position` but what it has sent. It says so whenever it has come up with its own
    /// WAL, perhaps after each transaction, so an open group passes it with its own position instead of being ended by it.
    async fn come_to(&mut self, position: Lsn) -> Result<()> {
        self.position = self.position.max(position);
        if self.tables.is_none() && self.group.is_open() && !self.group.is_closed && !self.streamed.is_ahead() {
            self.group.passed(position);
            return Ok(());
        }
        if self.session.wholes() > 0 {
            // The position is settled when they are answered.
            return Ok(());
        }
        self.commit_group().await?;
        self.settle_position().await
    }

    async fn message(&mut self, payload: Bytes, at: Lsn) -> Result<()> {
        if pgoutput::is_change(&payload) {
            if self.open.as_ref().is_some_and(|open| open.is_echo) {
                self.setting.progress.settled_rows(i64::from(pgoutput::is_row(&payload)));
                return self.change_came_back(&payload).await;
            }
            self.wait_for_leave().await?;
        }
        match pgoutput::decode(&payload, false)? {
            Message::Begin { final_lsn, commit_ts, xid } => {
                self.yield_to_others().await?;
                self.heed_new_rules().await?;
                let transaction = Transaction { xid: self.epochs.widen(xid), commit: final_lsn };
                // Not one that comes in blocks: for so many changes reading again is the smaller cost.
                let mut open = self.begin(transaction, commit_ts);
                open.care = self.care_for(&open);
                if open.care == Care::Each || (open.care == Care::Weigh) != self.group.is_weighed {
                    // What is gathered is not sent behind it, nor done again without it.
                    self.commit_group().await?;
                }
                self.open = Some(open);
                if !self.group.is_open() {
                    self.setting.progress.stream(|s| s.applying_since = s.applying_since.or(Some(commit_ts)));
                }
            }
            Message::Commit { end_lsn, .. } => self.finish(end_lsn).await?,
            Message::StreamStart { xid, first_segment } => self.block_begins(xid, first_segment, at).await?,
            Message::StreamAbort { xid, subxid, .. } => self.aborted(xid, subxid).await?,
            Message::StreamCommit { xid, commit_lsn, end_lsn, commit_ts, .. } => {
                self.committed(xid, commit_lsn, end_lsn, commit_ts).await?
            }
            Message::BeginPrepare { prepare_lsn, prepare_ts, xid, .. } => self.begin_prepared(xid, prepare_lsn, prepare_ts).await?,
            Message::Prepare { end_lsn, .. } => self.end_of_prepared(end_lsn).await?,
            Message::StreamPrepare { prepare_lsn, end_lsn, prepare_ts, xid, .. } => {
                self.in_progress_prepared(xid, prepare_lsn, end_lsn, prepare_ts).await?
            }
            Message::CommitPrepared { commit_lsn, end_lsn, commit_ts, xid, .. } => {
                self.prepared_ends(xid, Some(commit_lsn), end_lsn, commit_ts).await?
            }
            Message::RollbackPrepared { rollback_end_lsn, rollback_ts, xid, .. } => {
                self.prepared_ends(xid, None, rollback_end_lsn, rollback_ts).await?
            }
            relation @ Message::Relation { .. } => {
                let relation = self.relations.same(relations::read(relation)?);
                let described = self.streamed.describe(relation);
                self.relations.set(described);
            }
            Message::Origin { commit_lsn, name } => self.origin(commit_lsn, name),
            Message::LogicalMessage { transactional: true, prefix: removed::PREFIX, content, .. }
                if self.open.as_ref().is_some_and(|open| open.is_echo) =>
            {
                self.removed_there(content).await?
            }
            Message::Type { .. } | Message::LogicalMessage { .. } => {}
            change => self.change(change, &payload).await?,
        }
        Ok(())
    }

    /// Policies have been set: whose rows are noticed may have changed. What is applied ahead of its commit goes by those of before.
    pub(super) async fn heed_new_rules(&mut self) -> Result<()> {
        if !self.streamed.is_ahead() && !self.setting.kept.is_empty() && self.setting.rules.has_changed().unwrap_or(false) {
            self.commit_group().await?;
            self.setting.rules.borrow_and_update();
            self.targets.clear();
            self.wholes.clear();
            self.batch.ways.clear();
        }
        Ok(())
    }

    pub(super) async fn finish(&mut self, end: Lsn) -> Result<()> {
        let is_careful = self.is_careful();
        let open = self.open.take().ok_or_else(outside)?;
        if open.is_echo {
            return self.finish_echo(end, is_careful).await;
        }
        self.streamed.committed(end);
        let applied = self.tables.is_some() || open.transaction.commit >= self.position;
        self.position = self.position.max(end);
        if self.group.is_open() {
            self.group.transaction(end, open.commit_ts, self.sent);
            if is_careful {
                self.commit_group().await?;
                self.contended = 0;
                self.resolver.passed(end);
            }
            return Ok(());
        }
        if applied {
            self.settle_position().await?;
        }
        self.setting.progress.stream(|s| s.received = s.received.max(end));
        Ok(())
    }
}
