//! Compares the structure of both sides: reads both catalogs, lets `core` say what differs. Writes nothing on the peer.

use pgrelay_core::{
    Result,
    plan::{Lacks, Peer, Rules},
    verify::{Difference, Reached, compare, put_back_identities},
};
use tokio_postgres::Client;

use super::{context::Context, lacks, pipeline};
use crate::{pg::server_error, schema};

/// What differs, and what would mend the peer.
pub async fn differences(c: &Context) -> Result<Vec<Difference>> {
    let options = c.row.options()?;
    let mut source = pipeline::read_source(c).await?;
    // What pgrelay itself has changed there is put back when the task is stopped.
    put_back_identities(&mut source, &identities_before(c).await?);
    let peer = c.peer_plain("verify").await?;
    let lacks = match lacks::of_task(&peer, &c.names.origin).await? {
        Some(lacks) => lacks,
        None if options.stages.schema => lacks::look(c, &options, &source).await?,
        None => Lacks::new(),
    };
    let reached = reached(&peer, &c.names.origin).await?;
    let peer = schema::read_catalog(&peer).await?;
    let there = if lacks.is_empty() { Peer::HasAll } else { Peer::Lacks(&lacks) };
    Ok(compare(&source, &peer, &c.row.selection()?, Rules { peer: there, ..Rules::of(&options) }, reached))
}

async fn identities_before(c: &Context) -> Result<Vec<(u32, String, Option<String>)>> {
    let rows = c.store.client().query(include_str!("../../../sql/store/identities_before.sql"), &[]).await;
    let rows = rows.map_err(|e| server_error(e, "read the changed replica identities"))?;
    Ok(rows.iter().map(|r| (r.get(0), r.get(1), r.get(2))).collect())
}

/// A task that has left the peer has done there what it wanted to.
async fn reached(peer: &Client, key: &str) -> Result<Reached> {
    let failed = |e| server_error(e, "read the task's state on the peer");
    let there = "SELECT pg_catalog.to_regclass('pgrelay_peer.task') IS NOT NULL";
    let all = Reached { before_data: true, after_data: true };
    if !peer.query_one(there, &[]).await.map_err(failed)?.get::<_, bool>(0) {
        return Ok(all);
    }
    let row = peer.query_opt(include_str!("../../../sql/query/peer/reached.sql"), &[&key]).await.map_err(failed)?;
    Ok(row.map_or(all, |row| Reached { before_data: row.get(0), after_data: row.get(1) }))
}
