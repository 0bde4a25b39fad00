//! What the reverse direction has on the servers. `c` is its context: its source is the task's peer.

use std::{collections::HashMap, time::Duration};

use pgrelay_core::{
    Lsn, Result,
    name::{TableName, quote_ident, quote_literal},
};
use tokio_postgres::Client;

use super::{cleanup, context::Context};
use crate::{
    apply,
    pg::server_error,
    stream::{
        publication::{self, Published, SourceTable},
        slot,
    },
};

/// Between two looks at how far the forward direction is.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The tables of the forward direction.
pub async fn published_forward(c: &Context) -> Result<Vec<Published>> {
    let names = c.row.forward_names();
    let published = publication::published(&c.peer_plain("tables").await?, &names).await?;
    published.ok_or_else(|| slot::lost(&names))
}

/// Publishes those of the forward direction's tables that are there, for what that direction carries. A table whose rows are told apart by
/// all of their values over there must send them whole from here too.
pub async fn publish(c: &Context, source: &Client, peer: &Client, tables: &[Published]) -> Result<()> {
    let here = publication::source_tables(source).await?;
    let there = publication::source_tables(peer).await?;
    let whole: HashMap<&TableName, bool> = there.iter().map(|t| (&t.table, t.identity == "f")).collect();
    let wanted: HashMap<&TableName, bool> = tables.iter().map(|p| (&p.table, p.insert_only)).collect();
    let found: Vec<(&SourceTable, bool)> =
        here.iter().filter(|t| t.publishable && !t.partitioned).filter_map(|t| Some((t, *wanted.get(&t.table)?))).collect();
    for (table, insert_only) in &found {
        if !insert_only && table.identity != "f" && whole.get(&table.table) == Some(&true) {
            set_identity_full(c, source, table).await?;
        }
    }
    let list = |inserts: bool| {
        let names = found.iter().filter(|(_, insert_only)| *insert_only == inserts).map(|(t, _)| format!("ONLY {}", t.table.quoted()));
        let names: Vec<String> = names.collect();
        if names.is_empty() { String::new() } else { format!(" FOR TABLE {}", names.join(", ")) }
    };
    let (all, inserts) = (quote_ident(&c.names.publication), quote_ident(&c.names.publication_insert_only));
    let sql = format!(
        "BEGIN; SET LOCAL lock_timeout = '500ms'; \
         CREATE PUBLICATION {all}{} WITH (publish = 'insert, update, delete, truncate'); \
         CREATE PUBLICATION {inserts}{} WITH (publish = 'insert, truncate'); COMMIT",
        list(false),
        list(true)
    );
    publication::patiently(source, &sql, "create the publications on the peer").await
}

/// Sets REPLICA IDENTITY FULL and writes down what was there, with the task's row on the peer.
async fn set_identity_full(c: &Context, source: &Client, table: &SourceTable) -> Result<()> {
    let index = table.identity_index.as_deref().map_or("NULL".to_owned(), quote_literal);
    let sql = format!(
        "BEGIN; SET LOCAL lock_timeout = '500ms'; ALTER TABLE ONLY {} REPLICA IDENTITY FULL; \
         INSERT INTO pgrelay_peer.replica_identity (task_key, table_oid, identity_before, index_before) \
         VALUES ({}, {}, {}, {index}) ON CONFLICT DO NOTHING; COMMIT",
        table.table.quoted(),
        quote_literal(&c.row.forward_names().origin),
        table.oid,
        quote_literal(&table.identity),
    );
    let doing = format!("set the replica identity of table \"{}\" on the peer", table.table);
    publication::patiently(source, &sql, &doing).await.map_err(|e| e.object(table.table.to_string()))
}

/// Ends the sessions there and takes slot, publications and changed replica identities away.
pub async fn remove_from_source(c: &Context, source: &Client) -> Result<()> {
    cleanup::end_sessions(source, &c.names.origin).await?;
    slot::remove(source, &c.names).await?;
    publication::drop_both(source, &c.names).await?;
    let failed = |e| server_error(e, "read the changed replica identities of the peer");
    let there = "SELECT pg_catalog.to_regclass('pgrelay_peer.replica_identity') IS NOT NULL";
    if !source.query_one(there, &[]).await.map_err(failed)?.get::<_, bool>(0) {
        return Ok(());
    }
    let key = c.row.forward_names().origin;
    let rows = source.query(include_str!("../../../sql/query/peer/changed_identities.sql"), &[&key]).await.map_err(failed)?;
    for row in rows {
        let (oid, table): (u32, Option<String>) = (row.get("table_oid"), row.get("table_name"));
        let put_back = table.map(|table| format!("ALTER TABLE ONLY {table} REPLICA IDENTITY {};", row.get::<_, &str>("clause")));
        let sql = format!(
            "BEGIN; SET LOCAL lock_timeout = '500ms'; {} \
             DELETE FROM pgrelay_peer.replica_identity WHERE task_key = {} AND table_oid = {oid}; COMMIT",
            put_back.unwrap_or_default(),
            quote_literal(&key)
        );
        publication::patiently(source, &sql, "put a replica identity of the peer back").await?;
    }
    Ok(())
}

/// Errors: `PositionLost` when the position of the direction is not there any more.
pub async fn has_position(c: &Context, peer: &Client) -> Result<()> {
    let failed = |e| server_error(e, "read the position of the reverse direction");
    let there = "SELECT pg_catalog.to_regclass('pgrelay_peer.task') IS NOT NULL";
    let is_there = peer.query_one(there, &[]).await.map_err(failed)?.get::<_, bool>(0)
        && peer.query_opt("SELECT FROM pgrelay_peer.task WHERE task_key = $1", &[&c.names.origin]).await.map_err(failed)?.is_some();
    if is_there { Ok(()) } else { Err(apply::set_back()) }
}

/// A commit of which the stream tells.
pub async fn write_something(client: &Client) -> Result<()> {
    let sql = "SET synchronous_commit = on; SELECT pg_catalog.pg_logical_emit_message(true, 'pgrelay', ''::pg_catalog.text)";
    client.batch_execute(sql).await.map_err(|e| server_error(e, "write a message"))
}

/// Returns when the forward direction has passed all that the reverse one wrote: whose origin is dropped before that, it could not tell
/// that any more from what others write, and would send it back.
pub async fn wait_for_forward(c: &Context, peer: &Client) -> Result<()> {
    write_something(peer).await?;
    let failed = |e| server_error(e, "look where the source stands");
    let row = peer.query_one("SELECT pg_catalog.pg_current_wal_flush_lsn()::text", &[]).await.map_err(failed)?;
    let end: Lsn = row.get::<_, &str>(0).parse()?;
    loop {
        match slot::find(peer, &c.row.forward_names()).await? {
            Some(slot) if !slot.lost && slot.confirmed.is_none_or(|at| at < end) => tokio::time::sleep(LOOK_EVERY).await,
            _ => return Ok(()),
        }
    }
}
