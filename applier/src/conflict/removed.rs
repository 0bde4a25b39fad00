//! Rows that a resolution has removed although the change was about another one: the other side hears of them in the stream of the
//! opposite direction ([decision 19](../../../docs/decisions/0019-what-a-resolution-removes-travels.md)).
//!
//! What the resolving transaction wrote carries this direction's origin, so the opposite stream leaves it out, but for messages in it.
//! Only the owner of the origin can write such a message: those of other sessions are in transactions without it.

use pgrelay_core::{
    Error, Result,
    conflict::{Kind, Policy, Writer},
    error::Kind as ErrorKind,
    name::TableName,
};
use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

use super::{
    meet::{self, MetRow},
    place::Place,
    record::{Conflict, Content, Record},
    resolve::Origin,
};
use crate::{
    apply::{peer_table::PeerTable, sight::Sight},
    pg::server_error,
};

/// The prefix of pgrelay's messages.
pub const PREFIX: &str = "pgrelay";

/// A row that has given way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Removal {
    /// Of its table.
    pub schema: String,
    /// Of its table.
    pub table: String,
    /// The row as it was, as the text of `jsonb`: numbers have more digits there than elsewhere.
    pub row: String,
    /// Commit time of the change that it has given way to, by the clock of the side that this goes to: what was written there later
    /// is not what has given way.
    pub before: i64,
}

impl Removal {
    /// From the content of a message; none of any other message.
    pub fn read(content: &[u8]) -> Option<Removal> {
        serde_json::from_slice(content).ok()
    }

    /// Its table.
    pub fn table(&self) -> TableName {
        TableName::new(&self.schema, &self.table)
    }
}

/// Tells of rows that were removed, in the transaction that has removed them.
pub async fn tell(here: &Client, table: &TableName, rows: &[&MetRow], before: i64) -> Result<()> {
    let failed = |e| server_error(e, "tell the other side of rows that have given way").object(table.to_string());
    for row in rows {
        let removal = Removal { schema: table.schema.clone(), table: table.name.clone(), row: row.image.clone(), before };
        let content = serde_json::to_string(&removal).map_err(|e| Error::new(ErrorKind::Internal, "a row cannot be told").caused_by(e))?;
        let sql = "SELECT pg_catalog.pg_logical_emit_message(true, $1, $2::pg_catalog.text)";
        here.execute(sql, &[&PREFIX, &content]).await.map_err(failed)?;
    }
    Ok(())
}

/// Who writes on the side where a removal arrives.
pub struct Side<'a> {
    /// Name of the task's origin there.
    pub origin: &'a str,
    /// Where records are written down.
    pub place: &'a Place,
    /// The server has `track_commit_timestamp` on.
    pub tracks: bool,
    /// What the other side had seen of this one.
    pub sight: &'a Sight,
}

/// Removes the row here too, unless it was written later, in the open transaction. Returns the record to be written, where a session of
/// this side's own had written the row.
pub async fn apply(
    here: &Client,
    side: Side<'_>,
    peer: &PeerTable,
    removal: &Removal,
    policy: Policy,
    (of, number): (Origin, i64),
) -> Result<Option<Record>> {
    let table = removal.table();
    let failed = |e| server_error(e, "remove a row that has given way on the other side").object(table.to_string());
    // By another key it could be the very row that it has given way to.
    let Some(key) = peer.primary_key() else { return Ok(None) };
    let condition = peer.has_key_of_jsonb("\"pgrelay row\"", key);
    let sql = meet::locked_sql(&table, &format!("{condition} LIMIT 1"), side.origin, side.tracks);
    let rows = here.query(&sql, &[&removal.row]).await.map_err(failed)?;
    let Some(row) = rows.first().map(meet::met) else { return Ok(None) };
    let gives_way = match row.writer {
        Writer::Other(Some(at)) => at <= removal.before || side.sight.has_seen(row.xid, at),
        _ => true,
    };
    if gives_way {
        meet::remove(here, &table, &[&row.at]).await?;
    }
    if !matches!(row.writer, Writer::Other(_)) {
        return Ok(None);
    }
    let conflict = Conflict {
        met: Some((Kind::DeleteOriginDiffers, policy)),
        resolution: if gives_way { "applied" } else { "ignored" },
        note: Some("On the other side the row has given way to another one that it collided with.".to_owned()),
        rows: vec![row],
    };
    let old = Some(removal.row.clone());
    Ok(Some(Record::new(Content {
        to: side.place,
        table: &table,
        operation: "delete",
        conflict: &conflict,
        of,
        number,
        key: None,
        old,
        new: None,
        result: None,
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_is_read_as_it_was_told_and_nothing_else_is() {
        let removal = Removal { schema: "s".into(), table: "t\"x".into(), row: r#"{"id": 1.00, "v": "ä"}"#.into(), before: -5 };
        let content = serde_json::to_vec(&removal).expect("valid");
        assert_eq!(Removal::read(&content), Some(removal));
        assert_eq!(Removal::read(b""), None);
        assert_eq!(Removal::read(br#"{"schema": "s"}"#), None);
    }
}
