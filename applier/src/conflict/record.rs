//! The record of a conflict, in the transaction that resolves it.

use std::collections::HashMap;

use pgrelay_core::{
    Error, Result,
    conflict::{Kind, Policy, Writer},
    name::{TableName, quote_ident},
};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, Row, Statement};

use super::{
    meet::{Look, MetRow},
    place::Place,
    resolve::{Asking, Incoming, Origin},
};
use crate::{
    apply::{
        relation::Target,
        session::{Operation, Session, Value},
        task_row,
    },
    pg::{pgoutput::Column, server_error},
};

/// What was met and what was done.
pub struct Conflict {
    /// What kind of conflict it is, and by which policy it was decided; none of a change that is left out unseen.
    pub met: Option<(Kind, Policy)>,
    /// What was done.
    pub resolution: &'static str,
    /// A sentence that the rest does not tell.
    pub note: Option<String>,
    /// Every row that it was about, as it was.
    pub rows: Vec<MetRow>,
}

/// A record that is ready to be written.
pub struct Record {
    to: Place,
    values: Vec<Value>,
}

/// What a record holds.
pub(super) struct Content<'a> {
    /// Where it is written down.
    pub to: &'a Place,
    pub table: &'a TableName,
    pub operation: &'static str,
    pub conflict: &'a Conflict,
    pub of: Origin,
    pub number: i64,
    pub key: Option<String>,
    pub old: Option<String>,
    pub new: Option<String>,
    /// The row as it became, as the text of `jsonb`.
    pub result: Option<String>,
}

/// Of which rows there are images: the key, the old row, the new row; of each the columns that it tells.
type Known = [Option<Vec<usize>>; 3];

/// Images of a table's rows as `jsonb`, by what is known of them.
#[derive(Default)]
pub struct Images {
    prepared: HashMap<Known, Statement>,
}

impl Images {
    /// How the images of a change's key, old and new row are asked for, in one statement.
    async fn asking(&mut self, peer: &Client, target: &Target, incoming: Incoming<'_>) -> Result<Asking> {
        let (mut known, mut values): (Known, Vec<Value>) = Default::default();
        let of_old = !target.tells_whole_rows();
        let rows = [(incoming.old.or(incoming.new), true), (incoming.old, of_old), (incoming.new, false)];
        for (known, (row, key_only)) in known.iter_mut().zip(rows) {
            let Some(row) = row else { continue };
            let columns = known.insert(vec![]);
            for (n, column) in row.columns().enumerate().filter(|(n, _)| !key_only || target.relation.columns[*n].is_key) {
                match column {
                    Column::Null => values.push(Value::Text(None)),
                    Column::Text(text) => values.push(Value::Text(Some(incoming.payload.slice_ref(text)))),
                    _ => continue,
                }
                columns.push(n);
            }
        }
        if !self.prepared.contains_key(&known) {
            let prepared = peer.prepare(&images(target, &known)).await.map_err(|e| failed(e, &target.relation.table))?;
            self.prepared.insert(known.clone(), prepared);
        }
        Ok((self.prepared[&known].clone(), values))
    }
}

/// NULL for a row that there is not.
fn images(target: &Target, known: &Known) -> String {
    let mut before = 0;
    let image = |columns: &Option<Vec<usize>>| {
        let Some(columns) = columns else { return "NULL::pg_catalog.text".to_owned() };
        let column = |(at, n): (usize, &usize)| {
            format!("${}::{} AS {}", before + at + 1, target.type_of(*n), quote_ident(&target.relation.columns[*n].name))
        };
        let list: Vec<String> = columns.iter().enumerate().map(column).collect();
        before += columns.len();
        format!("(SELECT pg_catalog.to_jsonb(\"pgrelay row\".*)::pg_catalog.text FROM (SELECT {}) AS \"pgrelay row\")", list.join(", "))
    };
    format!("SELECT {}", known.iter().map(image).collect::<Vec<_>>().join(", "))
}

async fn images_of(peer: &Client, table: &TableName, (statement, values): Asking) -> Result<[Option<String>; 3]> {
    use futures_util::TryStreamExt;
    let rows = async { peer.query_raw(&statement, values).await?.try_collect::<Vec<Row>>().await };
    let rows = rows.await.map_err(|e| failed(e, table))?;
    Ok(std::array::from_fn(|n| rows.first().and_then(|row| row.get(n))))
}

fn failed(error: tokio_postgres::Error, table: &TableName) -> Error {
    server_error(error, &format!("write down a conflict in table \"{table}\"")).object(table.to_string())
}

/// Makes the record of a conflict; writes nothing yet.
pub async fn make(
    peer: &Client,
    images: &mut Images,
    to: &Place,
    target: &Target,
    incoming: Incoming<'_>,
    conflict: &Conflict,
    (look, result): (&Look, Option<Asking>),
) -> Result<Record> {
    let asking = images.asking(peer, target, incoming).await?;
    let (table, operation) = (&*target.relation.table, incoming.operation.as_str());
    // In one round trip.
    let became = async {
        match result {
            Some((statement, values)) => look.row(peer, &statement, values).await.map(|row| row.map(|row| row.image)),
            None => Ok(None),
        }
    };
    let (result, [key, old, new]) = tokio::try_join!(became, images_of(peer, table, asking))?;
    let (of, number) = (incoming.origin, incoming.number);
    Ok(Record::new(Content { to, table, operation, conflict, of, number, key, old, new, result }))
}

/// The record of a TRUNCATE that is left out.
pub fn of_truncate(to: &Place, table: &TableName, of: Origin, number: i64) -> Record {
    let conflict = &Conflict::SKIPPED;
    Record::new(Content { to, table, operation: "truncate", conflict, of, number, key: None, old: None, new: None, result: None })
}

impl Conflict {
    /// Of a change that is left out unseen.
    pub const SKIPPED: Conflict = Conflict { met: None, resolution: "skipped", note: None, rows: vec![] };
}

impl Record {
    pub(super) fn new(content: Content<'_>) -> Record {
        let Content { to, table, operation, conflict, of, number, .. } = content;
        let mut constraints: Vec<&str> = conflict.rows.iter().flat_map(|row| row.constraints.iter().map(String::as_str)).collect();
        constraints.dedup();
        let rows: Vec<&str> = conflict.rows.iter().map(|row| row.image.as_str()).collect();
        let origins: Vec<Option<&str>> = conflict.rows.iter().map(|row| row.origin.as_deref()).collect();
        let time = |row: &MetRow| if let Writer::Other(Some(at)) = row.writer { Some(at.to_string()) } else { None };
        let times: Vec<Option<String>> = conflict.rows.iter().map(time).collect();
        let times: Vec<Option<&str>> = times.iter().map(Option::as_deref).collect();
        let or_null = |text: &Option<String>| text.as_deref().map_or(Value::Text(None), self::text);
        let [task, direction] = to.values();
        let values = vec![
            task,
            direction,
            text(&table.schema),
            text(&table.name),
            text(operation),
            conflict.met.map_or(Value::Text(None), |(kind, _)| text(kind.as_str())),
            text(&array(constraints.into_iter().map(Some))),
            conflict.met.map_or(Value::Text(None), |(_, policy)| text(policy.as_str())),
            text(conflict.resolution),
            text(&of.xid.to_string()),
            text(&of.commit.to_string()),
            Value::Time(of.committed),
            text(&number.to_string()),
            or_null(&content.key),
            or_null(&content.old),
            or_null(&content.new),
            text(&format!("[{}]", rows.join(", "))),
            or_null(&content.result),
            text(&array(origins.into_iter())),
            text(&array(times.into_iter())),
            or_null(&conflict.note),
        ];
        Record { to: to.clone(), values }
    }

    /// Sends it within the session's transaction, and does not wait for the answer. `prepared`: for all records that a session writes.
    pub async fn send(self, session: &mut Session, prepared: &OnceCell<Statement>) -> Result<()> {
        let statement = match prepared.get() {
            Some(statement) => statement.clone(),
            None => {
                let client = session.shared();
                session.ask(self.statement(&client, prepared)).await?.clone()
            }
        };
        session.execute(statement, self.values, Operation::Other, &task_row()).await
    }

    /// Writes it, in whatever transaction is open. `prepared`: for all records that a session writes.
    pub async fn write(self, peer: &Client, prepared: &OnceCell<Statement>) -> Result<()> {
        let statement = self.statement(peer, prepared).await?;
        peer.execute_raw(statement, self.values).await.map(drop).map_err(not_written)
    }

    async fn statement<'a>(&self, peer: &Client, prepared: &'a OnceCell<Statement>) -> Result<&'a Statement> {
        let sql = self.to.adding(include_str!("../../../sql/peer/record_conflict.sql"));
        prepared.get_or_try_init(|| peer.prepare(&sql)).await.map_err(not_written)
    }
}

fn not_written(error: tokio_postgres::Error) -> Error {
    server_error(error, "write down a conflict on the peer")
}

fn text(text: &str) -> Value {
    Value::Text(Some(bytes::Bytes::copy_from_slice(text.as_bytes())))
}

/// The text of an array with one dimension.
fn array<'a>(elements: impl Iterator<Item = Option<&'a str>>) -> String {
    let quoted = |element: Option<&str>| match element {
        Some(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        None => "NULL".to_owned(),
    };
    format!("{{{}}}", elements.map(quoted).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_any_character_stay_one_element() {
        assert_eq!(array([Some("a"), Some("b\"c\\,"), Some("NULL"), None].into_iter()), r#"{"a","b\"c\\,","NULL",NULL}"#);
        assert_eq!(array(std::iter::empty()), "{}");
    }
}
