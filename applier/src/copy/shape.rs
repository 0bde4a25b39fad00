//! Which columns of a table are copied, and in which format.

use pgrelay_core::{
    Error, Result,
    error::Kind,
    name::{TableName, quote_ident},
};
use tokio_postgres::Client;

use crate::{
    apply::{partitioned, peer_table::PeerTable},
    pg::server_error,
};

/// How a table crosses the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Quoted names, in the source's order; the same list on both sides.
    pub columns: Vec<String>,
    /// Binary where both sides read the same bytes, text otherwise.
    pub binary: bool,
}

/// Compares both sides. The source's table is locked by the caller, so its shape stays.
///
/// Errors: `ShapeChanged`, naming table and column, when the peer's table cannot take the source's rows.
pub async fn read(source: &Client, peer: &Client, table: &TableName, exact: bool) -> Result<Shape> {
    let rows = source.query(include_str!("../../../sql/query/source/copy_columns.sql"), &[&table.schema, &table.name]).await;
    let rows = rows.map_err(|e| server_error(e, &format!("read the columns of table \"{table}\"")))?;
    let target = PeerTable::read(peer, table).await?;
    if target.partitioned {
        return Err(partitioned(table));
    }
    let changed = |message: String| {
        Error::new(Kind::ShapeChanged, message)
            .object(table.to_string())
            .hint("Make the table on the peer like the source's, then call pgrelay.resume_task().")
    };
    let mut shape = Shape { columns: vec![], binary: same_major(source, peer).await? };
    for row in &rows {
        let (name, type_oid): (&str, u32) = (row.get("name"), row.get("type_oid"));
        let Some(column) = target.column(name).filter(|c| !c.generated) else {
            return Err(changed(format!("column \"{name}\" of table \"{table}\" cannot be written on the peer")));
        };
        shape.binary &= row.get::<_, bool>("portable") && column.type_oid == type_oid && column.typmod == row.get::<_, i32>("typmod");
        shape.columns.push(quote_ident(name));
    }
    let extra = target.columns.iter().find(|c| !c.generated && !rows.iter().any(|r| r.get::<_, &str>("name") == c.name));
    match extra {
        Some(column) if exact => Err(changed(format!("column \"{}\" of table \"{table}\" exists on the peer only", column.name))),
        _ => Ok(shape),
    }
}

async fn same_major(source: &Client, peer: &Client) -> Result<bool> {
    let sql = "SELECT pg_catalog.current_setting('server_version_num')::integer / 10000";
    let (a, b) = tokio::join!(source.query_one(sql, &[]), peer.query_one(sql, &[]));
    let read = |row: std::result::Result<tokio_postgres::Row, _>| {
        row.map(|r| r.get::<_, i32>(0)).map_err(|e| server_error(e, "read the server's version"))
    };
    Ok(read(a)? == read(b)?)
}
