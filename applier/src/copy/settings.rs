//! Rows of an extension's own table: the peer has those that the extension itself put there, and perhaps more.
//!
//! What the extension calls its users' is replaced: the source's rows come into a temporary table, the peer's that match the
//! condition go, then those that have the key of one that comes (a row that was the extension's and that the user has made his),
//! then the source's take their place. All in the transaction that marks the copy; triggers do not fire in its session.

use pgrelay_core::{Result, name::TableName};

use super::shape::Shape;
use crate::pg::pipe::{Session, array};

/// Where the rows wait; the table goes away with the transaction.
const WAITING: &str = "pg_temp.pgrelay_settings";

/// What is read on the source, in COPY's words.
pub fn source(table: &TableName, shape: &Shape, condition: &str) -> String {
    format!("(SELECT {} FROM ONLY {} {condition})", shape.columns.join(", "), table.quoted())
}

/// Makes the table where the rows wait; returns where to, in COPY's words.
pub async fn begin(peer: &mut Session, table: &TableName, shape: &Shape) -> Result<String> {
    let columns = shape.columns.join(", ");
    let sql = format!(
        "DROP TABLE IF EXISTS {WAITING}; CREATE TEMPORARY TABLE {WAITING} ON COMMIT DROP AS SELECT {columns} FROM ONLY {} WITH NO DATA",
        table.quoted()
    );
    let made = peer.run(&sql, &format!("prepare the copy of table \"{table}\"")).await;
    made.map(|_| WAITING.to_owned()).map_err(|e| e.object(table.to_string()))
}

/// Puts the rows that wait in the place of the peer's.
pub async fn finish(peer: &mut Session, table: &TableName, shape: &Shape, condition: &str) -> Result<()> {
    let doing = format!("replace the rows of table \"{table}\" on the peer");
    let (name, columns) = (table.quoted(), shape.columns.join(", "));
    let keys = include_str!("../../../sql/query/peer/unique_keys.sql");
    let keys = peer.query(keys, &[&table.schema, &table.name, &array(&shape.columns)], &doing).await?;
    let mut sql = format!("DELETE FROM ONLY {name} {condition};\n");
    for key in keys.iter().flatten().flatten() {
        sql += &format!("DELETE FROM ONLY {name} t USING {WAITING} n WHERE {key};\n");
    }
    sql += &format!("INSERT INTO {name} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {WAITING}; DROP TABLE {WAITING}");
    peer.run(&sql, &doing).await.map(drop).map_err(|e| e.object(table.to_string()))
}
