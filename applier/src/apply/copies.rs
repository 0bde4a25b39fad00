//! What the copies of tables say, and what waited for them.

use std::sync::Arc;

use pgrelay_core::{Error, Result, error::Kind, name::TableName};

use super::{Applier, CopyMessage, End, careful::Careful, tables::State, waiting::WaitingChange};
use crate::{
    crash::{self, Point},
    pg::pgoutput::{self, Message},
    progress::TableState,
};

impl Applier {
    pub(super) async fn hear(&mut self, message: CopyMessage) -> Result<Option<End>> {
        let Some(all) = &mut self.tables else { return Ok(None) };
        match message {
            CopyMessage::Ask { tables, mut earlier, reply } => {
                for table in &tables {
                    all.ask(table, earlier.take());
                }
                // A copy that has gone away does not need the answer.
                let _ = reply.send(());
                Ok(None)
            }
            CopyMessage::Snapshot { tables, seen, reply } => {
                self.epochs.advance(seen.snapshot.epochs());
                let accepted = all.accept(&tables, &seen);
                if accepted {
                    tables.iter().for_each(|table| self.setting.progress.table(table, |t| t.state = TableState::DataSync));
                }
                // A copy that has gone away does not need the answer.
                let _ = reply.send(accepted);
                Ok(None)
            }
            CopyMessage::Done { tables, reply } => {
                let end = self.caught(&tables).await?;
                if end.is_some() {
                    self.passed.send_replace(*self.confirm.borrow());
                }
                // A copy that has gone away does not need the answer.
                let _ = reply.send(());
                Ok(end)
            }
        }
    }

    /// The rows of these tables are on the peer: what waits for them is applied.
    pub(super) async fn caught(&mut self, tables: &[TableName]) -> Result<Option<End>> {
        let (forgotten, kept): (Vec<&TableName>, Vec<&TableName>) = tables.iter().partition(|table| self.has_forgotten(table));
        for table in kept {
            // What is built after that has failed, and it is told once more.
            if self.tables.as_ref().is_some_and(|all| matches!(all.get(table), Some(State::Caught { .. }))) {
                continue;
            }
            let Some(waiting) = self.tables.as_mut().and_then(|all| all.caught(table)) else {
                // An old session's copy was committed after this applier had looked: look again.
                return Err(Error::new(Kind::Contention, format!("table \"{table}\" was copied by a session of an earlier applier")));
            };
            self.drain(table, waiting.changes).await?;
            // The last table may just have brought all of them to one position.
            if self.tables.is_some() {
                self.setting.progress.table(table, |t| t.state = TableState::SyncDone);
            }
        }
        if forgotten.is_empty() {
            self.settle_position().await?;
            return Ok(None);
        }
        // Only now: until here each of them kept the slot before the first of its changes, and nothing settles before these come again.
        for table in forgotten {
            self.tables.as_mut().and_then(|all| all.caught(table));
        }
        Ok(Some(End::Rewind))
    }

    pub(super) fn has_forgotten(&mut self, table: &TableName) -> bool {
        self.tables.as_mut().and_then(|all| all.waiting(table)).is_some_and(|(waiting, _)| waiting.overflowed)
    }

    /// Applies what waited for a table, in one transaction with its position.
    ///
    /// What it meets unexpectedly it meets once more with care: these changes are in memory only, so they are not read again.
    pub(super) async fn drain(&mut self, table: &TableName, changes: Vec<WaitingChange>) -> Result<()> {
        let Some(last) = changes.last().map(|c| c.end) else { return Ok(()) };
        let table = Arc::new(table.clone());
        let mut drained = self.send_waiting(&table, &changes, false).await;
        if drained.is_ok() {
            drained = self.session.settle().await;
        }
        if drained.is_ok() {
            drained = self.test_new_rows().await;
        }
        // Once more where it is known only then which of them leave a deferrable key violated.
        for _ in 0..2 {
            if !matches!(&drained, Err(error) if error.kind == Kind::Conflict) || self.resolver.has_failure() {
                break;
            }
            self.session.abandon().await?;
            self.close_group();
            self.draining = true;
            drained = self.send_waiting(&table, &changes, true).await;
            if drained.is_ok() {
                drained = self.session.settle().await;
            }
            if drained.is_ok() {
                drained = self.test_new_rows().await;
            }
        }
        drained?;
        // The origin's position does not count yet; the time is that of nothing in particular.
        self.group.transaction(last, 0, 0);
        crash::at(Point::WaitingSent);
        // What waited is in memory no more: an error from here on is none that reading again mends.
        self.draining = true;
        self.commit_group().await?;
        self.draining = false;
        crash::at(Point::WaitingApplied);
        Ok(())
    }

    async fn send_waiting(&mut self, table: &Arc<TableName>, changes: &[WaitingChange], careful: bool) -> Result<()> {
        self.open_group(table).await?;
        for (change, number) in changes.iter().zip(1..) {
            match &change.relation {
                Some(relation) => {
                    self.setting.throttle.applied(1, change.payload.len() as u64).await;
                    let operation = if careful {
                        let careful = Careful { of: change.of, number, rules: Arc::new(self.setting.rules.borrow().clone()) };
                        self.carefully(relation, &change.form, &change.payload, careful).await?
                    } else {
                        self.send(relation.oid, relation, &change.form, &change.payload).await?
                    };
                    self.group.count(table, operation);
                    self.note_new_row(relation, &change.payload, change.of.commit, number).await?;
                }
                None if self.is_skipped(change.of.commit) => self.leave_truncate_out(table, change.of, number).await?,
                None => {
                    let restart = matches!(pgoutput::decode(&change.payload, false)?, Message::Truncate { restart_identity: true, .. });
                    self.empty(table, &change.form, restart).await?;
                }
            }
        }
        Ok(())
    }
}
