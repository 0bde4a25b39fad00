//! Whether the slot that is read is the one that the peer's position belongs to.
//!
//! **Invariant**: the slot is never confirmed past the position that stands on the peer (`settle_position`). So a slot beyond it
//! was made again or moved by somebody, or the peer was set back to an older copy: either way what lies between is not to be had.
//! A source whose WAL ends before the peer's position was set back itself.
//!
//! It is looked at once the stream has begun: a slot in use can be neither dropped nor moved.

use pgrelay_core::{Error, Lsn, Result, error::Kind};

use super::{Applier, session::Operation, standing, task_row};
use crate::pg::{EMPTY_MESSAGE, server_error};

impl Applier {
    /// Errors: `PositionLost` when source, slot and peer do not belong together.
    pub(super) async fn same_slot(&mut self) -> Result<()> {
        let name = &self.setting.slot;
        let sql = "SELECT s.confirmed_flush_lsn::text, pg_catalog.pg_current_wal_flush_lsn()::text \
                   FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = $1";
        let row = self.setting.source.query_one(sql, &[name]).await.map_err(|e| server_error(e, "look at the slot"))?;
        let (confirmed, end): (Lsn, Lsn) = (row.get::<_, &str>(0).parse()?, row.get::<_, &str>(1).parse()?);
        let at = self.on_peer;
        if end < at {
            return Err(Error::new(Kind::PositionLost, "the source has been set back: it lacks changes that the peer has")
                .detail(format!("The source's WAL ends at {end}, before the peer's position {at}: it is a restored copy."))
                .hint("Call pgrelay.stop_task(), empty the tables on the peer, and start the task anew."));
        }
        if confirmed > at && !self.fresh {
            return Err(Error::new(Kind::PositionLost, format!("changes before the slot \"{name}\" on the source are lost"))
                .object(name.clone())
                .detail(format!(
                    "The slot begins at {confirmed}, past the peer's position {at}: it was made again or moved, or the peer has been set back to an older copy."
                ))
                .hint("Call pgrelay.stop_task(), empty the tables on the peer, and start the task anew."));
        }
        if confirmed > at {
            self.move_without_changes(confirmed).await?;
        }
        self.fresh = false;
        Ok(())
    }

    /// In the open transaction: has the opposite direction told what this one had seen when it began, once the position is there. The
    /// commit time to commit with. A message makes the other side send the transaction, which else would be empty to it.
    pub(super) async fn send_mark(&mut self, position: Lsn) -> Result<i64> {
        let Some(mark) = self.mark.take_if(|mark| mark.position <= position) else { return Ok(0) };
        self.session.run(EMPTY_MESSAGE.to_owned(), Operation::Other, &task_row()).await?;
        Ok(mark.commit)
    }

    /// What moves the position on the peer without changes.
    pub(super) fn move_to(&self, position: Lsn) -> String {
        let from = self.tables.is_none().then_some(self.on_peer);
        standing::move_position(&self.setting.origin, position, self.resolver.sight.seen(), from)
    }

    /// Moves the position on the peer where nothing was to be applied.
    pub(super) async fn move_without_changes(&mut self, position: Lsn) -> Result<()> {
        let seen = self.resolver.sight.seen();
        self.session.begin();
        self.session.run_move(self.move_to(position)).await?;
        let marked = self.send_mark(position).await?;
        self.session.commit(position, marked).await?;
        (self.on_peer, self.seen_there) = (position, seen);
        self.written(position);
        Ok(())
    }
}
