//! Which columns of a table are copied, and in which format.

use pgrelay_core::{
    Error, Result,
    error::Kind,
    name::{TableName, quote_ident},
};
use tokio_postgres::{Client, Row};

use crate::{apply::partitioned, pg::server_error};

/// How a table crosses the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Quoted names, in the source's order; the same list on both sides.
    pub columns: Vec<String>,
    /// Binary where both sides read the same bytes, text otherwise.
    pub binary: bool,
}

/// How tables are compared.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The task made the tables: they have no other columns than the source's.
    pub exact: bool,
    /// Both servers are of one major version.
    pub same_major: bool,
}

/// A table of either side.
#[derive(Default)]
struct Table {
    partitioned: bool,
    columns: Vec<Column>,
}

/// A column of either side.
struct Column {
    name: String,
    type_oid: u32,
    typmod: i32,
    generated: bool,
    portable: bool,
}

/// Compares both sides, one statement each. The source's tables are locked by the caller, so their shapes stay.
///
/// Errors: `ShapeChanged`, naming table and column, when a peer's table cannot take the source's rows.
pub async fn read(source: &Client, peer: &Client, tables: &[TableName], rules: Rules) -> Result<Vec<Shape>> {
    let (here, there) = tokio::try_join!(columns(source, tables), columns(peer, tables))?;
    tables.iter().zip(here.iter().zip(there)).map(|(table, (here, there))| compare(table, here.as_ref(), there, rules)).collect()
}

fn compare(table: &TableName, here: Option<&Table>, there: Option<Table>, rules: Rules) -> Result<Shape> {
    let changed = |message: String| {
        Error::new(Kind::ShapeChanged, message)
            .object(table.to_string())
            .hint("Make the table on the peer like the source's, then call pgrelay.resume_task().")
    };
    let here = here.ok_or_else(|| changed(format!("table \"{table}\" does not exist on the source")))?;
    let there = there.ok_or_else(|| changed(format!("table \"{table}\" does not exist on the peer")))?;
    if there.partitioned {
        return Err(partitioned(table));
    }
    let mut shape = Shape { columns: vec![], binary: rules.same_major };
    for column in here.columns.iter().filter(|c| !c.generated) {
        let Some(target) = there.columns.iter().find(|t| t.name == column.name && !t.generated) else {
            return Err(changed(format!("column \"{}\" of table \"{table}\" cannot be written on the peer", column.name)));
        };
        shape.binary &= column.portable && (target.type_oid, target.typmod) == (column.type_oid, column.typmod);
        shape.columns.push(quote_ident(&column.name));
    }
    let extra = there.columns.iter().find(|t| !t.generated && !here.columns.iter().any(|c| c.name == t.name && !c.generated));
    match extra {
        Some(column) if rules.exact => Err(changed(format!("column \"{}\" of table \"{table}\" exists on the peer only", column.name))),
        _ => Ok(shape),
    }
}

/// The columns of each table; none for one that is not there.
async fn columns(server: &Client, tables: &[TableName]) -> Result<Vec<Option<Table>>> {
    let schemas: Vec<&str> = tables.iter().map(|t| t.schema.as_str()).collect();
    let names: Vec<&str> = tables.iter().map(|t| t.name.as_str()).collect();
    let rows = server.query(include_str!("../../../sql/query/source/copy_columns.sql"), &[&schemas, &names]).await;
    let rows = rows.map_err(|e| server_error(e, "read the columns of the tables to copy"))?;
    let mut found: Vec<Option<Table>> = tables.iter().map(|_| None).collect();
    for row in &rows {
        let number = row.get::<_, i64>("table_number") as usize - 1;
        let table = found[number].get_or_insert_default();
        table.partitioned = row.get("partitioned");
        table.columns.extend(column(row));
    }
    Ok(found)
}

fn column(row: &Row) -> Option<Column> {
    Some(Column {
        name: row.get::<_, Option<String>>("name")?,
        type_oid: row.get("type_oid"),
        typmod: row.get("typmod"),
        generated: row.get("generated"),
        portable: row.get("portable"),
    })
}

/// Whether both servers are of one major version, so that the built-in types have the same binary form.
pub async fn same_major(source: &Client, peer: &Client) -> Result<bool> {
    let sql = "SELECT pg_catalog.current_setting('server_version_num')::integer / 10000";
    let (a, b) = tokio::join!(source.query_one(sql, &[]), peer.query_one(sql, &[]));
    let read = |row: std::result::Result<Row, _>| row.map(|r| r.get::<_, i32>(0)).map_err(|e| server_error(e, "read the server's version"));
    Ok(read(a)? == read(b)?)
}
