//! Takes away what a task has made, on both sides; the rows stay.
//!
//! The source first, so that it keeps no WAL while the peer cannot be reached. Every step may find its work done.

use pgrelay_core::{Result, name::quote_literal};
use tokio_postgres::Client;

use super::{conflicts, context::Context, interleave, reverse, sequences::Positions};
use crate::{
    crash::{self, Point},
    pg::server_error,
    store::{Event, Level},
    stream::{identity::Marks, publication, slot},
};

/// Keeps two appliers from using and dropping pgrelay's own schema on a peer at once; ends with the transaction. Only the
/// owner of the table can be in the way.
pub const LOCK_OWN_SCHEMA: &str = "SET LOCAL lock_timeout = '10s'; LOCK TABLE pgrelay_peer.task IN SHARE ROW EXCLUSIVE MODE";

/// Cleans both sides. With the user's `force` a peer that is gone is left, and what stays there is told.
///
/// A clone of the source has the task too, but not its slot: from there the peer, which works for the original, is not
/// touched, unless the user says `force`.
pub async fn run(c: &Context) -> Result<()> {
    let mut source = c.source("clean-up").await?;
    // Whoever works on the reverse direction has been told to end.
    let _held = c.pair.reverse.lock().await;
    let has_reverse = c.store.has_reverse(c.row.id).await?;
    let streamed = c.has_come_to("copy") && c.row.options()?.stages.stream;
    let is_clone = c.store.lineage().await? != c.row.lineage
        || (streamed && !c.is_cleaning() && !c.row.force && slot::find(&source, &c.names).await?.is_none());
    let mut peer = if is_clone || !c.has_begun() { None } else { Some(c.peer_plain("clean-up").await) };
    if let Some(Ok(peer)) = &peer {
        end_sessions(peer, &c.names.origin).await?;
        // Nobody records any more, and what stands there goes away with the task's row.
        conflicts::carry(c, peer).await?;
        if publication::published(&source, &c.names).await?.is_some() {
            Positions::default().follow(&source, peer, c).await?;
        }
    }
    if !is_clone && let Some(peer) = &mut peer {
        // What was drawn on the peer is looked at, so not when it is away, unless it is left as it is.
        match peer {
            Ok(peer) => interleave::take_back(c, &mut source, Some(peer)).await?,
            Err(_) if c.row.force => interleave::take_back(c, &mut source, None).await?,
            Err(_) => {}
        }
    }
    if !is_clone {
        // Not on a clone: a second try there must not take the missing slot for one that we have removed.
        c.begin_cleaning().await?;
        crash::at(Point::CleaningBegun);
    }
    slot::remove(&source, &c.names).await?;
    crash::at(Point::SlotRemoved);
    if has_reverse && !is_clone {
        let there = peer.as_ref().and_then(|peer| peer.as_ref().ok());
        if there.is_some() || c.row.force || peer.is_none() {
            reverse::remove_with_task(c, &mut source, there).await?;
        }
    }
    if has_reverse && is_clone {
        // What is there belongs to another: here it has ended.
        c.store.stop_reverse(c.row.id).await?;
    }
    publication::remove(&source, &c.names).await?;
    Marks::of_task(c.row.id).put_back(&source).await?;
    crash::at(Point::PublicationRemoved);
    match peer {
        None if is_clone && c.has_begun() => {
            leave(c, "This is not the source that the task was made on, or its slot is gone: another may work with the peer.").await
        }
        None => Ok(()),
        Some(Ok(mut peer)) => clean_peer(&mut peer, &c.names.origin).await,
        Some(Err(error)) if c.row.force => leave(c, &error.message).await,
        Some(Err(error)) => Err(error),
    }
}

/// Ends the sessions of a direction on one side, other than this one.
pub async fn end_sessions(client: &Client, key: &str) -> Result<()> {
    let sql = "SELECT pg_catalog.pg_terminate_backend(pid, 5000) FROM pg_catalog.pg_stat_activity \
               WHERE datname = pg_catalog.current_database() AND usename = current_user \
                 AND pg_catalog.starts_with(application_name, $1 || ' ') AND pid <> pg_catalog.pg_backend_pid()";
    client.execute(sql, &[&key]).await.map(drop).map_err(|e| server_error(e, "end the task's sessions"))
}

/// Takes away what a direction has on the side that it writes to.
pub async fn clean_peer(peer: &mut Client, key: &str) -> Result<()> {
    let doing = "clean up the peer";
    let failed = |e| server_error(e, doing);
    // What the source has not committed by now is not carried any more, and would hold its locks for ever.
    let prepared = "SELECT gid FROM pg_catalog.pg_prepared_xacts \
                    WHERE database = pg_catalog.current_database() AND pg_catalog.starts_with(gid, $1 || '_')";
    for row in peer.query(prepared, &[&key]).await.map_err(failed)? {
        let sql = format!("ROLLBACK PREPARED {}", quote_literal(row.get(0)));
        peer.batch_execute(&sql).await.map_err(failed)?;
    }
    // Who may not use origins has made none, and may not even name the function that drops them.
    let origins = "FROM pg_catalog.pg_replication_origin \
                   WHERE roname = $1 OR pg_catalog.starts_with(roname, $1 || '_copy_')";
    if !peer.query(&format!("SELECT {origins}"), &[&key]).await.map_err(failed)?.is_empty() {
        let drop = format!("SELECT pg_catalog.pg_replication_origin_drop(roname) {origins}");
        peer.execute(&drop, &[&key]).await.map_err(failed)?;
    }
    crash::at(Point::OriginsRemoved);
    let transaction = peer.transaction().await.map_err(failed)?;
    let there: bool =
        transaction.query_one("SELECT pg_catalog.to_regclass('pgrelay_peer.task') IS NOT NULL", &[]).await.map_err(failed)?.get(0);
    if there {
        transaction.batch_execute(LOCK_OWN_SCHEMA).await.map_err(failed)?;
        // Nothing half-made stays.
        let partial = "SELECT pg_catalog.lo_unlink(m.oid) FROM pgrelay_peer.large_objects l \
                       JOIN pg_catalog.pg_largeobject_metadata m ON m.oid = l.partial WHERE l.task_key = $1";
        transaction.execute(partial, &[&key]).await.map_err(failed)?;
        transaction.execute("DELETE FROM pgrelay_peer.task WHERE task_key = $1", &[&key]).await.map_err(failed)?;
        let last = transaction.query("SELECT FROM pgrelay_peer.task LIMIT 1", &[]).await.map_err(failed)?.is_empty();
        if last {
            transaction.batch_execute("DROP SCHEMA pgrelay_peer CASCADE").await.map_err(failed)?;
        }
    }
    transaction.commit().await.map_err(failed)?;
    crash::at(Point::PeerCleaned);
    Ok(())
}

async fn leave(c: &Context, why: &str) -> Result<()> {
    let key = &c.names.origin;
    let reverse = if c.row.options()?.is_two_way() {
        format!(", slot and publications \"{}\", \"{}\"", c.names.reverse().slot, c.names.reverse().publication_insert_only)
    } else {
        String::new()
    };
    let message = format!(
        "the peer was left as it is: prepared transactions \"{key}_…\", replication origins \"{key}\" and \"{key}_copy_…\", schema \"pgrelay_peer\"{reverse}"
    );
    let event = Event { detail: Some(why.to_owned()), ..Event::new(Level::Warning, "left_behind", message) };
    let hint = "When nobody needs them any more: pgrelay.drop_task(…, force => true) from the source that made the task, or drop them there with ROLLBACK PREPARED, then pg_replication_origin_drop() and DROP SCHEMA pgrelay_peer CASCADE.";
    c.event(event.hint(hint)).await
}
