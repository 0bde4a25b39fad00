//! What the reverse direction has on the servers. `c` is its context: its source is the task's peer.

use std::{collections::HashMap, time::Duration};

use pgrelay_core::{
    Lsn, Result,
    name::{TableName, quote_ident},
};
use tokio_postgres::{Client, error::SqlState};

use super::{cleanup, context::Context};
use crate::{
    apply,
    pg::{EMPTY_MESSAGE, server_error},
    store::{Event, Level},
    stream::{
        identity::Marks,
        publication::{self, Published, SourceTable},
        slot,
    },
};

/// Between two looks at how far the forward direction is.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Makes pgrelay's extension on the task's peer, where the server has it and the role may: then tasks can be made there too. It stays when
/// the task ends, as it does on the source. Nothing here depends on it, so whatever is in its way is told and no more.
///
/// `home`: the task's.
pub async fn make_extension(c: &Context, peer: &Client, home: &Client) -> Result<()> {
    let failed = |e| server_error(e, "look for the extension pgrelay");
    let sql = "SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'pgrelay'";
    let version: Option<String> = home.query_opt(sql, &[]).await.map_err(failed)?.map(|row| row.get(0));
    let may = "SELECT FROM pg_catalog.pg_roles WHERE rolname = current_user AND rolsuper";
    let is_there = peer.query_opt(sql, &[]).await.map_err(failed)?.is_some();
    if is_there || peer.query_opt(may, &[]).await.map_err(failed)?.is_none() {
        return Ok(());
    }
    let version = version.map_or_else(String::new, |version| format!(" VERSION {}", quote_ident(&version)));
    let made = peer.batch_execute(&format!("CREATE EXTENSION pgrelay{version}")).await;
    let event = match made {
        // Another task was faster.
        Err(_) if peer.query_opt(sql, &[]).await.map_err(failed)?.is_some() => return Ok(()),
        Ok(()) => Event::new(Level::Info, "peer_extension", "the extension pgrelay is on the peer too: tasks can be made there"),
        // It is not installed there; before PostgreSQL 15 that is a file that cannot be opened.
        Err(error) if error.code() == Some(&SqlState::FEATURE_NOT_SUPPORTED) => return Ok(()),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_FILE) && !is_installed(peer).await? => return Ok(()),
        Err(error) => {
            let error = server_error(error, "make the extension pgrelay on the peer");
            Event::new(Level::Warning, "peer_extension", format!("the extension pgrelay is not made on the peer: {error}"))
                .hint("The task goes on without it. To make tasks there, run CREATE EXTENSION pgrelay there.")
        }
    };
    c.event(event).await
}

async fn is_installed(server: &Client) -> Result<bool> {
    let sql = "SELECT FROM pg_catalog.pg_available_extensions WHERE name = 'pgrelay'";
    Ok(server.query_opt(sql, &[]).await.map_err(|e| server_error(e, "look for the extension pgrelay"))?.is_some())
}

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
