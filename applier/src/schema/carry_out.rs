//! Items of a plan into transactions on the peer.

use std::collections::HashSet;

use futures_util::future::join_all;
use pgrelay_core::{Result, error::Error, name::quote_literal, plan::Item};
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

/// What every batch runs under: bodies may name what comes later, and nothing goes where the source's did not.
pub(super) const SETTINGS: &str =
    "SET LOCAL check_function_bodies = off; SET LOCAL default_tablespace = ''; SET LOCAL default_table_access_method = 'heap'";

/// Makes what is not marked yet, in the order given, a mark with each; then runs the `then` of each, one transaction apiece.
/// Event triggers come after all that, so that they fire on none of it.
///
/// While a stream is applied, `gate` keeps the applier out of each transaction, which then holds one item that reads rows, or some
/// that do not. Each `then` lets it write.
///
/// `task_key` has its row in `pgrelay_peer.task`. `progress` hears which of `items` are made: first those of earlier runs, then each batch.
/// Errors name the item; what was committed before stays made and marked.
pub async fn carry_out(
    peer: &mut Client,
    task_key: &str,
    items: &[&Item],
    gate: Option<&Mutex<()>>,
    progress: &mut (dyn FnMut(&[&Item]) + Send),
) -> Result<()> {
    let marked = marks(peer, task_key, items).await?;
    let (done, todo): (Vec<&Item>, Vec<&Item>) = items.iter().copied().partition(|i| marked.contains(&i.identity));
    let (last, first): (Vec<&Item>, Vec<&Item>) = todo.into_iter().partition(|i| i.kind == "event trigger");
    progress(&done);
    for (number, part) in [first, last].into_iter().enumerate() {
        for batch in batches(&part, gate.is_some()) {
            let held = match gate {
                Some(gate) => Some(gate.lock().await),
                None => None,
            };
            make(peer, task_key, batch).await?;
            drop(held);
            progress(batch);
        }
        if number == 0 {
            follow_up(peer, task_key, items, &marked).await?;
        }
    }
    Ok(())
}

/// What goes into one transaction each.
fn batches<'a>(items: &'a [&'a Item], held: bool) -> Vec<&'a [&'a Item]> {
    if held {
        items.chunk_by(|a, b| !a.reads_rows() && !b.reads_rows()).flat_map(|quick| quick.chunks(HELD_BATCH)).collect()
    } else {
        items.chunks(BATCH).collect()
    }
}

/// Runs the `then` of each item that has one and no mark of it. Only the last commit is waited for to be flushed: it flushes
/// those before it, and what a crash takes goes with its mark.
async fn follow_up(peer: &Client, task_key: &str, items: &[&Item], marked: &HashSet<String>) -> Result<()> {
    let todo: Vec<(&Item, &str)> =
        items.iter().filter_map(|i| Some((*i, i.then.as_deref()?))).filter(|(i, _)| !marked.contains(&then_mark(i))).collect();
    for (at, (item, then)) in todo.iter().enumerate() {
        let flush = if at + 1 == todo.len() { "" } else { "SET LOCAL synchronous_commit = off;" };
        let (key, mark) = (quote_literal(task_key), quote_literal(&then_mark(item)));
        let mark = format!("INSERT INTO pgrelay_peer.object (task_key, identity) VALUES ({key}, {mark})");
        let done = peer.batch_execute(&format!("BEGIN; {SETTINGS}; {flush}\n{then}\n; {mark}; COMMIT")).await;
        if let Err(e) = done {
            // The session may go on to something else.
            let _ = peer.batch_execute("ROLLBACK").await;
            return Err(server_error(e, &format!("cannot make {} on the peer", item.identity)).object(&item.identity));
        }
    }
    Ok(())
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

/// All items and their marks in one transaction, sent without waiting for each answer.
async fn make(peer: &mut Client, task_key: &str, batch: &[&Item]) -> Result<()> {
    const DOING: &str = "cannot make objects on the peer";
    let transaction = peer.transaction().await.map_err(|e| server_error(e, DOING))?;
    transaction.batch_execute(SETTINGS).await.map_err(|e| server_error(e, DOING))?;
    statements(&transaction, batch).await?;
    let marks: Vec<&str> = batch.iter().map(|i| i.identity.as_str()).collect();
    let sql = "INSERT INTO pgrelay_peer.object (task_key, identity) SELECT $1, m FROM pg_catalog.unnest($2::text[]) m";
    transaction.execute(sql, &[&task_key, &marks]).await.map_err(|e| server_error(e, DOING))?;
    crash::at(Point::SchemaMaking);
    transaction.commit().await.map_err(|e| server_error(e, DOING))?;
    crash::at(Point::SchemaMade);
    Ok(())
}

/// The first to fail is the one to name: those after it fail because of it.
async fn statements(transaction: &Transaction<'_>, batch: &[&Item]) -> Result<()> {
    let answers = join_all(batch.iter().filter(|i| !i.ddl.is_empty()).map(|i| async move { (i, transaction.batch_execute(&i.ddl).await) }));
    for (item, answer) in answers.await {
        answer.map_err(|e| -> Error { server_error(e, &format!("cannot make {} on the peer", item.identity)).object(&item.identity) })?;
    }
    Ok(())
}
