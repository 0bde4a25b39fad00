//! The new row of an update that wins here over what it met, where the update does not carry all of it: a long value that it left
//! unchanged is in the old row when that is whole (REPLICA IDENTITY FULL), else it is read again from the side where the change comes
//! from.

use bytes::Bytes;
use pgrelay_core::{Result, name::quote_ident};
use tokio_postgres::{Client, Row, error::SqlState};

use crate::{
    apply::relation::Target,
    pg::{
        pgoutput::{self, Column, Tuple},
        server_error,
    },
};

/// What the record says where a value is nowhere any more.
pub const NOTE: &str = "It is left out: the change leaves a long value as it was, and the row is gone where it came from.";

/// The message of the change with all values of the new row; none when one of them is nowhere any more.
///
/// What is read again may be newer than the change: then a change that is still to come brings the same.
pub async fn complete(
    other_side: &Client,
    target: &Target,
    payload: &Bytes,
    old: Option<Tuple<'_>>,
    new: Tuple<'_>,
) -> Result<Option<Bytes>> {
    let mut columns: Vec<Column<'_>> = new.columns().collect();
    let old: Vec<Column<'_>> = old.map(|old| old.columns().collect()).unwrap_or_default();
    let is_whole = old.len() == columns.len() && target.relation.columns.iter().all(|column| column.is_key);
    if is_whole {
        for (column, old) in columns.iter_mut().zip(&old).filter(|(column, _)| **column == Column::UnchangedToast) {
            *column = *old;
        }
    }
    let unknown: Vec<usize> = (0..columns.len()).filter(|&n| columns[n] == Column::UnchangedToast).collect();
    let row = match unknown.is_empty() {
        true => None,
        false => match read_again(other_side, target, payload, new, &unknown).await? {
            Some(row) => Some(row),
            None => return Ok(None),
        },
    };
    for (at, &n) in unknown.iter().enumerate() {
        columns[n] = row.as_ref().and_then(|row| row.get::<_, Option<&str>>(at)).map_or(Column::Null, |text| Column::Text(text.as_bytes()));
    }
    Ok(Some(pgoutput::with_new_row(payload, new, &columns)))
}

/// The row as it is there now, as text; none where it is gone.
async fn read_again(other_side: &Client, target: &Target, payload: &Bytes, new: Tuple<'_>, columns: &[usize]) -> Result<Option<Row>> {
    use futures_util::TryStreamExt;
    let table = &target.relation.table;
    let (condition, parameters) = target.condition(false);
    let names: Vec<String> =
        columns.iter().map(|&n| format!("{}::pg_catalog.text", quote_ident(&target.relation.columns[n].name))).collect();
    let sql = format!("SELECT {} FROM ONLY {} WHERE {condition}", names.join(", "), table.quoted());
    let values = target.values(&parameters, payload, None, Some(new))?;
    let rows = async {
        let statement = other_side.prepare(&sql).await?;
        other_side.query_raw(&statement, values).await?.try_collect::<Vec<Row>>().await
    };
    let rows = match rows.await {
        Ok(rows) => rows,
        // There is no such column or table any more.
        Err(e) if [SqlState::UNDEFINED_COLUMN, SqlState::UNDEFINED_TABLE].iter().any(|code| e.code() == Some(code)) => return Ok(None),
        Err(e) => {
            let doing = format!("read values of table \"{table}\" that a change leaves as they were");
            return Err(server_error(e, &doing).object(table.to_string()));
        }
    };
    Ok(rows.into_iter().next())
}
