//! Keeps chunks of an earlier applier out, whose sessions may still be alive somewhere.
//!
//! Each copy counts up the task's row in `pgrelay_peer.copy_run` before it looks what is there, and each transaction that
//! writes rows locks that row and wants to find its own number. So counting up waits for what is being committed, and
//! nothing of an earlier copy is committed after.

use pgrelay_core::{Error, Result, error::Kind, name::quote_literal};
use tokio_postgres::Client;

use super::Setting;
use crate::pg::{pipe::Session, server_error};

/// Begins a copy: its number.
pub async fn raise(peer: &Client, task_key: &str) -> Result<i64> {
    let sql = "INSERT INTO pgrelay_peer.copy_run AS r (task_key, run) VALUES ($1, 1) \
               ON CONFLICT (task_key) DO UPDATE SET run = r.run + 1 RETURNING r.run";
    let row = peer.query_one(sql, &[&task_key]).await.map_err(|e| server_error(e, "begin the copy on the peer"))?;
    Ok(row.get(0))
}

/// Makes everything that was committed on the peer last, whoever committed it without waiting.
pub async fn flush(peer: &Client, task_key: &str) -> Result<()> {
    // A transaction that writes nothing would not wait.
    let sql = format!(
        "BEGIN; SET LOCAL synchronous_commit = on; UPDATE pgrelay_peer.copy_run SET run = run WHERE task_key = {}; COMMIT",
        quote_literal(task_key)
    );
    peer.batch_execute(&sql).await.map_err(|e| server_error(e, "flush the copy on the peer"))
}

/// Begins a transaction of the peer that is to write rows.
///
/// Errors: `Contention` when a later applier has begun its copy.
pub async fn begin(s: &Setting, peer: &mut Session, doing: &str) -> Result<()> {
    let sql = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT run FROM pgrelay_peer.copy_run WHERE task_key = {} FOR SHARE",
        quote_literal(&s.names.origin)
    );
    let rows = peer.run(&sql, doing).await?;
    if rows.first().and_then(|row| row[0].as_deref()) == Some(s.run.to_string().as_str()) {
        return Ok(());
    }
    Err(Error::new(Kind::Contention, format!("{doing}: another applier has begun to copy")))
}
