//! The new row of an update that met no row, where the update does not carry all of it: a long value that it left unchanged is in
//! the old row when that is whole (REPLICA IDENTITY FULL), else it is read again from the side where the change comes from.

use pgrelay_core::{Result, name::quote_ident};
use tokio_postgres::{Client, Row};

use super::resolve::Incoming;
use crate::{
    apply::{relation::Target, session::Value},
    pg::{pgoutput::Column, server_error},
};

/// What the record says where a value is nowhere any more.
pub const NOTE: &str = "The row is not inserted: the change leaves a long value as it was, and the row is gone where it came from.";

/// All values of the new row, in the order of the stream; none when one of them is nowhere any more.
///
/// What is read again may be newer than the change: then a change that is still to come brings the same.
pub async fn values(other_side: &Client, target: &Target, incoming: Incoming<'_>) -> Result<Option<Vec<Value>>> {
    let Some(new) = incoming.new else { return Ok(None) };
    let new: Vec<Column<'_>> = new.columns().collect();
    let old: Vec<Column<'_>> = incoming.old.map(|old| old.columns().collect()).unwrap_or_default();
    let whole = old.len() == new.len() && target.relation.columns.iter().all(|column| column.is_key);
    let given = |column: &Column<'_>| match column {
        Column::Text(text) => Some(Value::Text(Some(incoming.payload.slice_ref(text)))),
        Column::Null => Some(Value::Text(None)),
        _ => None,
    };
    let known = |n: usize| given(&new[n]).or_else(|| if whole { given(&old[n]) } else { None });
    let unknown: Vec<usize> = (0..new.len()).filter(|&n| known(n).is_none()).collect();
    let mut read = if unknown.is_empty() {
        vec![]
    } else {
        let Some(read) = read_again(other_side, target, incoming, &unknown).await? else { return Ok(None) };
        read
    };
    let mut later = read.drain(..);
    Ok((0..new.len()).map(|n| known(n).or_else(|| later.next())).collect())
}

async fn read_again(other_side: &Client, target: &Target, incoming: Incoming<'_>, columns: &[usize]) -> Result<Option<Vec<Value>>> {
    use futures_util::TryStreamExt;
    let table = &target.relation.table;
    let (condition, parameters) = target.condition(false);
    let names: Vec<String> =
        columns.iter().map(|&n| format!("{}::pg_catalog.text", quote_ident(&target.relation.columns[n].name))).collect();
    let sql = format!("SELECT {} FROM ONLY {} WHERE {condition}", names.join(", "), table.quoted());
    let values = target.values(&parameters, incoming.payload, None, incoming.new)?;
    let rows = async {
        let statement = other_side.prepare(&sql).await?;
        other_side.query_raw(&statement, values).await?.try_collect::<Vec<Row>>().await
    };
    let rows = rows.await.map_err(|e| {
        server_error(e, &format!("read values of table \"{table}\" that a change leaves as they were")).object(table.to_string())
    })?;
    let value = |row: &Row, n: usize| Value::Text(row.get::<_, Option<String>>(n).map(Into::into));
    Ok(rows.first().map(|row| (0..columns.len()).map(|n| value(row, n)).collect()))
}
