//! `undo_conflict`: what a resolution has overwritten or removed is put back, when nothing has changed since.
//!
//! In one transaction, which carries an origin of the task's, so that no stream takes it to the other side.

use pgrelay_core::{
    Error, Result,
    conflict::Direction,
    error::Kind,
    name::{TableName, quote_ident},
};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, Transaction};

use super::context::Context;
use crate::{
    apply::{hold::MAY_USE_ORIGINS, not_marked, peer_table::PeerTable},
    pg::{connect, server_error},
    store::{Event, Level, Overwritten},
};

/// Puts back what the record of this number tells.
///
/// Errors: `WrongState` when there is nothing to put back, or something has changed since; `UndefinedObject` without such a record.
pub async fn undo(c: &Context, record: i64) -> Result<()> {
    let Some(overwritten) = c.store.overwritten(c.row.id, record).await? else {
        return Err(Error::new(Kind::UndefinedObject, format!("no conflict {record} is recorded of task \"{}\"", c.row.name))
            .hint("See pgrelay.conflict; records go after conflict_retention days."));
    };
    if overwritten.rows.is_empty() || !matches!(overwritten.resolution.as_str(), "overwritten" | "applied") {
        return Err(Error::new(Kind::WrongState, format!("the resolution of conflict {record} has overwritten nothing")).hint(format!(
            "It was \"{}\": no row that was there has changed. What was left out stands in incoming_new of pgrelay.conflict.",
            overwritten.resolution
        )));
    }
    let key = match overwritten.direction {
        Direction::Forward => c.names.origin.clone(),
        Direction::Reverse => c.names.reverse().origin,
    };
    let endpoint = match overwritten.direction {
        Direction::Forward => c.peer_endpoint().await?,
        Direction::Reverse => c.source_endpoint().await?,
    };
    let name = format!("{key} undo");
    let settings = [("application_name", name.as_str()), ("session_replication_role", "replica"), ("synchronous_commit", "on")];
    let mut client = connect(&endpoint, &name, &settings).await?;
    let origin = format!("{key}_copy_undo");
    let (is_marked, is_two_way) = (take_origin(&client, &origin).await?, c.options().is_two_way());
    if is_two_way && !is_marked {
        return Err(not_marked());
    }
    let undone = put_back(&mut client, record, &overwritten).await;
    // In a two-way task it stays until the task ends: the stream that leaves out what carries it may read that later.
    if is_marked && !is_two_way {
        let sql = "SELECT pg_catalog.pg_replication_origin_session_reset(), pg_catalog.pg_replication_origin_drop($1)";
        // The session ends anyway, and the clean-up of the task drops what is left.
        let _ = client.execute(sql, &[&origin]).await;
    }
    undone?;
    let message = format!("what conflict {record} had overwritten in table \"{}\" is back", overwritten.table);
    c.event(Event::new(Level::Info, "conflict_undone", message).object(overwritten.table.to_string())).await
}

/// Marks what the session writes, where its role may do that.
async fn take_origin(client: &Client, origin: &str) -> Result<bool> {
    let failed = |e| server_error(e, "mark what puts rows back");
    if !client.query_one(MAY_USE_ORIGINS, &[]).await.map_err(failed)?.get::<_, bool>(0) {
        return Ok(false);
    }
    let create = "SELECT pg_catalog.pg_replication_origin_create($1) WHERE pg_catalog.pg_replication_origin_oid($1) IS NULL";
    client.execute(create, &[&origin]).await.map_err(failed)?;
    client.execute("SELECT pg_catalog.pg_replication_origin_session_setup($1)", &[&origin]).await.map_err(failed)?;
    Ok(true)
}

async fn put_back(client: &mut Client, record: i64, overwritten: &Overwritten) -> Result<()> {
    let table = &overwritten.table;
    let failed = |e| server_error(e, &format!("put rows of table \"{table}\" back")).object(table.to_string());
    let peer = PeerTable::read(client, &OnceCell::new(), table).await?;
    if peer.keys.is_empty() {
        // Asked twice, it would put the rows there twice.
        return Err(without_key(record, table));
    }
    let transaction = client.transaction().await.map_err(failed)?;
    if let Some(owner) = &peer.acts_as {
        transaction.batch_execute(&format!("SET LOCAL ROLE {}", quote_ident(owner))).await.map_err(failed)?;
    }
    if let Some(row) = &overwritten.result {
        remove_unchanged(&transaction, record, table, &peer, row).await?;
    }
    let columns: Vec<String> = peer.columns.iter().filter(|c| !c.generated).map(|c| quote_ident(&c.name)).collect();
    let (columns, quoted) = (columns.join(", "), table.quoted());
    let sql = format!(
        "INSERT INTO {quoted} ({columns}) OVERRIDING SYSTEM VALUE \
         SELECT {columns} FROM pg_catalog.jsonb_populate_record(NULL::{quoted}, $1::pg_catalog.text::pg_catalog.jsonb)"
    );
    for row in &overwritten.rows {
        let inserted = transaction.execute(&sql, &[row]).await.map_err(|e| in_the_way(failed(e), record, table))?;
        if inserted != 1 {
            return Err(changed(record, table, "A trigger that fires while changes are applied keeps it away."));
        }
    }
    transaction.commit().await.map_err(failed)
}

/// Removes the row that the resolution has left, which must be as it was then.
async fn remove_unchanged(transaction: &Transaction<'_>, record: i64, table: &TableName, peer: &PeerTable, row: &str) -> Result<()> {
    let failed = |e| server_error(e, &format!("put rows of table \"{table}\" back")).object(table.to_string());
    let Some(key) = peer.keys.first() else { return Err(without_key(record, table)) };
    let sql = format!(
        "SELECT \"pgrelay row\".ctid::pg_catalog.text, \
                pg_catalog.to_jsonb(\"pgrelay row\".*) OPERATOR(pg_catalog.=) $1::pg_catalog.text::pg_catalog.jsonb \
         FROM ONLY {} AS \"pgrelay row\" WHERE {} FOR UPDATE",
        table.quoted(),
        peer.has_key_of_jsonb("\"pgrelay row\"", key)
    );
    let Some(found) = transaction.query_opt(&sql, &[&row]).await.map_err(failed)? else {
        return Err(changed(record, table, "The row that it has left is gone."));
    };
    if !found.get::<_, bool>(1) {
        return Err(changed(record, table, "The row that it has left has other values now."));
    }
    let sql = format!("DELETE FROM ONLY {} WHERE ctid = '{}'", table.quoted(), found.get::<_, &str>(0));
    let gone = transaction.execute(&sql, &[]).await.map_err(failed)?;
    if gone == 1 { Ok(()) } else { Err(changed(record, table, "A trigger that fires while changes are applied keeps the row.")) }
}

fn without_key(record: i64, table: &TableName) -> Error {
    changed(record, table, "It has no key by which the rows could be told apart.")
}

fn changed(record: i64, table: &TableName, detail: &str) -> Error {
    Error::new(Kind::WrongState, format!("what conflict {record} has overwritten in table \"{table}\" cannot be put back"))
        .object(table.to_string())
        .hint(format!("{detail} The rows as they were stand in peer_rows of pgrelay.conflict: put back by hand what you want of them."))
}

/// Another row has a value of a unique key of the row that is to come back.
fn in_the_way(error: Error, record: i64, table: &TableName) -> Error {
    match error.sqlstate() {
        "23505" | "23P01" => changed(record, table, "Another row has come meanwhile that it would collide with."),
        _ => error,
    }
}
