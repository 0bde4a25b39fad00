//! `interleave_sequences`: source and peer draw from the same sequences without meeting, until the task ends.
//!
//! For each sequence one transaction on each side, open at the same time: both have locked it, so nobody draws from it between what is
//! read and what is set. The source's commits first, and what it writes down is what the end of the task goes by: so a sequence that was
//! changed there only, as by a crash between the two, is known, and the next call does it again on both.
//! Whoever draws waits for a few round trips; where a transaction that has drawn stays open, the sequence is left as it is, not waited for.

use pgrelay_core::{
    Error, Result,
    error::Kind,
    name::quote_qualified,
    sequence::{Drawn, Sequence, interleave, rejoin},
};
use tokio_postgres::{Client, Transaction, error::SqlState};

use super::{context::Context, sequences};
use crate::{
    pg::server_error,
    store::{Event, Interleaved, Level},
};

/// For so long sessions that want to draw may have to wait behind us, for each sequence.
const LOCK: &str = "SET LOCAL lock_timeout = '2s'";

/// Lets the task's sequences give other values on each side. Those that do so already stay as they are.
///
/// Errors: `WrongState` before all rows are on the peer; `Contention` when a sequence is in use all the time.
pub async fn begin(c: &Context) -> Result<()> {
    if !c.has_come_to("stream") {
        return Err(Error::new(Kind::WrongState, format!("task \"{}\" has not come to its stream", c.row.name))
            .hint("Call pgrelay.wait_for_state(…, 'running') first."));
    }
    let (mut source, mut peer) = (c.source("sequences").await?, c.peer_plain("sequences").await?);
    let known = c.store.interleaved(c.row.id).await?;
    let made = sequences::made(&peer, &c.names.origin).await?;
    for (schema, name) in sequences::selected(&source, &made, c).await? {
        let known = known.iter().find(|k| k.schema == schema && k.name == name);
        let mut ends = Ends { source: source.transaction().await.map_err(failed)?, peer: peer.transaction().await.map_err(failed)? };
        ends.begin(c, known, &schema, &name).await.map_err(|e| in_use(e, &schema, &name))?;
        ends.source.commit().await.map_err(failed)?;
        ends.peer.commit().await.map_err(failed)?;
    }
    c.event(Event::new(Level::Info, "sequences", "source and peer draw other values from the task's sequences")).await
}

/// Each side has the steps that it had before, and goes on past all that either has drawn. Without a peer that is gone only the source.
pub async fn take_back(c: &Context, source: &mut Client, mut peer: Option<&mut Client>) -> Result<()> {
    for known in c.store.interleaved(c.row.id).await? {
        let there = match &mut peer {
            Some(peer) => Some(peer.transaction().await.map_err(failed)?),
            None => None,
        };
        let here = source.transaction().await.map_err(failed)?;
        if known.reason.is_none() {
            restore(&here, there.as_ref(), &known).await.map_err(|e| in_use(e, &known.schema, &known.name))?;
        }
        if let Some(there) = there {
            let sql = "DELETE FROM pgrelay_peer.sequence WHERE task_key = $1 AND schema_name = $2 AND sequence_name = $3";
            there.execute(sql, &[&c.names.origin, &known.schema, &known.name]).await.map_err(failed)?;
            there.commit().await.map_err(failed)?;
        }
        let sql = "DELETE FROM pgrelay.task_sequence WHERE task_id = $1 AND schema_name = $2 AND sequence_name = $3";
        here.execute(sql, &[&c.row.id, &known.schema, &known.name]).await.map_err(failed)?;
        here.commit().await.map_err(failed)?;
    }
    Ok(())
}

async fn restore(here: &Transaction<'_>, there: Option<&Transaction<'_>>, known: &Interleaved) -> Result<()> {
    let quoted = quote_qualified(&known.schema, &known.name);
    let Some(sequence) = of(here, &quoted).await? else { return Ok(()) };
    let sequence = Sequence { increment: known.increment_before, ..sequence };
    set_step(here, &quoted, known.increment_before).await?;
    let mine = drawn(here, &quoted).await?;
    let Some(there) = there else { return Ok(()) };
    if of(there, &quoted).await?.is_none() {
        return Ok(());
    }
    set_step(there, &quoted, known.increment_before).await?;
    let last = rejoin(sequence, mine, drawn(there, &quoted).await?);
    for side in [there, here] {
        set(side, &quoted, last).await?;
    }
    Ok(())
}

/// One sequence on both sides, in a transaction of each.
struct Ends<'a> {
    source: Transaction<'a>,
    peer: Transaction<'a>,
}

impl Ends<'_> {
    async fn begin(&mut self, c: &Context, known: Option<&Interleaved>, schema: &str, name: &str) -> Result<()> {
        let quoted = quote_qualified(schema, name);
        let key = &c.names.origin;
        // First of all: who sets positions on the peer looks here under a lock that keeps this out.
        let sql = "INSERT INTO pgrelay_peer.sequence (task_key, schema_name, sequence_name) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        let is_new = self.peer.execute(sql, &[&key, &schema, &name]).await.map_err(failed)? > 0;
        let is_done = !is_new && known.is_some_and(|known| known.reason.is_none());
        let Some(sequence) = of(&self.source, &quoted).await? else { return self.give_up(c, schema, name).await };
        if is_done {
            return Ok(());
        }
        if of(&self.peer, &quoted).await?.is_none() {
            self.give_up(c, schema, name).await?;
            return self.note(c, schema, name, sequence.increment, Some("It does not exist on the peer.")).await;
        }
        // A try that has come as far as the source only has written down the step of before.
        let before = known.filter(|known| known.reason.is_none()).map(|known| known.increment_before);
        let step = before.unwrap_or(sequence.increment);
        let sequence = Sequence { increment: step, ..sequence };
        let doubled = step.checked_mul(2).unwrap_or(step);
        set_step(&self.source, &quoted, doubled).await?;
        set_step(&self.peer, &quoted, doubled).await?;
        match interleave(sequence, drawn(&self.source, &quoted).await?, drawn(&self.peer, &quoted).await?) {
            Ok(both) => {
                set(&self.source, &quoted, Drawn { last_value: both.source, is_called: false }).await?;
                set(&self.peer, &quoted, Drawn { last_value: both.peer, is_called: false }).await?;
                self.note(c, schema, name, step, None).await
            }
            Err(unfit) => {
                set_step(&self.source, &quoted, step).await?;
                set_step(&self.peer, &quoted, step).await?;
                self.give_up(c, schema, name).await?;
                self.note(c, schema, name, step, Some(unfit.reason())).await
            }
        }
    }

    /// The sequence goes on following the source's.
    async fn give_up(&self, c: &Context, schema: &str, name: &str) -> Result<()> {
        let sql = "DELETE FROM pgrelay_peer.sequence WHERE task_key = $1 AND schema_name = $2 AND sequence_name = $3";
        self.peer.execute(sql, &[&c.names.origin, &schema, &name]).await.map(drop).map_err(failed)
    }

    async fn note(&self, c: &Context, schema: &str, name: &str, step: i64, reason: Option<&str>) -> Result<()> {
        let sql = include_str!("../../../sql/store/note_sequence.sql");
        self.source.execute(sql, &[&c.row.id, &schema, &name, &step, &reason]).await.map(drop).map_err(failed)
    }
}

/// What a sequence is like; none where there is none.
async fn of(side: &Transaction<'_>, quoted: &str) -> Result<Option<Sequence>> {
    side.batch_execute(LOCK).await.map_err(failed)?;
    let sql = "SELECT seqincrement, seqmin, seqmax, seqcycle FROM pg_catalog.pg_sequence WHERE seqrelid = pg_catalog.to_regclass($1)";
    let row = side.query_opt(sql, &[&quoted]).await.map_err(failed)?;
    Ok(row.map(|row| Sequence { increment: row.get(0), min: row.get(1), max: row.get(2), cycle: row.get(3) }))
}

/// Locks it too: nobody draws from it until the transaction ends.
async fn set_step(side: &Transaction<'_>, quoted: &str, increment: i64) -> Result<()> {
    side.batch_execute(&format!("ALTER SEQUENCE {quoted} INCREMENT BY {increment}")).await.map_err(failed)
}

async fn drawn(side: &Transaction<'_>, quoted: &str) -> Result<Drawn> {
    let row = side.query_one(&format!("SELECT last_value, is_called FROM {quoted}"), &[]).await.map_err(failed)?;
    Ok(Drawn { last_value: row.get(0), is_called: row.get(1) })
}

async fn set(side: &Transaction<'_>, quoted: &str, next: Drawn) -> Result<()> {
    let sql = "SELECT pg_catalog.setval($1::pg_catalog.text::pg_catalog.regclass, $2, $3)";
    side.query_one(sql, &[&quoted, &next.last_value, &next.is_called]).await.map(drop).map_err(failed)
}

fn failed(error: tokio_postgres::Error) -> Error {
    server_error(error, "let sequences give other values on each side")
}

fn in_use(error: Error, schema: &str, name: &str) -> Error {
    if error.sqlstate() != SqlState::LOCK_NOT_AVAILABLE.code() {
        return error.object(format!("{schema}.{name}"));
    }
    Error::new(Kind::Contention, format!("sequence \"{schema}.{name}\" is in use"))
        .object(format!("{schema}.{name}"))
        .hint("A transaction that has drawn from it is open on the source or the peer. End it, then try again: what is done stays done.")
}
