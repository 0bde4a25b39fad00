//! Replica identities that a task sets to FULL, and puts back when it ends: what was there is written down in the transaction that
//! changes the table.

use pgrelay_core::{Result, name::quote_literal};
use tokio_postgres::Client;

use super::{patiently, publication::SourceTable};
use crate::pg::server_error;

/// Where it is written down for a task.
pub struct Marks {
    table: &'static str,
    column: &'static str,
    /// The task there, as SQL.
    task: String,
}

impl Marks {
    /// With the tasks themselves.
    pub fn of_task(task_id: i64) -> Marks {
        Marks { table: "pgrelay.replica_identity", column: "task_id", task: task_id.to_string() }
    }

    /// On the peer of a task, whose tables the reverse direction reads.
    pub fn on_peer(task_key: &str) -> Marks {
        Marks { table: "pgrelay_peer.replica_identity", column: "task_key", task: quote_literal(task_key) }
    }

    fn of_that_task(&self) -> String {
        format!("{} = {}", self.column, self.task)
    }

    /// Sets REPLICA IDENTITY FULL and writes down what was there.
    pub async fn set_full(&self, client: &Client, table: &SourceTable) -> Result<()> {
        let index = table.identity_index.as_deref().map_or("NULL".to_owned(), quote_literal);
        let sql = format!(
            "BEGIN; SET LOCAL lock_timeout = '500ms'; ALTER TABLE ONLY {} REPLICA IDENTITY FULL; \
             INSERT INTO {} ({}, table_oid, identity_before, index_before) VALUES ({}, {}, {}, {index}) ON CONFLICT DO NOTHING; COMMIT",
            table.table.quoted(),
            self.table,
            self.column,
            self.task,
            table.oid,
            quote_literal(&table.identity),
        );
        let doing = format!("set the replica identity of table \"{}\"", table.table);
        patiently(client, &sql, &doing).await.map_err(|e| e.object(table.table.to_string()))
    }

    /// Puts back what was there. Nothing is written down where pgrelay's own tables are not there any more.
    pub async fn put_back(&self, client: &Client) -> Result<()> {
        let failed = |e| server_error(e, "read the changed replica identities");
        let there = client.query_one("SELECT pg_catalog.to_regclass($1) IS NOT NULL", &[&self.table]).await;
        if !there.map_err(failed)?.get::<_, bool>(0) {
            return Ok(());
        }
        let (marks, of_task) = (self.table, self.of_that_task());
        let sql = include_str!("../../../sql/query/identity/changed.sql").replace("{marks}", marks).replace("{of_task}", &of_task);
        for row in client.query(&sql, &[]).await.map_err(failed)? {
            let (oid, table): (u32, Option<String>) = (row.get("table_oid"), row.get("table_name"));
            let change = |table: &String| format!("ALTER TABLE ONLY {table} REPLICA IDENTITY {};", row.get::<_, &str>("clause"));
            let put_back = table.as_ref().map(change).unwrap_or_default();
            let sql = format!(
                "BEGIN; SET LOCAL lock_timeout = '500ms'; {put_back} DELETE FROM {marks} WHERE {of_task} AND table_oid = {oid}; COMMIT"
            );
            let doing = "put a replica identity back";
            let object = |e: pgrelay_core::Error| if let Some(table) = &table { e.object(table.clone()) } else { e };
            patiently(client, &sql, doing).await.map_err(object)?;
        }
        Ok(())
    }
}
