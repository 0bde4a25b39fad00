//! TRUNCATE, where changes go both ways and `latest_wins` or `source_priority` decide: a deletion of every row that was there, as far as
//! the other side's are concerned ([decision 25](../../../docs/decisions/0025-truncate-in-two-way-tasks.md)).
//!
//! The side where it ran remembers it like a deletion, of all keys. Where it arrives, what the other side did not know and what wins over a
//! deletion stays. When it comes back, what this direction has put there meanwhile goes again.

use std::sync::Arc;

use pgrelay_core::{
    Error, Result,
    conflict::{Action, Operation as Change, Writer, remember_deletions},
    error::Kind,
    name::TableName,
};

use super::{
    Applier, outside,
    relation::Relation,
    session::{Operation, Value},
};
use crate::{
    conflict::{meet, tombstone::Emptied},
    pg::server_error,
};

/// Transactions of which a table's rows stay, as an array of PostgreSQL.
pub(super) type Spared = Vec<(Arc<TableName>, String)>;

impl Applier {
    /// Tables that the open transaction of the other side empties: to be remembered there.
    pub(super) fn note_emptied(&mut self, tables: &[Arc<TableName>]) -> Result<()> {
        let opposite = self.setting.direction.opposite();
        let open = self.open.as_ref().ok_or_else(outside)?;
        if self.setting.two_way.is_none() {
            return Ok(());
        }
        let (commit, committed) = (open.transaction.commit, open.commit_ts);
        let emptied = tables.iter().filter(|table| remember_deletions(&open.rules, opposite, table));
        self.group.emptied.extend(emptied.map(|table| Emptied { table: table.clone(), commit, committed }));
        Ok(())
    }

    /// Locks the tables, and tells of each whose rows a TRUNCATE of the other side leaves; nothing where it leaves none. Where rows are not
    /// found by a key it leaves none: what it would leave here could not be told on the other side from what it has removed there.
    ///
    /// Errors: `Conflict` when it leaves some and the transaction is not applied change by change, as it must be then.
    pub(super) async fn spared(&mut self, relations: &[Arc<Relation>], role: Option<&Arc<str>>) -> Result<Spared> {
        if !self.heeds_deletions() || !self.resolver.tracks || self.tables.is_some() {
            return Ok(vec![]);
        }
        let mut all = vec![];
        for relation in relations {
            let table = &relation.table;
            let may_spare = !self.setting.one_way.contains(table.as_ref())
                && !self.is_parent(relation.oid, relation).await?
                && self.target(relation).await?.key_columns().is_some()
                && self.survives(table, 0, &mut Writer::Other(Some(i64::MAX)))?;
            let mut spared = vec![];
            if may_spare {
                self.session.act_as(role, table).await?;
                let lock = format!("LOCK TABLE ONLY {} IN ACCESS EXCLUSIVE MODE", table.quoted());
                self.session.run(lock, Operation::Truncate, table).await?;
                spared = self.survivors(table).await?;
            }
            all.push((table.clone(), spared));
        }
        if all.iter().all(|(_, spared)| spared.is_empty()) {
            return Ok(vec![]);
        }
        let array = |xids: Vec<u32>| format!("{{{}}}", xids.iter().map(u32::to_string).collect::<Vec<_>>().join(","));
        Ok(all.into_iter().map(|(table, xids)| (table, array(xids))).collect())
    }

    /// Whether a row of a transaction stays when the open transaction deletes it.
    fn survives(&mut self, table: &Arc<TableName>, xid: u32, writer: &mut Writer) -> Result<bool> {
        let open = self.open.as_ref().ok_or_else(outside)?;
        let (of, now) = (open.origin(), self.resolver.sight.seen());
        let (decision, _) = self.resolver.weigh(table, &open.rules, Change::Delete, (of, now), (xid, writer));
        Ok(decision.action == Action::Skip)
    }

    /// The transactions of which a table has rows that stay. All rows are looked at, and of their transactions those that others have
    /// written and the other side has not seen for certain come here one by one.
    async fn survivors(&mut self, table: &Arc<TableName>) -> Result<Vec<u32>> {
        use futures_util::TryStreamExt;
        let unseen = match self.resolver.sight.certain() {
            Some(certain) => format!(" AND o.committed > {certain}"),
            None => String::new(),
        };
        let sql = format!(
            "SELECT r.xid::pg_catalog.text::pg_catalog.oid AS xid, o.writer, o.origin, o.committed \
             FROM (SELECT DISTINCT t.xmin AS xid FROM ONLY {} AS t) AS r \
             CROSS JOIN LATERAL ({}) AS o WHERE o.writer = 'other'{unseen}",
            table.quoted(),
            meet::origins(&self.setting.origin, self.resolver.tracks)
        );
        let failed = |e| server_error(e, "look for rows that a TRUNCATE leaves").object(table.to_string());
        self.session.settle().await?;
        let client = self.session.shared();
        let rows = client.query_raw(sql.as_str(), Vec::<Value>::new()).await.map_err(failed)?;
        tokio::pin!(rows);
        let mut survivors = vec![];
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            if !self.survives(table, row.get("xid"), &mut meet::writer(&row))? {
                continue;
            }
            if !self.is_careful() {
                let message = format!("a TRUNCATE of table \"{table}\" meets rows that the peer has written");
                return Err(Error::new(Kind::Conflict, message).object(table.to_string()));
            }
            survivors.push(row.get("xid"));
        }
        Ok(survivors)
    }

    /// Removes all rows but these.
    pub(super) async fn empty_but(&mut self, tables: Spared, role: Option<&Arc<str>>) -> Result<()> {
        for (table, spared) in tables {
            let sql = format!(
                "DELETE FROM ONLY {} AS t WHERE NOT EXISTS ( \
                     SELECT FROM pg_catalog.unnest('{spared}'::pg_catalog.xid[]) AS s (xid) WHERE s.xid OPERATOR(pg_catalog.=) t.xmin)",
                table.quoted(),
            );
            self.session.act_as(role, &table).await?;
            self.session.run(sql, Operation::DeleteAny, &table).await?;
        }
        Ok(())
    }

    /// A TRUNCATE of the opposite direction comes back: there nothing is left of what this direction had put here until then.
    pub(super) async fn emptied_there(&mut self, relations: &[u32]) -> Result<()> {
        if self.tables.is_some() || !self.resolver.tracks {
            return Ok(());
        }
        let rules = self.open.as_ref().ok_or_else(outside)?.rules.clone();
        for &oid in relations {
            let relation = self.relations.get(oid)?.clone();
            let table = relation.table.clone();
            if !self.known.contains_key(&*table) || !remember_deletions(&rules, self.setting.direction, &table) {
                continue;
            }
            self.begin_closed(&table).await?;
            let peer = self.session.shape_of(&table).await?;
            if peer.partitioned {
                continue;
            }
            self.session.act_for(&peer, &table).await?;
            let sql = format!("DELETE FROM ONLY {} WHERE {}", table.quoted(), meet::written_with(&self.setting.origin));
            self.session.run(sql, Operation::DeleteAny, &table).await?;
        }
        Ok(())
    }
}
