//! Keys that hold at the end of a transaction only: see `conflict::deferrable`.

use std::sync::Arc;

use bytes::Bytes;
use pgrelay_core::{Error, Lsn, Result, error::Kind};

use super::{Applier, relation::Relation};
use crate::{
    conflict::deferrable::Noted,
    pg::pgoutput::{self, Column, Message},
};

/// How often in a row such a key may be found violated by the same changes before the task is told.
const TRIES: u32 = 20;

impl Applier {
    /// Notes the new row of a change that was sent, where the table has such keys.
    pub(super) async fn note_new_row(&mut self, relation: &Arc<Relation>, payload: &Bytes, commit: Lsn, number: i64) -> Result<()> {
        let target = self.careful_targets.get(&relation.oid).or_else(|| self.targets.get(&relation.oid));
        if target.is_none_or(|target| !target.peer().deferrable_keys) || self.is_skipped(commit) {
            return Ok(());
        }
        let (Message::Insert { new, .. } | Message::Update { new, .. }) = pgoutput::decode(payload, false)? else { return Ok(()) };
        let value = |column: Column<'_>| if let Column::Text(text) = column { Some(Bytes::copy_from_slice(text)) } else { None };
        let values = new.columns().map(value).collect();
        self.group.new_rows.note(Noted { relation: relation.oid, table: relation.table.clone(), commit, number, values });
        if self.group.new_rows.are_many() {
            self.settle_gathered().await?;
            self.look_at_new_rows().await?;
        }
        Ok(())
    }

    async fn look_at_new_rows(&mut self) -> Result<()> {
        self.session.settle().await?;
        let mut rows = std::mem::take(&mut self.group.new_rows);
        let relations = &self.relations;
        let columns = |oid| relations.get(oid).map(|r| r.columns.iter().map(|c| c.name.clone()).collect()).unwrap_or_default();
        self.session.act_as(None, &super::task_row()).await?;
        self.session.settle().await?;
        self.at_end.look(self.session.client(), &mut rows, columns).await?;
        self.group.new_rows = rows;
        Ok(())
    }

    /// Before the commit of the peer's transaction.
    ///
    /// Errors: `Conflict` when two rows hold a value of such a key.
    pub(super) async fn test_new_rows(&mut self) -> Result<()> {
        if self.group.new_rows.is_empty() {
            return Ok(());
        }
        self.look_at_new_rows().await?;
        let violating: Vec<Noted> = std::mem::take(&mut self.group.new_rows).into_iter().collect();
        let Some(first) = violating.first() else { return Ok(()) };
        let table = first.table.clone();
        if !self.resolver.violated_at_end(violating.iter().map(|row| (row.commit, row.number))) {
            self.contended += 1;
            if self.contended > TRIES {
                let message = format!("rows of table \"{table}\" of the peer violate a deferrable key");
                return Err(Error::new(Kind::Rejected, message)
                    .object(table.to_string())
                    .hint("Look for rows with the same key on the peer, mend them, then call pgrelay.resume_task()."));
            }
        }
        Err(Error::new(Kind::Conflict, format!("rows of table \"{table}\" of the peer violate a deferrable key")).object(table.to_string()))
    }
}
