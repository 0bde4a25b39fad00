//! Items of a plan into transactions on the peer.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex as Shared, PoisonError},
};

use futures_util::future::{join_all, try_join_all};
use pgrelay_core::{
    Result,
    error::Error,
    plan::{self, Item},
};
use tokio::sync::Mutex;
use tokio_postgres::{Client, Transaction};

use crate::{
    crash::{self, Point},
    pg::server_error,
};

/// Items of one transaction: an fsync per item would take a minute for 3,000, and one transaction for all would hold
/// thousands of locks (`max_locks_per_transaction`).
const BATCH: usize = 200;

/// Items of one transaction while the stream is applied, where none reads rows: the applier waits for it.
const HELD_BATCH: usize = 50;

/// Foreign keys that one transaction looks at, where nobody writes meanwhile: of small tables, what each costs beside its rows is most
/// of it.
const LOOKS: usize = 20;

/// What every batch runs under: bodies may name what comes later, and nothing goes where the source's did not.
pub(super) const SETTINGS: &str =
    "SET LOCAL check_function_bodies = off; SET LOCAL default_tablespace = ''; SET LOCAL default_table_access_method = 'heap'";

type Heard<'h> = &'h mut (dyn FnMut(&[&Item]) + Send);

/// Makes what is not marked yet, in the order given, a mark with each; then runs the `then` of each, one transaction apiece.
/// Event triggers come after all that, so that they fire on none of it.
///
/// The first of `peers` does everything where there is one only. More make tables side by side that need no other table, and look
/// at foreign keys side by side.
///
/// While a stream is applied, `gate` keeps the applier out of each transaction, which then holds one item that reads rows, or some
/// that do not. Each `then` lets it write.
///
/// `task_key` has its row in `pgrelay_peer.task`. `progress` hears which of `items` are made: first those of earlier runs, then each batch.
/// Errors name the item; what was committed before stays made and marked.
pub async fn carry_out(peers: &mut [Client], task_key: &str, items: &[&Item], gate: Option<&Mutex<()>>, progress: Heard<'_>) -> Result<()> {
    let Some(peer) = peers.first() else { return Ok(()) };
    let marked = marks(peer, task_key, items).await?;
    let (done, todo): (Vec<&Item>, Vec<&Item>) = items.iter().copied().partition(|i| marked.contains(&i.identity));
    let (last, todo): (Vec<&Item>, Vec<&Item>) = todo.into_iter().partition(|i| i.kind == "event trigger");
    progress(&done);
    if peers.len() > 1 && gate.is_none() {
        let plan::Parts { first, tables, then } = plan::side_by_side(&todo);
        in_turn(&mut peers[0], task_key, &first, None, progress).await?;
        side_by_side(peers, task_key, &tables, progress).await?;
        in_turn(&mut peers[0], task_key, &then, None, progress).await?;
    } else {
        in_turn(&mut peers[0], task_key, &todo, gate, progress).await?;
    }
    follow_up(peers, task_key, items, &marked, gate.is_some()).await?;
    in_turn(&mut peers[0], task_key, &last, gate, progress).await
}

async fn in_turn(peer: &mut Client, task_key: &str, items: &[&Item], gate: Option<&Mutex<()>>, progress: Heard<'_>) -> Result<()> {
    for batch in batches(items, gate.is_some()) {
        let held = match gate {
            Some(gate) => Some(gate.lock().await),
            None => None,
        };
        make(peer, task_key, &steps(batch), Flush::Now).await?;
        drop(held);
        progress(batch);
    }
    Ok(())
}

/// Makes items that need none of each other. All sessions together hold no more locks than one does with `BATCH`.
async fn side_by_side(peers: &mut [Client], task_key: &str, items: &[&Item], progress: Heard<'_>) -> Result<()> {
    let left: Shared<VecDeque<&[&Item]>> = Shared::new(items.chunks((BATCH / peers.len()).max(1)).collect());
    let progress = Shared::new(progress);
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let work = async |peer: &mut Client| {
        while let Some(batch) = next() {
            make(peer, task_key, &steps(batch), Flush::Now).await?;
            progress.lock().unwrap_or_else(PoisonError::into_inner)(batch);
        }
        Ok(())
    };
    try_join_all(peers.iter_mut().map(work)).await.map(drop)
}

fn steps<'a>(items: &[&'a Item]) -> Vec<Step<'a>> {
    items.iter().map(|i| Step::ddl(i)).collect()
}

/// What goes into one transaction each.
fn batches<'a>(items: &'a [&'a Item], held: bool) -> Vec<&'a [&'a Item]> {
    if held {
        items.chunk_by(|a, b| !a.reads_rows() && !b.reads_rows()).flat_map(|quick| quick.chunks(HELD_BATCH)).collect()
    } else {
        items.chunks(BATCH).collect()
    }
}

/// Runs the `then` of each item that has one and no mark of it: in turn, but for foreign keys that stand together, which only look at
/// rows. Only the last commit is waited for to be flushed: it flushes those before it, and what a crash takes goes with its mark.
async fn follow_up(peers: &mut [Client], task_key: &str, items: &[&Item], marked: &HashSet<String>, alone: bool) -> Result<()> {
    let todo: Vec<&Item> = items.iter().copied().filter(|i| i.then.is_some() && !marked.contains(&then_mark(i))).collect();
    let Some((last, others)) = todo.split_last() else { return Ok(()) };
    for neighbours in others.chunk_by(|a, b| a.kind == "foreign key" && b.kind == "foreign key") {
        let left = Shared::new(looks(neighbours, alone));
        let next = || left.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let work = async |peer: &mut Client| {
            while let Some(batch) = next() {
                make(peer, task_key, &batch, Flush::Later).await?;
            }
            Ok(())
        };
        try_join_all(peers.iter_mut().map(work)).await?;
    }
    make(&mut peers[0], task_key, &[Step::then(last)], Flush::Now).await
}

/// What goes into one transaction each: `alone`, one; else some, all of a table together, so that no two sessions that hold tables
/// can wait for one another.
fn looks<'a>(items: &[&'a Item], alone: bool) -> VecDeque<Vec<Step<'a>>> {
    let mut tables: Vec<&'a Item> = items.to_vec();
    tables.sort_by(|a, b| a.of.cmp(&b.of));
    let mut batches: VecDeque<Vec<Step<'a>>> = VecDeque::new();
    for table in tables.chunk_by(|a, b| !alone && a.of == b.of) {
        match batches.back_mut().filter(|batch| !alone && batch.len() < LOOKS) {
            Some(batch) => batch.extend(table.iter().map(|i| Step::then(i))),
            None => batches.push_back(table.iter().map(|i| Step::then(i)).collect()),
        }
    }
    batches
}

/// Which of the items and their `then` are marked; only these are asked for, since this runs once for each lot of tables.
async fn marks(peer: &Client, task_key: &str, items: &[&Item]) -> Result<HashSet<String>> {
    const DOING: &str = "cannot read what the task has made on the peer";
    let then = items.iter().filter(|i| i.then.is_some()).map(|i| then_mark(i));
    let asked: Vec<String> = items.iter().map(|i| i.identity.clone()).chain(then).collect();
    let sql = "SELECT identity FROM pgrelay_peer.object WHERE task_key = $1 AND identity = ANY ($2)";
    let rows = peer.query(sql, &[&task_key, &asked]).await.map_err(|e| server_error(e, DOING))?;
    rows.iter().map(|r| r.try_get(0).map_err(|e| server_error(e, DOING))).collect()
}

fn then_mark(item: &Item) -> String {
    // No identity begins like this: each begins with a kind.
    format!("(then) {}", item.identity)
}

/// One thing to run, with the mark that says that it was.
struct Step<'a> {
    item: &'a Item,
    sql: &'a str,
    mark: String,
}

impl<'a> Step<'a> {
    fn ddl(item: &'a Item) -> Step<'a> {
        Step { item, sql: &item.ddl, mark: item.identity.clone() }
    }

    fn then(item: &'a Item) -> Step<'a> {
        Step { item, sql: item.then.as_deref().unwrap_or_default(), mark: then_mark(item) }
    }
}

/// Whether a commit is waited for until it is on the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flush {
    Now,
    /// A later one is.
    Later,
}

/// All steps and their marks in one transaction, sent without waiting for each answer.
async fn make(peer: &mut Client, task_key: &str, steps: &[Step<'_>], flush: Flush) -> Result<()> {
    const DOING: &str = "cannot make objects on the peer";
    let transaction = peer.transaction().await.map_err(|e| server_error(e, DOING))?;
    let flush = if flush == Flush::Later { "; SET LOCAL synchronous_commit = off" } else { "" };
    transaction.batch_execute(&format!("{SETTINGS}{flush}")).await.map_err(|e| server_error(e, DOING))?;
    statements(&transaction, steps).await?;
    let marks: Vec<&str> = steps.iter().map(|s| s.mark.as_str()).collect();
    let sql = "INSERT INTO pgrelay_peer.object (task_key, identity) SELECT $1, m FROM pg_catalog.unnest($2::text[]) m";
    transaction.execute(sql, &[&task_key, &marks]).await.map_err(|e| server_error(e, DOING))?;
    crash::at(Point::SchemaMaking);
    transaction.commit().await.map_err(|e| server_error(e, DOING))?;
    crash::at(Point::SchemaMade);
    Ok(())
}

/// The first to fail is the one to name: those after it fail because of it.
async fn statements(transaction: &Transaction<'_>, steps: &[Step<'_>]) -> Result<()> {
    let answers = join_all(steps.iter().filter(|s| !s.sql.is_empty()).map(|s| async move { (s, transaction.batch_execute(s.sql).await) }));
    for (Step { item, .. }, answer) in answers.await {
        answer.map_err(|e| -> Error { server_error(e, &format!("cannot make {} on the peer", item.identity)).object(&item.identity) })?;
    }
    Ok(())
}
