//! Items of a plan into transactions on the peer.

use std::collections::HashSet;

use futures_util::future::join_all;
use pgrelay_core::{Result, error::Error, plan::Item};
use tokio_postgres::{Client, Transaction};

use crate::pg::server_error;

/// Items of one transaction: an fsync per item would take a minute for 3,000, and one transaction for all would hold
/// thousands of locks (`max_locks_per_transaction`).
const BATCH: usize = 200;

/// What every batch runs under: bodies may name what comes later, and nothing goes where the source's did not.
pub(super) const SETTINGS: &str =
    "SET LOCAL check_function_bodies = off; SET LOCAL default_tablespace = ''; SET LOCAL default_table_access_method = 'heap'";

/// Makes what is not marked yet, in the order given, a mark with each; then runs the `then` of each, one transaction apiece.
///
/// `task_key` has its row in `pgrelay_peer.task`. `progress` hears how many of `items` are done, those of earlier runs included.
/// Errors name the item; what was committed before stays made and marked.
pub async fn carry_out(peer: &mut Client, task_key: &str, items: &[&Item], progress: &mut (dyn FnMut(usize) + Send)) -> Result<()> {
    let marked = marks(peer, task_key, items).await?;
    let todo: Vec<&Item> = items.iter().copied().filter(|i| !marked.contains(&i.identity)).collect();
    let mut done = items.len() - todo.len();
    progress(done);
    for batch in todo.chunks(BATCH) {
        make(peer, task_key, batch).await?;
        done += batch.len();
        progress(done);
    }
    for item in items {
        let mark = then_mark(item);
        let Some(then) = item.then.as_ref().filter(|_| !marked.contains(&mark)) else { continue };
        let step = Step { identity: &item.identity, mark: &mark, sql: then };
        run(peer, task_key, &[step]).await?;
    }
    Ok(())
}

/// Which of the items and their `then` are marked; only these are asked for, since this runs once for each table.
async fn marks(peer: &Client, task_key: &str, items: &[&Item]) -> Result<HashSet<String>> {
    const DOING: &str = "cannot read what the task has made on the peer";
    let then = items.iter().filter(|i| i.then.is_some()).map(|i| then_mark(i));
    let asked: Vec<String> = items.iter().map(|i| i.identity.clone()).chain(then).collect();
    let sql = "SELECT identity FROM pgrelay_peer.object WHERE task_key = $1 AND identity = ANY ($2)";
    let rows = peer.query(sql, &[&task_key, &asked]).await.map_err(|e| server_error(e, DOING))?;
    rows.iter().map(|r| r.try_get(0).map_err(|e| server_error(e, DOING))).collect()
}

fn then_mark(item: &Item) -> String {
    format!("{} (then)", item.identity)
}

/// One statement list and its mark.
struct Step<'a> {
    identity: &'a str,
    mark: &'a str,
    sql: &'a str,
}

async fn make(peer: &mut Client, task_key: &str, batch: &[&Item]) -> Result<()> {
    let steps: Vec<Step<'_>> = batch.iter().map(|i| Step { identity: &i.identity, mark: &i.identity, sql: &i.ddl }).collect();
    run(peer, task_key, &steps).await
}

/// All steps and their marks in one transaction, sent without waiting for each answer.
async fn run(peer: &mut Client, task_key: &str, steps: &[Step<'_>]) -> Result<()> {
    const DOING: &str = "cannot make objects on the peer";
    let transaction = peer.transaction().await.map_err(|e| server_error(e, DOING))?;
    transaction.batch_execute(SETTINGS).await.map_err(|e| server_error(e, DOING))?;
    statements(&transaction, steps).await?;
    let marks: Vec<&str> = steps.iter().map(|s| s.mark).collect();
    let sql = "INSERT INTO pgrelay_peer.object (task_key, identity) SELECT $1, m FROM pg_catalog.unnest($2::text[]) m";
    transaction.execute(sql, &[&task_key, &marks]).await.map_err(|e| server_error(e, DOING))?;
    transaction.commit().await.map_err(|e| server_error(e, DOING))
}

/// The first to fail is the one to name: those after it fail because of it.
async fn statements(transaction: &Transaction<'_>, steps: &[Step<'_>]) -> Result<()> {
    let answers = join_all(steps.iter().filter(|s| !s.sql.is_empty()).map(|s| async move { (s, transaction.batch_execute(s.sql).await) }));
    for (step, answer) in answers.await {
        answer.map_err(|e| -> Error { server_error(e, &format!("cannot make {} on the peer", step.identity)).object(step.identity) })?;
    }
    Ok(())
}
