//! Transactions that are prepared on the source are prepared on the peer, and end there as they end on the source.
//!
//! Neither PREPARE TRANSACTION nor COMMIT PREPARED can share a transaction with what moves the position, so a crash may come in
//! between. What stands on the peer tells then: a transaction that is prepared stands in `pg_prepared_xacts` by a name of ours, and
//! each carries a mark, a row that is seen once it is committed. Both are read while no other session can change them
//! ([decision 20](../../../docs/decisions/0020-prepared-transactions-are-prepared-on-the-peer.md)).

use std::collections::HashSet;

use pgrelay_core::{Error, Lsn, Result, error::Kind};
use tokio_postgres::Client;

use super::{Applier, Open, outside, session::Operation, standing, tables::Transaction, task_row};
use crate::{
    crash::{self, Point},
    pg::server_error,
};

/// Of a task.
#[derive(Default)]
pub struct TwoPhase {
    /// Both servers can do it.
    pub able: bool,
    /// The slot sends transactions when they are prepared, those that were prepared before this position only when they are committed.
    /// None: it sends each when it is committed.
    since: Option<Lsn>,
    /// Names of those that are prepared on the peer.
    held: HashSet<String>,
    /// Names of those that are committed on the peer and whose mark stands.
    marked: HashSet<String>,
    /// Names of those that were prepared on the peer and whose end has not come.
    expected: HashSet<String>,
    /// The one whose changes are coming.
    open: Option<Prepared>,
}

/// One whose changes are coming.
pub struct Prepared {
    name: String,
    /// Position of its prepare record.
    at: Lsn,
    /// The peer has it already.
    is_there: bool,
}

impl Prepared {
    /// Whether the peer has it already.
    pub fn is_there(&self) -> bool {
        self.is_there
    }
}

impl TwoPhase {
    /// What the servers say.
    ///
    /// Errors: `PositionLost` when the slot is one that the task has not made so.
    pub async fn read(peer: &Client, source: &Client, key: &str, slot: &str) -> Result<TwoPhase> {
        let failed = |e| server_error(e, "look whether transactions can be prepared");
        let from = source.query_one(include_str!("../../../sql/query/source/two_phase.sql"), &[&slot]).await.map_err(failed)?;
        let to = peer.query_one(include_str!("../../../sql/query/peer/two_phase.sql"), &[&key]).await.map_err(failed)?;
        let (may, most, is_on): (bool, i32, bool) = (from.get(0), from.get(1), from.get(2));
        let (room, since): (i32, Option<&str>) = (to.get(0), to.get(1));
        let since = since.map(str::parse::<Lsn>).transpose()?;
        if is_on && since.is_none() {
            return Err(Error::new(Kind::PositionLost, format!("the slot \"{slot}\" on the source is not the one that this task made"))
                .object(slot)
                .detail("It sends prepared transactions, which the task has never asked for, or the peer was set back to before that.")
                .hint("Call pgrelay.stop_task(), empty the tables on the peer, and start the task anew."));
        }
        // Where the source has more of them at a time than the peer, one could wait for the end of another that comes behind it.
        let able = may && most > 0 && room >= most;
        Ok(TwoPhase { able, since: since.filter(|_| is_on), ..TwoPhase::default() })
    }

    /// Whether the slot sends transactions when they are prepared.
    pub fn is_on(&self) -> bool {
        self.since.is_some()
    }

    /// From where on it was switched on.
    pub fn since(&self) -> Option<Lsn> {
        self.since
    }

    /// Whether it could.
    pub fn is_able(&self) -> bool {
        self.able
    }
}

impl Applier {
    /// The slot shall send transactions when they are prepared, from where the stream begins: the position, as everything before is on
    /// the peer. It is written there first, since the slot never goes back from that.
    pub async fn switch_two_phase_on(&mut self) -> Result<Lsn> {
        let since = self.on_peer;
        let sql = standing::set_two_phase(&self.setting.origin, since);
        self.session.client().batch_execute(&sql).await.map_err(|e| server_error(e, "write from where on transactions are prepared"))?;
        crash::at(Point::TwoPhaseWritten);
        self.two_phase.since = Some(since);
        Ok(since)
    }

    /// A stream begins: what the peer has of prepared transactions.
    pub(super) async fn read_prepared(&mut self) -> Result<()> {
        self.two_phase.open = None;
        if !self.two_phase.is_on() {
            return Ok(());
        }
        let sql = include_str!("../../../sql/query/peer/prepared.sql");
        let row = self.session.client().query_one(sql, &[&self.setting.origin]).await;
        let row = row.map_err(|e| server_error(e, "read the prepared transactions of the peer"))?;
        self.two_phase.held = row.get::<_, Vec<String>>(0).into_iter().collect();
        self.two_phase.marked = row.get::<_, Vec<String>>(1).into_iter().collect();
        self.two_phase.expected = row.get::<_, Vec<String>>(2).into_iter().collect();
        Ok(())
    }

    /// Names are the server's: the task's key tells whose it is.
    fn name_of(&mut self, xid: u32) -> String {
        format!("{}_{}", self.setting.origin, self.epochs.widen(xid).0)
    }

    /// A transaction that was prepared at a position, before its changes.
    pub(super) fn prepared_at(&mut self, xid: u32, at: Lsn, prepared_ts: i64) -> Result<(Open, Prepared)> {
        let since = self.two_phase.since.ok_or_else(unasked)?;
        let name = self.name_of(xid);
        let is_known = self.two_phase.held.contains(&name) || self.two_phase.marked.contains(&name);
        // One of before comes with its commit: the position says nothing about it, its mark stays as long as the task.
        let is_there = is_known || (at >= since && at < self.position);
        let xid = self.epochs.widen(xid);
        let open = self.begin(Transaction { xid, commit: at }, prepared_ts);
        Ok((Open { is_there, ..open }, Prepared { name, at, is_there }))
    }

    /// Before what comes other than whole after its commit.
    ///
    /// Errors: `NotSupported` where deletions are to be remembered all the same: a slot that sends prepared transactions does so ever after.
    pub(super) fn may_come_early(&self) -> Result<()> {
        if !self.two_phase.is_on() || !self.heeds_deletions() {
            return Ok(());
        }
        let message = "a task that has prepared transactions on the peer cannot go both ways with latest_wins or source_priority";
        Err(Error::new(Kind::NotSupported, message).hint(
            "Choose another policy with pgrelay.set_conflict_policy(), or go on one way with pgrelay.alter_task(…, '{\"topology\": \"one_way\"}'), \
             then call pgrelay.resume_task(); or stop the task and start it anew as a two-way one.",
        ))
    }

    /// The changes of a prepared transaction begin.
    pub(super) async fn begin_prepared(&mut self, xid: u32, at: Lsn, prepared_ts: i64) -> Result<()> {
        self.may_come_early()?;
        self.yield_to_others().await?;
        self.commit_group().await?;
        self.heed_new_rules().await?;
        let (open, prepared) = self.prepared_at(xid, at, prepared_ts)?;
        (self.open, self.two_phase.open) = (Some(open), Some(prepared));
        self.setting.progress.stream(|s| s.applying_since = s.applying_since.or(Some(prepared_ts)));
        Ok(())
    }

    /// They have come.
    pub(super) async fn end_of_prepared(&mut self, end: Lsn) -> Result<()> {
        let prepared = self.two_phase.open.take().ok_or_else(outside)?;
        self.prepare(prepared, end).await
    }

    /// Prepares the open transaction on the peer.
    ///
    /// A crash behind it and before the position moves: it comes again, and is found there.
    pub(super) async fn prepare(&mut self, prepared: Prepared, end: Lsn) -> Result<()> {
        let is_careful = self.is_careful();
        let open = self.open.take().ok_or_else(outside)?;
        self.streamed.committed(end);
        if !prepared.is_there {
            // One without changes of the task's tables too: its end will ask for it.
            self.open_group(&task_row()).await?;
            self.group.transaction(end, open.commit_ts, self.sent);
            self.send_gathered().await?;
            self.test_new_rows().await?;
            self.test_brought_back().await?;
            self.remember_deletions().await?;
            let done = self.prepare_on_peer(&prepared).await;
            if done.is_err() {
                self.or_again(done).await?;
                self.prepare_on_peer(&prepared).await?;
            }
            crash::at(Point::Prepared);
            self.two_phase.held.insert(prepared.name.clone());
            self.batch.end();
            let done = self.close_group();
            self.count_up(done);
            if is_careful {
                self.contended = 0;
            }
        }
        self.position = self.position.max(end);
        if self.two_phase.held.contains(&prepared.name) && !self.two_phase.expected.contains(&prepared.name) {
            let sql = standing::expect_prepared(&self.setting.origin, &prepared.name, prepared.at);
            self.move_with(sql, open.commit_ts).await?;
            self.two_phase.expected.insert(prepared.name);
        }
        self.settle_position().await
    }

    async fn prepare_on_peer(&mut self, prepared: &Prepared) -> Result<()> {
        self.session.act_as(None, &task_row()).await?;
        let mark = standing::mark_prepared(&self.setting.origin, &prepared.name, prepared.at);
        self.session.run(mark, Operation::Other, &task_row()).await?;
        self.session.prepare_as(&prepared.name, self.group.end, self.group.commit_ts).await
    }

    /// COMMIT PREPARED, whose record begins at `commit`, or ROLLBACK PREPARED where there is none.
    pub(super) async fn prepared_ends(&mut self, xid: u32, commit: Option<Lsn>, end: Lsn, ts: i64) -> Result<()> {
        self.yield_to_others().await?;
        self.commit_group().await?;
        self.streamed.committed(end);
        let is_done = commit.map_or(end <= self.position, |commit| commit < self.position);
        if !is_done {
            let name = self.name_of(xid);
            self.end_prepared(&name, commit, end, ts).await?;
        }
        self.position = self.position.max(end);
        self.settle_position().await
    }

    /// One without any change is not sent when it is prepared, but its end is: the peer knows nothing of it.
    ///
    /// A crash behind the end and before the position moves: one that was committed has left its mark, and one that was rolled back is
    /// prepared and rolled back again.
    async fn end_prepared(&mut self, name: &str, commit: Option<Lsn>, end: Lsn, ts: i64) -> Result<()> {
        let commits = commit.is_some_and(|commit| !self.is_skipped(commit));
        if self.two_phase.held.contains(name) {
            self.session.end_prepared(name, commits, end, ts).await?;
            crash::at(Point::PreparedEnded);
            self.two_phase.held.remove(name);
        } else if let (Some(commit), true) = (commit, commits && self.is_lost(name)) {
            return Err(Error::new(Kind::PositionLost, format!("the prepared transaction \"{name}\" is not on the peer any more"))
                .object(name)
                .detail(format!("The source has committed it at {commit}; on the peer somebody else has rolled it back."))
                .hint(format!(
                    "Call pgrelay.stop_task(), empty the tables on the peer, and start the task anew; or leave it out: \
                     pgrelay.skip_transaction(…, '{commit}'), then pgrelay.resume_task()."
                )));
        }
        self.position = self.position.max(end);
        self.move_with(standing::forget_prepared(&self.setting.origin, name), ts).await?;
        self.two_phase.marked.remove(name);
        self.two_phase.expected.remove(name);
        Ok(())
    }

    fn is_lost(&self, name: &str) -> bool {
        self.two_phase.expected.contains(name) && !self.two_phase.marked.contains(name)
    }

    /// Moves the position together with what is known of a prepared transaction.
    async fn move_with(&mut self, sql: String, ts: i64) -> Result<()> {
        if self.group.is_open() {
            return Err(Error::new(Kind::Internal, "the position was to move in the middle of a transaction"));
        }
        let position = self.position;
        self.session.begin();
        self.session.run(sql, Operation::Other, &task_row()).await?;
        self.session.run_move(self.move_to(position)).await?;
        self.session.commit(position, ts).await?;
        self.written(position);
        Ok(())
    }
}

fn unasked() -> Error {
    Error::new(Kind::Protocol, "the source sent a prepared transaction that was not asked for")
}
