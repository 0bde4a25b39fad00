//! What the opposite direction has written comes back in the stream, and is left out: by its origin alone, whatever else is in it.
//!
//! The origin comes right behind the begin of a transaction, or in the first block of one in progress, so its changes are not decoded.
//! All other origins are carried: a third server may write to either side.

use pgrelay_core::{Error, Lsn, Result, error::Kind};

use super::Applier;

impl Applier {
    /// Whether the opposite direction writes under this origin.
    pub(super) fn is_opposite(&self, origin: &str) -> bool {
        self.setting.opposite.is_own_origin(origin)
    }

    /// The open transaction came to the source by replication; `position` is what it was told then.
    pub(super) fn origin(&mut self, position: Lsn, name: &str) {
        let is_echo = self.is_opposite(name);
        if let Some(open) = self.open.as_mut().filter(|_| is_echo) {
            open.is_echo = true;
            self.resolver.sight.came_back(Some(position), open.commit_ts);
        }
    }

    /// A transaction that was left out ends: the position passes it.
    pub(super) async fn finish_echo(&mut self, end: Lsn, is_careful: bool) -> Result<()> {
        self.streamed.committed(end);
        self.position = self.position.max(end);
        if self.group.is_open() && !self.streamed.is_ahead() {
            self.group.passed(end);
            return if is_careful || self.group.is_closed { self.commit_group().await } else { Ok(()) };
        }
        self.settle_position().await?;
        self.setting.progress.stream(|s| s.received = s.received.max(end));
        Ok(())
    }

    /// Waits until something may be applied: the stream is held where it stands.
    pub(super) async fn wait_for_leave(&mut self) -> Result<()> {
        if *self.setting.may_apply.borrow() {
            return Ok(());
        }
        let given = self.setting.may_apply.wait_for(|may| *may).await;
        given.map(drop).map_err(|_| Error::new(Kind::Internal, "the opposite direction of the task ended by itself"))
    }
}
