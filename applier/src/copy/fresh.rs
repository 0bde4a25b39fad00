//! Rows of a table that nobody else has seen are written frozen: no later VACUUM has to write each page again.

use pgrelay_core::{Result, name::TableName};

use crate::pg::pipe::Session;

/// Empties the peer's table in the transaction that is open, which COPY FREEZE asks for. It is locked first and must be empty: a row
/// that somebody has put there is not thrown away.
///
/// False: the rows are to be copied without FREEZE. That is so where a row is there, a foreign key refers to the table, or the
/// role may not truncate it.
pub async fn emptied(peer: &mut Session, table: &TableName) -> Result<bool> {
    let doing = format!("lock table \"{table}\" on the peer");
    let may = peer.query(include_str!("../../../sql/query/peer/may_truncate.sql"), &[&table.quoted()], &doing).await?;
    if may != yes() {
        return Ok(false);
    }
    let quoted = table.quoted();
    let empty = format!("LOCK TABLE ONLY {quoted} IN ACCESS EXCLUSIVE MODE; SELECT NOT EXISTS (SELECT FROM ONLY {quoted})");
    if peer.run(&empty, &doing).await? != yes() {
        return Ok(false);
    }
    peer.run(&format!("TRUNCATE ONLY {quoted}"), &doing).await?;
    Ok(true)
}

fn yes() -> [[Option<String>; 1]; 1] {
    [[Some("t".to_owned())]]
}
