//! A transaction that is applied ahead of its commit.
//!
//! Nothing of it is decided here: it stands in the peer's open transaction, which commits only after the source's commit has come,
//! with the position of that commit. Whatever is in the way of it takes it back: then it is applied from what was kept.

use bytes::Bytes;
use pgrelay_core::{Error, Lsn, Result, error::Kind};
use tokio::time::Instant;

use super::{
    super::{Applier, relations::Described, tables::Transaction},
    Ahead, PATIENCE, Relations,
};
use crate::{
    crash::{self, Point},
    pg::pgoutput,
};

/// The commit of a transaction that has none yet lies behind everything.
const NOT_YET: Lsn = Lsn(u64::MAX);

impl Applier {
    /// Begins to apply a transaction ahead, when it is alone: no other one does so, none has committed since its first change, whose
    /// position is `at`, and the peer is not being changed by the task otherwise.
    ///
    /// Nor when the peer may have it already: it comes again after a restart, and only its commit will tell.
    pub(super) async fn go_ahead(&mut self, xid: u32, at: Lsn) -> Result<()> {
        let s = &self.streamed;
        let alone = s.ahead.is_none() && at >= s.last_commit && self.setting.progress.schema_done();
        if !alone || self.careful_lately() || at < s.began_at || at < self.careful_until.max(self.weigh_until) {
            return Ok(());
        }
        self.commit_group().await?;
        self.streamed.ahead = Some(Ahead { xid, relations: Relations::default(), until: Instant::now() + PATIENCE });
        tracing::debug!(xid, "applying a transaction ahead of its commit");
        Ok(())
    }

    /// When the transaction that is applied ahead is to be taken back though nothing else comes.
    pub(in super::super) fn ahead_until(&self) -> Option<Instant> {
        self.streamed.ahead.as_ref().filter(|_| !self.streamed.in_block()).map(|ahead| ahead.until)
    }

    /// A block of it has come.
    pub(super) fn patience(&mut self, xid: u32) {
        if let Some(ahead) = self.streamed.ahead.as_mut().filter(|ahead| ahead.xid == xid) {
            ahead.until = Instant::now() + PATIENCE;
        }
    }

    pub(super) fn describe_ahead(&mut self, xid: u32, described: Described) {
        if let Some(ahead) = self.streamed.ahead.as_mut().filter(|ahead| ahead.xid == xid) {
            ahead.relations.set(described);
        }
    }

    /// One change of it. What goes wrong here may come right: only what was kept is told to anybody.
    pub(super) async fn change_ahead(&mut self, xid: u32, change: &Bytes) -> Result<()> {
        if self.heeds_deletions() {
            // Its policies have changed, and what it deletes is to be remembered by its commit record, which is not known yet.
            return self.yield_to_others().await;
        }
        let Some(ahead) = self.streamed.ahead.as_mut().filter(|ahead| ahead.xid == xid) else { return Ok(()) };
        std::mem::swap(&mut self.relations, &mut ahead.relations);
        let transaction = Transaction { xid: self.epochs.widen(xid), commit: NOT_YET };
        self.open = Some(self.begin(transaction, 0));
        let done = match pgoutput::decode(change, false) {
            Ok(message) => self.change(message, change).await,
            Err(malformed) => Err(malformed),
        };
        self.open = None;
        if let Some(ahead) = &mut self.streamed.ahead {
            std::mem::swap(&mut self.relations, &mut ahead.relations);
        }
        match done {
            Err(surprise) if surprise.kind != Kind::Connection => self.surprised(surprise).await,
            done => done,
        }
    }

    /// A block of it has ended: what it brought is applied while the source decodes the next one.
    pub(super) async fn send_ahead(&mut self, xid: u32) -> Result<()> {
        if self.streamed.ahead.as_ref().is_none_or(|ahead| ahead.xid != xid) {
            return Ok(());
        }
        match self.send_gathered().await {
            Err(surprise) if surprise.kind != Kind::Connection => self.surprised(surprise).await,
            done => {
                crash::at(Point::AheadSent);
                done
            }
        }
    }

    /// Its commit has come: whether all of it stands in the peer's open transaction.
    pub(super) async fn is_there(&mut self, xid: u32) -> Result<bool> {
        if self.streamed.ahead.as_ref().is_none_or(|ahead| ahead.xid != xid) {
            return Ok(false);
        }
        match self.settle_gathered().await {
            Ok(()) => {
                if let Some(ahead) = self.streamed.ahead.take() {
                    self.relations.merge(ahead.relations);
                }
                Ok(true)
            }
            Err(surprise) if surprise.kind != Kind::Connection => self.surprised(surprise).await.map(|()| false),
            Err(error) => Err(error),
        }
    }

    async fn surprised(&mut self, surprise: Error) -> Result<()> {
        tracing::info!(object = surprise.object, "a transaction is not applied ahead of its commit: {surprise}");
        self.setting.progress.replayed(&surprise);
        self.batch.calm_down(surprise.object.as_deref());
        self.yield_to_others().await
    }

    /// Takes a transaction back when it is the one that is applied ahead.
    pub(super) async fn take_back(&mut self, xid: u32) -> Result<()> {
        let is_it = self.streamed.ahead.as_ref().is_some_and(|ahead| ahead.xid == xid);
        if is_it { self.yield_to_others().await } else { Ok(()) }
    }

    /// Takes back what is applied ahead.
    pub(in super::super) async fn yield_to_others(&mut self) -> Result<()> {
        if self.streamed.ahead.take().is_none() {
            return Ok(());
        }
        tracing::debug!("a transaction that was applied ahead is taken back");
        if self.group.is_open() {
            self.session.abandon().await?;
            crash::at(Point::TakenBack);
        }
        self.close_group();
        self.forget_gathered();
        self.batch.end();
        Ok(())
    }
}
