//! TRUNCATE of the source, for the tables that have not seen it.

use std::sync::Arc;

use bytes::Bytes;
use pgrelay_core::{Result, name::TableName};

use super::{
    Applier,
    batch::Kept,
    relation::{Relation, Target},
    session::Operation,
    statement,
    tables::{Form, Rows, Verdict},
};
use crate::conflict::resolve::Origin;

impl Applier {
    pub(super) async fn truncate(&mut self, oids: &[u32], cascade: bool, restart_identity: bool, payload: &Bytes) -> Result<()> {
        self.settle_gathered().await?;
        if let Some(open) = &mut self.open {
            open.changes += 1;
        }
        let mut relations = vec![];
        for &oid in oids {
            let relation = self.relations.get(oid)?.clone();
            if !self.known.contains_key(&relation.table) && self.is_parent(oid, &relation).await? {
                continue;
            }
            match self.decide(&relation, &Rows::Any)? {
                (Verdict::Apply, _) if self.is_open_skipped() => {
                    let careful = self.careful_of_open()?;
                    self.leave_truncate_out(&relation.table, careful.of, careful.number).await?;
                }
                (Verdict::Apply, Form::Whole) => relations.push(relation),
                (Verdict::Apply, form) => {
                    self.open_group(&relation.table).await?;
                    self.empty(&relation.table, &form, restart_identity).await?;
                }
                (Verdict::Wait, form) => self.wait(relation.table.clone(), None, form, payload)?,
                (Verdict::LeaveOut, _) => {}
            }
        }
        let now: Vec<Arc<TableName>> = relations.iter().map(|relation| relation.table.clone()).collect();
        let Some(first) = now.first().cloned() else { return Ok(()) };
        self.open_group(&first).await?;
        let names: Vec<&TableName> = now.iter().map(Arc::as_ref).collect();
        // A sequence of the peer's own never goes back.
        let restart_identity = restart_identity && !names.iter().any(|t| self.setting.kept.contains(*t));
        // Foreign keys come when every table streams, so before that nothing can cascade. Nor may it reach a table of the other direction
        // alone: then the server refuses it, with that table's name.
        let cascade = cascade && self.tables.is_none() && !self.setting.carries_less;
        let sql = statement::truncate(&names, cascade, restart_identity);
        let role = self.common_owner(&now).await?;
        self.note_emptied(&now)?;
        let spared = self.spared(&relations, role.as_ref()).await?;
        if !spared.is_empty() {
            self.empty_but(spared, role.as_ref()).await?;
            now.iter().for_each(|table| self.group.count(table, Operation::Truncate));
            return Ok(());
        }
        if self.heeds_deletions() {
            // Who writes to the table once that is rolled back may have written rows that stay.
            self.batch.must_be_read_again();
        } else {
            self.batch.keep(Kept::Sql { sql: sql.clone(), table: first.clone(), role: role.clone() }, false);
        }
        let sent = self.send_truncate(sql, role.as_ref(), &first).await;
        self.or_again(sent).await?;
        for table in now {
            self.group.count(&table, Operation::Truncate);
        }
        Ok(())
    }

    /// A TRUNCATE of a transaction that is skipped becomes a record and nothing else.
    pub(super) async fn leave_truncate_out(&mut self, table: &Arc<TableName>, of: Origin, number: i64) -> Result<()> {
        self.open_group(table).await?;
        self.resolver.skip_truncate(&mut self.session, table, of, number).await
    }

    /// A TRUNCATE of one table, or of the parts of it that have not seen it.
    pub(super) async fn empty(&mut self, table: &Arc<TableName>, form: &Form, restart_identity: bool) -> Result<()> {
        let sql = match (form, self.tables.as_ref().and_then(|t| t.key(table))) {
            (Form::Ranges(ranges), Some(key)) => statement::empty_ranges(table, &key.column, ranges),
            _ => statement::truncate(&[table], false, restart_identity && !self.setting.kept.contains(table.as_ref())),
        };
        let role = self.common_owner(std::slice::from_ref(table)).await?;
        self.send_truncate(sql, role.as_ref(), table).await?;
        self.group.count(table, Operation::Truncate);
        Ok(())
    }

    pub(super) async fn send_truncate(&mut self, sql: String, role: Option<&Arc<str>>, table: &Arc<TableName>) -> Result<()> {
        // It would refuse to run while they wait.
        self.session.fire_deferred(table).await?;
        self.session.act_as(role, table).await?;
        self.session.run(sql, Operation::Truncate, table).await
    }

    /// With whose rights one command changes all these tables: their owner's, where they have the same.
    async fn common_owner(&mut self, tables: &[Arc<TableName>]) -> Result<Option<Arc<str>>> {
        // The catalogs are not asked in a transaction that has failed.
        self.session.settle().await?;
        let mut owners = vec![];
        for table in tables {
            let known = self.targets.values().find(|t| t.relation.table == *table).map(|t| t.peer().acts_as.clone());
            owners.push(match known {
                Some(owner) => owner,
                None => self.session.shape_of(table).await?.acts_as,
            });
        }
        owners.dedup();
        Ok(if owners.len() == 1 { owners.remove(0) } else { None })
    }

    /// A partitioned table has no rows of its own: TRUNCATE names its partitions too.
    pub(super) async fn is_parent(&mut self, oid: u32, relation: &Arc<Relation>) -> Result<bool> {
        if !self.targets.contains_key(&oid) {
            let target = self.new_target(relation).await?;
            self.targets.insert(oid, target);
        }
        Ok(self.targets.get(&oid).is_some_and(Target::is_partitioned))
    }
}
