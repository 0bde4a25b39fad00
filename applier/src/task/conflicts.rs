//! Carries records of conflicts from the peer, where they stand in the transactions that resolved them, to the task's home, and removes
//! old ones on both sides. Those of the reverse direction are written down at home.
//!
//! Added here first, then taken off the list there: after a crash in between they come again, and are known by their ids. What is on the
//! list is never removed. The list, and not a place among the records, tells what has still to come: records are not committed in their
//! order. Most are, so it is looked behind the last one that was carried, and at the whole list now and then.

use std::{convert::Infallible, time::Duration};

use pgrelay_core::{Result, conflict::Direction, finding::Finding, precheck::lacking_commit_times};
use tokio::time::Instant;
use tokio_postgres::Client;

use super::context::Context;
use crate::{
    pg::server_error,
    store::{Event, Level},
};

/// How often it is looked.
const PERIOD: Duration = Duration::from_secs(1);

/// How often it is looked at all of them.
const LOOK_AT_ALL: Duration = Duration::from_secs(10);

/// How often old records are removed.
const FORGET: Duration = Duration::from_secs(60);

/// How long it is waited after an error. It stops nobody: what is wrong with a server, the other parts of the task meet as well.
const AFTER_ERROR: Duration = Duration::from_secs(10);

/// How long the end of a try waits for its records: a pause must not hang on a peer that is away.
const AT_THE_END: Duration = Duration::from_secs(10);

/// Carries records for as long as the task works.
pub async fn run(c: &Context) -> Infallible {
    let mut session = None;
    loop {
        tokio::time::sleep(PERIOD).await;
        if !c.has_come_to("copy") {
            continue;
        }
        if let Err(error) = go_on(c, &mut session).await {
            tracing::warn!(
                task = c.row.name,
                hint = error.hint,
                sqlstate = error.sqlstate(),
                "records of conflicts are not carried: {error}"
            );
            session = None;
            tokio::time::sleep(AFTER_ERROR).await;
        }
    }
}

/// Carries what a try has left, as far as that can be had soon; the rest waits on the peer for the next one.
pub async fn carry_rest(c: &Context) {
    if !c.has_come_to("copy") {
        return;
    }
    let carried = tokio::time::timeout(AT_THE_END, async { carry(c, &c.peer_plain("conflicts").await?).await }).await;
    match carried {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(task = c.row.name, hint = error.hint, "records of conflicts wait on the peer: {error}"),
        Err(_) => tracing::warn!(task = c.row.name, "records of conflicts wait on the peer, which does not answer"),
    }
}

/// A session of the peer, and what was done there last.
struct Session {
    peer: Client,
    tracks_commits: bool,
    /// The ordinal of the last row of the list that was carried, since it was looked at all of them.
    last: i64,
    looked: Instant,
    forgotten: Option<Instant>,
    told: bool,
}

async fn go_on(c: &Context, session: &mut Option<Session>) -> Result<()> {
    let session = match session {
        Some(session) => session,
        None => session.insert(open(c).await?),
    };
    if session.looked.elapsed() >= LOOK_AT_ALL {
        (session.last, session.looked) = (0, Instant::now());
        c.store.sum_conflict_counts(c.row.id).await?;
    }
    carry_behind(c, &session.peer, &mut session.last).await?;
    if session.forgotten.is_none_or(|at| at.elapsed() >= FORGET) {
        forget(c, &session.peer).await?;
        session.forgotten = Some(Instant::now());
    }
    tell_lack(c, session).await
}

async fn open(c: &Context) -> Result<Session> {
    let peer = c.peer_plain("conflicts").await?;
    let row = peer.query_one("SELECT pg_catalog.current_setting('track_commit_timestamp')::boolean", &[]).await;
    let tracks_commits = row.map_err(|e| server_error(e, "look at the settings of the peer"))?.get(0);
    Ok(Session { peer, tracks_commits, last: 0, looked: Instant::now(), forgotten: None, told: false })
}

/// Tells what a policy needs that was set after the precheck, once.
async fn tell_lack(c: &Context, session: &mut Session) -> Result<()> {
    let lack = lacking_commit_times(&c.rules.borrow(), session.tracks_commits);
    let Some(lack) = lack else {
        session.told = false;
        return Ok(());
    };
    if !session.told {
        let lack = match c.row.direction {
            Direction::Forward => lack,
            Direction::Reverse => Finding { object: "source".to_owned(), ..lack },
        };
        c.store.add_finding(c.row.id, &lack).await?;
        let event = Event::new(Level::Warning, lack.item, lack.message).object(lack.object);
        c.event(event.hint(lack.fix.unwrap_or_default())).await?;
        session.told = true;
    }
    Ok(())
}

/// Carries every record that has not come yet.
pub async fn carry(c: &Context, peer: &Client) -> Result<()> {
    carry_behind(c, peer, &mut 0).await
}

/// Likewise those behind this ordinal, which becomes that of the last one.
async fn carry_behind(c: &Context, peer: &Client, last: &mut i64) -> Result<()> {
    if c.row.direction == Direction::Reverse {
        return Ok(());
    }
    let failed = |e| server_error(e, "carry records of conflicts from the peer");
    let there = "SELECT pg_catalog.to_regclass('pgrelay_peer.conflict') IS NOT NULL";
    if !peer.query_one(there, &[]).await.map_err(failed)?.get::<_, bool>(0) {
        return Ok(());
    }
    let (look, came) = (include_str!("../../../sql/peer/conflicts_to_carry.sql"), include_str!("../../../sql/peer/conflicts_came.sql"));
    let look = peer.prepare(look).await.map_err(failed)?;
    loop {
        let records = peer.query_one(&look, &[&c.names.origin, last]).await.map_err(failed)?;
        let Some(behind) = records.get("last") else { return Ok(()) };
        let of_list: Vec<i64> = records.get("came");
        c.store.add_conflicts(c.row.id, &records).await?;
        peer.execute(came, &[&c.names.origin, &of_list]).await.map_err(failed)?;
        *last = behind;
    }
}

/// Removes what is older than the task's `conflict_retention`.
async fn forget(c: &Context, peer: &Client) -> Result<()> {
    let days = i32::try_from(c.options().conflict_retention).unwrap_or(i32::MAX);
    c.store.forget_conflicts(c.row.id, days).await?;
    let sql = include_str!("../../../sql/peer/forget_conflicts.sql");
    let gone = peer.execute(sql, &[&c.names.origin, &days]).await;
    gone.map(drop).map_err(|e| server_error(e, "remove old records of conflicts on the peer"))
}
