//! TRUNCATE, where changes go both ways and `latest_wins` or `source_priority` decide: a deletion of every row that was there, as far as
//! the other side's are concerned ([decision 25](../../../docs/decisions/0025-truncate-in-two-way-tasks.md)).
//!
//! The side where it ran remembers it like a deletion, of all keys. Where it arrives, what the other side did not know and what wins over a
//! deletion stays. When it comes back, what this direction has put there meanwhile goes again.

use std::sync::Arc;

use pgrelay_core::{
    Error, Result,
    conflict::{Action, Operation as Change, remember_deletions},
    error::Kind,
    name::{TableName, quote_literal},
};

use super::{Applier, outside, session::Operation};
use crate::{
    conflict::{meet, tombstone::Emptied},
    pg::server_error,
};

/// Rows of a table that stay, by their places.
pub(super) type Spared = Vec<(Arc<TableName>, Vec<String>)>;

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

    /// Locks the tables, and tells the rows of each that a TRUNCATE of the other side leaves; nothing where it leaves none.
    ///
    /// Errors: `Conflict` when it leaves some and the transaction is not applied change by change, as it must be then.
    pub(super) async fn spared(&mut self, tables: &[Arc<TableName>], role: Option<&Arc<str>>) -> Result<Spared> {
        if !self.heeds_deletions() || !self.resolver.tracks || self.tables.is_some() {
            return Ok(vec![]);
        }
        let open = self.open.as_ref().ok_or_else(outside)?;
        let (of, rules, one_way) = (open.origin(), open.rules.clone(), self.setting.one_way.clone());
        let mut all = vec![];
        for table in tables {
            if one_way.contains(table.as_ref()) {
                all.push((table.clone(), vec![]));
                continue;
            }
            self.session.act_as(role, table).await?;
            self.session.run(format!("LOCK TABLE ONLY {} IN ACCESS EXCLUSIVE MODE", table.quoted()), Operation::Other, table).await?;
            let mut spared = vec![];
            for row in self.written_by_others(table).await? {
                let mut writer = meet::writer(&row);
                let now = self.resolver.sight.seen();
                let (decision, _) = self.resolver.weigh(table, &rules, Change::Delete, (of, now), (row.get("xid"), &mut writer));
                if decision.action == Action::Skip {
                    spared.push(row.get::<_, String>("at"));
                }
            }
            all.push((table.clone(), spared));
        }
        if all.iter().all(|(_, spared)| spared.is_empty()) {
            return Ok(vec![]);
        }
        if !self.is_careful() {
            let table = all.iter().find(|(_, spared)| !spared.is_empty()).map(|(table, _)| table.to_string()).unwrap_or_default();
            let message = format!("a TRUNCATE of table \"{table}\" meets rows that the peer has written");
            return Err(Error::new(Kind::Conflict, message).object(table));
        }
        Ok(all)
    }

    /// Rows of a table that others have written, but for those that the other side has seen for certain.
    async fn written_by_others(&mut self, table: &Arc<TableName>) -> Result<Vec<tokio_postgres::Row>> {
        let unseen = match self.resolver.sight.certain() {
            Some(certain) => format!(" AND o.committed > {certain}"),
            None => String::new(),
        };
        let sql = format!(
            "SELECT r.at, r.xid::pg_catalog.text::pg_catalog.oid AS xid, o.writer, o.origin, o.committed \
             FROM (SELECT t.ctid::pg_catalog.text AS at, t.xmin AS xid FROM ONLY {} AS t) AS r \
             CROSS JOIN LATERAL ({}) AS o WHERE o.writer = 'other'{unseen}",
            table.quoted(),
            meet::origins(&self.setting.origin, self.resolver.tracks)
        );
        let client = self.session.shared();
        let ask = async {
            let rows = client.query(&sql, &[]).await;
            rows.map_err(|e| server_error(e, "look for rows that a TRUNCATE leaves").object(table.to_string()))
        };
        self.session.ask(ask).await
    }

    /// Removes all rows but these.
    pub(super) async fn empty_but(&mut self, tables: &Spared, role: Option<&Arc<str>>) -> Result<()> {
        for (table, spared) in tables {
            let places: Vec<String> = spared.iter().map(|at| quote_literal(at)).collect();
            let sql = format!(
                "DELETE FROM ONLY {} WHERE ctid OPERATOR(pg_catalog.<>) ALL (ARRAY[{}]::pg_catalog.tid[])",
                table.quoted(),
                places.join(", ")
            );
            self.session.act_as(role, table).await?;
            self.session.run(sql, Operation::Other, table).await?;
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
            let sql = format!(
                "DELETE FROM ONLY {} WHERE (pg_catalog.pg_xact_commit_timestamp_origin(xmin)).roident \
                 OPERATOR(pg_catalog.=) (SELECT n.roident FROM pg_catalog.pg_replication_origin n WHERE n.roname = {})",
                table.quoted(),
                quote_literal(&self.setting.origin)
            );
            self.session.run(sql, Operation::Other, &table).await?;
        }
        Ok(())
    }
}
