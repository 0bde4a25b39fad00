//! What the peer has already and keeps: looked for once, before anything is written there, and kept with the task's row on the peer.
//!
//! A task that is resumed takes neither what it has made itself for the peer's, nor what somebody makes there meanwhile.

use pgrelay_core::{
    Result,
    catalog::Catalog,
    plan::{Kept, Lacks, Peer, Plan, Rules},
    task::{ExistingObjects, Options},
    verify::{Keeping, keep},
};
use tokio_postgres::{Client, Transaction};

use super::context::Context;
use crate::{pg::server_error, schema};

/// What the peer keeps of a task that has begun there.
pub async fn of_task(peer: &Client, key: &str) -> Result<Kept> {
    let failed = |e| server_error(e, "read what the peer keeps");
    let there = "SELECT pg_catalog.to_regclass('pgrelay_peer.kept') IS NOT NULL";
    if !peer.query_one(there, &[]).await.map_err(failed)?.get::<_, bool>(0) {
        return Ok(Kept::new());
    }
    let rows = peer.query("SELECT identity FROM pgrelay_peer.kept WHERE task_key = $1", &[&key]).await.map_err(failed)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Looks at the peer: what it has of what the task is to make or to fill, and how it differs.
pub async fn look(c: &Context, peer: &Client, options: &Options, source: &Catalog, lacks: &Lacks) -> Result<Keeping> {
    if options.existing_objects != ExistingObjects::Keep {
        return Ok(Keeping::default());
    }
    let peer = schema::read_catalog(peer).await?;
    let there = if lacks.is_empty() { Peer::HasAll } else { Peer::Lacks(lacks) };
    Ok(keep(source, &peer, &c.row.selection()?, Rules { peer: there, ..Rules::of(options) }))
}

/// Leaves to the peer what it keeps. Without the schema stage every table is its own.
pub fn leave(plan: &mut Plan, options: &Options, kept: Kept) {
    if options.existing_objects != ExistingObjects::Keep {
        return;
    }
    plan.keep(kept);
    if !options.stages.schema {
        plan.keep_every_table();
    }
}

/// Writes down what the peer keeps, in the transaction that makes the task's row.
pub async fn write(transaction: &Transaction<'_>, key: &str, kept: &Kept) -> Result<()> {
    let identities: Vec<&str> = kept.iter().map(String::as_str).collect();
    let sql = "INSERT INTO pgrelay_peer.kept (task_key, identity) SELECT $1, k FROM pg_catalog.unnest($2::text[]) k";
    let written = transaction.execute(sql, &[&key, &identities]).await;
    written.map(drop).map_err(|e| server_error(e, "write down what the peer keeps"))
}
