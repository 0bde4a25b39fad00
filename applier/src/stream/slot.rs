//! The task's slot on the source.

use std::time::Duration;

use pgrelay_core::{Error, Lsn, Result, error::Kind, name::quote_literal, task::Names};
use tokio_postgres::Client;

use crate::pg::{Endpoint, plugin::Plugin, replication::Connection, server_error};

/// What the source says of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Confirmed position; none while the slot is being made.
    pub confirmed: Option<Lsn>,
    /// The WAL it needs is gone.
    pub lost: bool,
    /// The session that uses it.
    pub active_pid: Option<i32>,
}

/// Looks the slot up.
pub async fn find(source: &Client, names: &Names) -> Result<Option<Slot>> {
    let sql = "SELECT confirmed_flush_lsn::text, coalesce(wal_status = 'lost', false), active_pid \
               FROM pg_catalog.pg_replication_slots WHERE slot_name = $1 AND database = pg_catalog.current_database()";
    let row = source.query_opt(sql, &[&names.slot]).await.map_err(|e| server_error(e, "read the slot"))?;
    row.map(|row| {
        let confirmed: Option<&str> = row.get(0);
        Ok(Slot { confirmed: confirmed.map(str::parse).transpose()?, lost: row.get(1), active_pid: row.get(2) })
    })
    .transpose()
}

/// Makes the slot, with the extension's plugin where the server has and allows it. Waits for the transactions that run on the source;
/// dropping the future gives up.
pub async fn create(source: &Endpoint, names: &Names, application_name: &str) -> Result<()> {
    match make(source, names, application_name, Plugin::Pgrelay).await {
        // What it says of the plugin comes before anything is waited for. Ended from outside, or without room, says nothing of it.
        Err(error) if error.server_sqlstate.as_deref().is_some_and(is_about_it) => {
            tracing::debug!(%error, "the stream is read with pgoutput");
            make(source, names, application_name, Plugin::Pgoutput).await
        }
        made => made,
    }
}

async fn make(source: &Endpoint, names: &Names, application_name: &str, plugin: Plugin) -> Result<()> {
    let mut connection = Connection::connect(source, application_name, &[]).await?;
    connection.create_logical_slot(&names.slot, plugin.name()).await.map(drop)
}

fn is_about_it(sqlstate: &str) -> bool {
    !["08", "53", "57"].iter().any(|class| sqlstate.starts_with(class))
}

/// A slot that the task needs and that is not there, or has lost its WAL: going on would leave a gap.
pub fn lost(names: &Names) -> Error {
    Error::new(Kind::PositionLost, format!("the slot \"{}\" on the source is lost", names.slot))
        .detail("Changes since its last position cannot be had any more.")
        .hint("Call pgrelay.stop_task(), empty the tables on the peer, and start the task anew.")
}

/// Ends the session that still uses the slot: one of ours whose client is gone.
pub async fn free(source: &Client, names: &Names) -> Result<()> {
    let sql = "SELECT pg_catalog.pg_terminate_backend(active_pid) FROM pg_catalog.pg_replication_slots WHERE slot_name = $1 AND active_pid IS NOT NULL";
    source.execute(sql, &[&names.slot]).await.map(drop).map_err(|e| server_error(e, "free the slot"))
}

/// The same by a replication connection, which knows no parameters. Returns with what the slot was made, if it is there.
pub async fn free_by(connection: &mut Connection, names: &Names) -> Result<Plugin> {
    let sql = format!(
        "SELECT plugin, CASE WHEN active_pid IS NOT NULL THEN pg_catalog.pg_terminate_backend(active_pid) END \
         FROM pg_catalog.pg_replication_slots WHERE slot_name = {}",
        quote_literal(&names.slot)
    );
    let rows = connection.simple_query(&sql).await?;
    let is_own = rows.first().and_then(|row| row.first()?.as_deref()).is_some_and(|plugin| plugin == Plugin::Pgrelay.name());
    Ok(if is_own { Plugin::Pgrelay } else { Plugin::Pgoutput })
}

/// Drops the slot when it is there.
pub async fn remove(source: &Client, names: &Names) -> Result<()> {
    for _ in 0..100 {
        let Some(slot) = find(source, names).await? else { return Ok(()) };
        if slot.active_pid.is_some() {
            free(source, names).await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        }
        let sql = "SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots WHERE slot_name = $1";
        return source.execute(sql, &[&names.slot]).await.map(drop).map_err(|e| server_error(e, "drop the slot"));
    }
    Err(Error::new(Kind::Contention, format!("the slot \"{}\" stays in use", names.slot)))
}
