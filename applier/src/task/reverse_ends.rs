//! What the reverse direction has on the servers. `c` is its context: its source is the task's peer.

use std::{collections::HashMap, time::Duration};

use pgrelay_core::{Lsn, Result, name::TableName};
use tokio_postgres::Client;

use super::{cleanup, context::Context};
use crate::{
    apply,
    pg::{EMPTY_MESSAGE, server_error},
    stream::{
        identity::Marks,
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

/// Publishes those of the forward direction's tables that are there and that the option `reverse` leaves to this one, for what that
/// direction carries. A table whose rows are told apart by
/// all of their values over there must send them whole from here too.
pub async fn publish(c: &Context, source: &Client, peer: &Client, tables: &[Published]) -> Result<()> {
    let here = publication::source_tables(source).await?;
    let there = publication::source_tables(peer).await?;
    let whole: HashMap<&TableName, bool> = there.iter().map(|t| (&t.table, t.identity == "f")).collect();
    let wanted: HashMap<&TableName, bool> = tables.iter().map(|p| (&p.table, p.insert_only)).collect();
    let options = c.options();
    let found: Vec<(&SourceTable, bool)> = here
        .iter()
        .filter(|t| t.publishable && !t.partitioned && t.is_carried_by(&options.reverse, &here))
        .filter_map(|t| Some((t, *wanted.get(&t.table)?)))
        .collect();
    let marks = Marks::on_peer(&c.row.forward_names().origin);
    for (table, insert_only) in &found {
        if !insert_only && table.identity != "f" && whole.get(&table.table) == Some(&true) {
            marks.set_full(source, table).await?;
        }
    }
    publication::create_of(source, &c.names, found.into_iter()).await
}

/// Ends the sessions there and takes slot, publications and changed replica identities away.
pub async fn remove_from_source(c: &Context, source: &Client) -> Result<()> {
    cleanup::end_sessions(source, &c.names.origin).await?;
    slot::remove(source, &c.names).await?;
    publication::remove(source, &c.names).await?;
    Marks::on_peer(&c.row.forward_names().origin).put_back(source).await
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
    let sql = format!("SET synchronous_commit = on; {EMPTY_MESSAGE}");
    client.batch_execute(&sql).await.map_err(|e| server_error(e, "write a message"))
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
