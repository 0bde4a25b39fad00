//! The reverse direction of a two-way task: what the peer's own sessions write goes to the source.
//!
//! ```text
//! publications, then slot, on the peer ─▶ position, on the source ─▶ first row on the peer ─▶ forward streams ─▶ reverse applies
//!                                         from here on the stream is read, and what comes back is left out
//! ```
//!
//! It is one more stream with its ends exchanged: `Context` calls the side where its changes come from the source. It begins at one
//! position, since there is nothing to copy: both sides hold the same rows when its slot is made, or the slot is older than the rows.

use pgrelay_core::{Error, Lsn, Result, error::Kind, name::TableName, state::Actual, task::Options};
use std::{collections::HashMap, sync::Arc};
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinSet,
};
use tokio_postgres::Client;

use super::{
    cleanup,
    context::Context,
    moving,
    pipeline::{self, Outcome},
    reporter, reverse_ends as ends,
};
use crate::{
    apply::{Applier, Setting},
    conflict::place::Place,
    crash::{self, Point},
    lane::Lane,
    pg::server_error,
    stream::{
        publication::{self, Published},
        slot,
    },
};

/// Of the forward direction, before the first row is written on the peer: makes what the reverse one needs.
pub async fn prepare_first(c: &Context, tables: &[Published]) -> Result<()> {
    let reverse = c.reverse();
    let _held = c.pair.reverse.lock().await;
    if *c.pair.prepared.borrow() { Ok(()) } else { Box::pin(prepare(&reverse, tables)).await }
}

/// Makes publications and slot on the peer and the position on the source, in this order, anew where they are there from a try that was cut
/// off.
/// `tables`: those of the forward direction.
async fn prepare(c: &Context, tables: &[Published]) -> Result<()> {
    c.store.begin_reverse(c.row.id).await?;
    let (source, mut peer) = tokio::try_join!(c.source("prepare"), c.peer_plain("prepare"))?;
    ends::make_extension(c, &source, &peer).await?;
    // What an earlier try has left may be of other tables, and nothing depends on it yet. A slot that is older than its publications cannot
    // be read.
    slot::remove(&source, &c.names).await?;
    publication::remove(&source, &c.names).await?;
    ends::publish(c, &source, &peer, tables).await?;
    crash::at(Point::ReversePublicationMade);
    slot::create(&c.source_endpoint().await?, &c.names, &c.source_name("slot")).await?;
    crash::at(Point::ReverseSlotMade);
    let slot = slot::find(&source, &c.names).await?.ok_or_else(|| slot::lost(&c.names))?;
    begin_on_source(c, &mut peer, slot.confirmed.unwrap_or_default()).await?;
    crash::at(Point::ReverseBegun);
    c.store.set_stage(&c.row, "stream").await?;
    c.pair.prepared.send_replace(true);
    Ok(())
}

/// The position from which on the direction's changes count, in the schema that a peer of a task has too.
async fn begin_on_source(c: &Context, peer: &mut Client, position: Lsn) -> Result<()> {
    let failed = |e| server_error(e, "make pgrelay's own schema for the reverse direction");
    let transaction = peer.transaction().await.map_err(failed)?;
    pipeline::make_own_schema(&transaction).await?;
    let sql = "INSERT INTO pgrelay_peer.task (task_key, pre_data_done, one_position, position, post_data_done) \
               VALUES ($1, true, true, $2::text::pg_lsn, true) \
               ON CONFLICT (task_key) DO UPDATE SET position = EXCLUDED.position";
    transaction.execute(sql, &[&c.names.origin, &position.to_string()]).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)
}

/// Waits for the forward direction, then streams until it is told otherwise.
pub async fn run(c: &Context, options: &Options) -> Result<Outcome> {
    if c.store.lineage().await? != c.row.lineage {
        return Ok(Outcome::ForeignSource(pipeline::foreign_source()));
    }
    let (mut prepared, mut streams) = (c.pair.prepared.subscribe(), c.pair.streams.subscribe());
    if !*prepared.borrow() {
        c.state(Actual::Created, None).await?;
    }
    let came = tokio::select! {
        came = prepared.wait_for(|is| *is) => came.map(drop),
        came = streams.wait_for(|is| *is) => came.map(drop),
    };
    came.map_err(|_| Error::new(Kind::Internal, "nobody works on the task any more"))?;
    let _held = c.pair.reverse.lock().await;
    if !*c.pair.prepared.borrow() {
        if let Some(error) = pipeline::reverse_precheck(c).await? {
            return Ok(Outcome::PrecheckFailed(error));
        }
        Box::pin(prepare(c, &ends::published_forward(c).await?)).await?;
    }
    c.stage("stream").await?;
    Box::pin(stream(c, options)).await?;
    Ok(Outcome::Finished)
}

async fn stream(c: &Context, options: &Options) -> Result<()> {
    if *c.pair.streams.borrow() {
        c.state(Actual::CatchingUp, None).await?;
    }
    let (source, peer) = tokio::try_join!(c.source("stream"), c.peer_plain("begin"))?;
    cleanup::end_sessions(&peer, &c.names.origin).await?;
    let slot = slot::find(&source, &c.names).await?.filter(|slot| !slot.lost);
    if slot.is_none() {
        return Err(slot::lost(&c.names));
    }
    slot::free(&source, &c.names).await?;
    ends::has_position(c, &c.peer_plain("position").await?).await?;
    let published = publication::published(&source, &c.names).await?.ok_or_else(|| slot::lost(&c.names))?;
    let known: HashMap<TableName, u32> = published.into_iter().map(|p| (p.table, p.oid)).collect();
    let setting = Setting {
        peer: c.peer_endpoint().await?,
        origin: c.names.origin.clone(),
        direction: c.row.direction,
        place: Place::new(c.row.direction, &c.names.origin, c.row.id),
        opposite: c.opposite_names(),
        two_way: Some(c.pair.read_by(c.row.direction.opposite())),
        // The forward direction carries all that this one does.
        one_way: Arc::default(),
        carries_less: options.reverse.selection.is_some(),
        may_apply: c.pair.streams.subscribe(),
        // What the source has got since stays as it is.
        exact: false,
        kept: Default::default(),
        progress: c.progress(),
        gate: Arc::new(Mutex::new(())),
        at_least: c.store.peer_position(&c.row).await?,
        slot: c.names.slot.clone(),
        source: Arc::new(c.source("snapshots").await?),
        throttle: c.throttle.clone(),
        rules: c.rules.clone(),
        skips: c.row.skips.clone(),
    };
    let lane = Lane::start("apply")?;
    let applier = lane.run(Applier::open(setting, known)).await?;
    c.progress().set_schema_done();
    let (no_copies, hear) = mpsc::channel(1);
    let reading = moving::reading(c, options).await?;
    let streaming = Box::pin(moving::stream(reading, applier, hear));
    let mut parts = JoinSet::new();
    let stream = async move {
        let _open = no_copies;
        streaming.await
    };
    parts.spawn_on(stream, lane.handle());
    let reporting = reporter::run(c, Some(c.pair.streams.subscribe()));
    moving::until_one_ends(parts, Box::pin(reporting)).await
}

/// Answers when everything that is committed on the peer now is on the source.
pub async fn catch_up(c: &Context) -> Result<()> {
    let source = c.source("catch up").await?;
    let failed = |e| server_error(e, "look where the peer stands");
    let row = source.query_one("SELECT pg_catalog.pg_current_wal_insert_lsn()::text", &[]).await.map_err(failed)?;
    let position: Lsn = row.get::<_, &str>(0).parse()?;
    // The stream comes to that position only with something behind it.
    ends::write_something(&source).await?;
    c.progress().flushed(position).await;
    Ok(())
}

/// The task goes on one way: takes away what the reverse direction has made, on both sides.
pub async fn remove(c: &Context) -> Result<()> {
    let _held = c.pair.reverse.lock().await;
    c.pair.prepared.send_replace(false);
    c.store.begin_reverse_removal(c.row.id).await?;
    let (source, mut peer) = tokio::try_join!(c.source("clean-up"), c.peer_plain("clean-up"))?;
    ends::remove_from_source(c, &source).await?;
    crash::at(Point::ReverseSlotRemoved);
    cleanup::end_sessions(&peer, &c.names.origin).await?;
    ends::wait_for_forward(c, &peer).await?;
    Box::pin(cleanup::clean_peer(&mut peer, &c.names.origin)).await?;
    crash::at(Point::ReverseRemoved);
    c.store.forget_reverse(c.row.id).await
}

/// Likewise at the end of the whole task, whose clean-up has ended its sessions. `peer`: the task's peer, where it can be reached.
pub async fn remove_with_task(c: &Context, source: &mut Client, peer: Option<&Client>) -> Result<()> {
    let reverse = c.reverse();
    c.pair.prepared.send_replace(false);
    cleanup::end_sessions(source, &reverse.names.origin).await?;
    if let Some(peer) = peer {
        ends::remove_from_source(&reverse, peer).await?;
    }
    cleanup::clean_peer(source, &reverse.names.origin).await?;
    c.store.stop_reverse(c.row.id).await
}

/// The parts that carry changes call the side that these come from the source. Of the reverse direction that is the task's peer: so in
/// what is told to people the two words change places.
pub fn turned(error: &Error) -> Error {
    let turn = |text: &Option<String>| text.as_deref().map(turn);
    let mut turned = Error::new(error.kind, self::turn(&error.message));
    (turned.detail, turned.hint) = (turn(&error.detail), turn(&error.hint));
    turned.object = error.object.clone();
    turned.server_sqlstate = error.server_sqlstate.clone();
    turned
}

/// Exchanges the words outside of quoted names.
pub fn turn(text: &str) -> String {
    let part = |(n, part): (usize, &str)| match n % 2 {
        0 => part.replace("source", "\u{1}").replace("peer", "source").replace('\u{1}', "peer").replace("pgrelay_source", "pgrelay_peer"),
        _ => part.to_owned(),
    };
    text.split('"').enumerate().map(part).collect::<Vec<_>>().join("\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_change_places_but_not_in_names() {
        let told = "an insert collides with a row that table \"peer.source\" of the peer holds; see the source's pgrelay_peer";
        let turned = "an insert collides with a row that table \"peer.source\" of the source holds; see the peer's pgrelay_peer";
        assert_eq!(turn(told), turned);
    }
}
