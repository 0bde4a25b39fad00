//! What stands on the peer of a task: the only thing that decides where to go on.

use std::{collections::HashMap, hash::BuildHasher};

use pgrelay_core::{
    Error, Lsn, Result,
    error::Kind,
    name::{TableName, quote_literal},
};
use tokio_postgres::Client;

use super::{
    marks,
    sight::Horizon,
    statement::all_or_nothing,
    tables::{Earlier, Seen},
};
use crate::pg::{Endpoint, connect, server_error};

/// The task's row on the peer.
pub struct Standing {
    /// Every table stands at `position`.
    pub one_position: bool,
    /// Everything the source committed before is here.
    pub position: Lsn,
    /// What the side that the changes come from had seen there.
    pub seen: Horizon,
}

/// A table of which rows are on the peer.
pub struct Copied {
    /// Its name when it was copied.
    pub table: TableName,
    /// Its oid on the source.
    pub oid: u32,
    /// Rows and bytes of a whole copy, for display.
    pub amount: (i64, i64),
    /// Rows of the source that were left out for the peer's, for display.
    pub kept: i64,
    /// All of it is there: what its copy saw, and up to where its changes are applied.
    pub whole: Option<(Seen, Lsn)>,
    /// Parts that were copied under other snapshots than the last.
    pub earlier: Option<Earlier>,
}

impl Standing {
    /// Reads the task's row. The caller owns the origin, so no other session can still change it.
    pub async fn read(peer: &Client, key: &str) -> Result<Standing> {
        let sql = "SELECT one_position, position::text, seen_position::text, seen_commit FROM pgrelay_peer.task WHERE task_key = $1";
        let row = peer.query_one(sql, &[&key]).await.map_err(|e| server_error(e, "read the task's position on the peer"))?;
        let seen = Horizon { position: row.get::<_, &str>(2).parse()?, commit: row.get(3) };
        Ok(Standing { one_position: row.get(0), position: row.get::<_, &str>(1).parse()?, seen })
    }
}

/// The tables of which rows are there, but for those that must start over.
pub async fn copied(peer: &Client, key: &str) -> Result<Vec<Copied>> {
    let failed = |e| server_error(e, "read the copied tables");
    let sql = "SELECT schema_name, table_name, table_oid, snapshot, visible_below::text, position::text, rows, bytes, kept \
               FROM pgrelay_peer.table_copy WHERE task_key = $1";
    let rows = peer.query(sql, &[&key]).await.map_err(failed)?;
    let read = |row: &tokio_postgres::Row| {
        let seen = Seen { snapshot: row.get::<_, &str>("snapshot").parse()?, visible_below: row.get::<_, &str>("visible_below").parse()? };
        let table = TableName::new(row.get::<_, &str>("schema_name"), row.get::<_, &str>("table_name"));
        let amount = (row.get("rows"), row.get("bytes"));
        let kept = row.get("kept");
        Ok(Copied {
            table,
            oid: row.get("table_oid"),
            amount,
            kept,
            whole: Some((seen, row.get::<_, &str>("position").parse()?)),
            earlier: None,
        })
    };
    let mut copied = rows.iter().map(read).collect::<Result<Vec<Copied>>>()?;
    for (table, marks) in marks::of_task(peer, key).await? {
        let at = copied.iter().position(|c| c.table == table);
        let last = at.and_then(|at| copied[at].whole.as_ref()).map(|(seen, _)| seen.clone());
        let earlier = marks.earlier(last.as_ref());
        match at {
            Some(at) => copied[at].earlier = earlier,
            None if earlier.is_some() => copied.push(Copied { table, oid: marks.table_oid, amount: (0, 0), kept: 0, whole: None, earlier }),
            None => {}
        }
    }
    Ok(copied)
}

/// What the copy of a table that is there saw last.
pub async fn seen(peer: &Client, key: &str, table: &TableName) -> Result<Option<Seen>> {
    let sql =
        "SELECT snapshot, visible_below::text FROM pgrelay_peer.table_copy WHERE task_key = $1 AND schema_name = $2 AND table_name = $3";
    let row = peer.query_opt(sql, &[&key, &table.schema, &table.name]).await.map_err(|e| server_error(e, "read the mark of a copy"))?;
    let read =
        |row: tokio_postgres::Row| Ok(Seen { snapshot: row.get::<_, &str>(0).parse()?, visible_below: row.get::<_, &str>(1).parse()? });
    row.map(read).transpose()
}

/// A table's copy cannot be gone on with: from here on it counts as not copied, and its next copy empties it first.
/// Returns the error to stop with, after which the task is tried again.
pub async fn start_over(peer: &Endpoint, key: &str, table: &TableName) -> Result<Error> {
    let failed = |e| server_error(e, "let the copy of a table start over");
    let mut session = connect(peer, &format!("{key} start over"), &[]).await?;
    let transaction = session.transaction().await.map_err(failed)?;
    for sql in ["UPDATE pgrelay_peer.chunk_copy SET key_column = NULL", "DELETE FROM pgrelay_peer.table_copy"] {
        let sql = format!("{sql} WHERE task_key = $1 AND schema_name = $2 AND table_name = $3");
        transaction.execute(&sql, &[&key, &table.schema, &table.name]).await.map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)?;
    Ok(Error::new(Kind::Contention, format!("the copy of table \"{table}\" starts over")).object(table.to_string()).detail(
        "A row came by a change of its key from a part of the table that was not copied to one that was, without its unchanged values.",
    ))
}

/// Whether a table found under a name is the one that the task knows by it.
///
/// Errors: `ShapeChanged` when it was renamed, made again, or came later.
pub fn same_table(known: &HashMap<TableName, u32, impl BuildHasher>, table: &TableName, oid: u32) -> Result<()> {
    let changed = |message: String| Error::new(Kind::ShapeChanged, message).object(table.to_string());
    match known.get(table) {
        Some(own) if *own == oid => Ok(()),
        Some(_) => Err(changed(format!("table \"{table}\" is not the table of this name that the task began with"))
            .hint("It was dropped and made again, or two tables changed names. Stop the task and start it anew.")),
        None => match known.iter().find(|(_, own)| **own == oid) {
            Some((before, _)) => Err(renamed(before, table)),
            None => Err(changed(format!("table \"{table}\" came to the publication after the task began"))
                .detail("Rows that it may have had before are not on the peer.")
                .hint("Stop the task and start it anew, or take the table out of its partitioned table on the source.")),
        },
    }
}

/// A table of the task has another name on the source now.
pub fn renamed(before: &TableName, now: &TableName) -> Error {
    Error::new(Kind::ShapeChanged, format!("table \"{before}\" was renamed to \"{now}\" on the source"))
        .object(now.to_string())
        .hint("Rename it back, or stop the task and start it anew.")
}

/// Moves a table's own position.
pub fn move_table(key: &str, table: &TableName, position: Lsn) -> String {
    format!(
        "UPDATE pgrelay_peer.table_copy SET position = '{position}' WHERE task_key = {} AND schema_name = {} AND table_name = {}",
        quote_literal(key),
        quote_literal(&table.schema),
        quote_literal(&table.name)
    )
}

/// Moves the task's position without anything else: the slot may be confirmed up to there. `from`: the one position of every table, which
/// stands there; the server fails where it does not.
pub fn move_position(key: &str, position: Lsn, seen: Horizon, from: Option<Lsn>) -> String {
    let sql = format!("UPDATE pgrelay_peer.task SET position = '{position}'{} WHERE task_key = {}", and_seen(seen), quote_literal(key));
    match from {
        Some(from) => all_or_nothing(&[format!("{sql} AND position OPERATOR(pg_catalog.=) '{from}'")], &[]),
        None => sql,
    }
}

/// Moves the task's one position to the parameter behind the first `before`, where the other side had seen the next two unless they are
/// NULL; from the one behind these, unless it is NULL.
pub fn move_task(key: &str, before: usize) -> String {
    let (to, position, commit, from) = (before + 1, before + 2, before + 3, before + 4);
    format!(
        "UPDATE pgrelay_peer.task SET one_position = true, position = ${to}, \
         seen_position = coalesce(${position}, seen_position), seen_commit = coalesce(${commit}, seen_commit) \
         WHERE task_key = {} AND (${from}::pg_catalog.pg_lsn IS NULL OR position OPERATOR(pg_catalog.=) ${from})",
        quote_literal(key)
    )
}

/// Marks the open transaction with the two parameters behind the first `before`: up to where it brings the source's changes, and when
/// the last of them was committed.
pub fn mark(before: usize) -> String {
    format!("pg_catalog.pg_replication_origin_xact_setup(${}, ${})", before + 1, before + 2)
}

/// The task's position on the peer is not the one that this applier has put there.
pub fn position_gone() -> Error {
    Error::new(Kind::PositionLost, "the task's position on the peer was moved or removed by somebody else")
        .object("pgrelay_peer.task")
        .hint("Nothing but pgrelay may write to schema pgrelay_peer. Call pgrelay.stop_task(), empty the tables on the peer, and start the task anew.")
}

fn and_seen(seen: Horizon) -> String {
    if seen == Horizon::default() {
        return String::new();
    }
    format!(", seen_position = '{}', seen_commit = {}", seen.position, seen.commit)
}

/// From this position on the task's transactions are prepared here; on the disk when it returns.
pub fn set_two_phase(key: &str, since: Lsn) -> String {
    format!(
        "BEGIN READ WRITE; SET LOCAL synchronous_commit = on; UPDATE pgrelay_peer.task SET two_phase_since = '{since}' WHERE task_key = {}; COMMIT",
        quote_literal(key)
    )
}

/// The mark of a transaction that is about to be prepared at a position.
pub fn mark_prepared(key: &str, name: &str, at: Lsn) -> String {
    let values = format!("{}, {}, true, '{at}'", quote_literal(key), quote_literal(name));
    format!("INSERT INTO pgrelay_peer.prepared (task_key, name, committed, prepare_lsn) VALUES ({values})")
}

/// That a transaction is prepared, and its end will come.
pub fn expect_prepared(key: &str, name: &str, at: Lsn) -> String {
    let values = format!("{}, {}, false, '{at}'", quote_literal(key), quote_literal(name));
    format!("INSERT INTO pgrelay_peer.prepared (task_key, name, committed, prepare_lsn) VALUES ({values})")
}

/// Removes what is known of one that has ended; the mark of one that is committed stays when it can come again with its commit.
pub fn forget_prepared(key: &str, name: &str) -> String {
    format!(
        "DELETE FROM pgrelay_peer.prepared p USING pgrelay_peer.task t WHERE p.task_key = {} AND p.name = {} \
         AND t.task_key = p.task_key AND (NOT p.committed OR p.prepare_lsn >= t.two_phase_since)",
        quote_literal(key),
        quote_literal(name)
    )
}
