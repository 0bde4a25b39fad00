//! The marks of a table's chunks on the peer: which parts of it are there, and what each of them saw.

use std::collections::BTreeMap;

use pgrelay_core::{
    Error, Result,
    error::Kind,
    key_range::{Bound, KeyRange, KeyType},
    name::TableName,
};
use tokio_postgres::{Client, Row};

use super::tables::{Earlier, Key, Seen};
use crate::pg::server_error;

/// One chunk that is on the peer.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// The keys it covers; everything where the table was not cut by a key.
    pub range: KeyRange,
    /// What it saw.
    pub seen: Seen,
    /// How many.
    pub rows: i64,
    /// As they crossed the wire.
    pub bytes: i64,
}

/// What is on the peer of one table.
#[derive(Debug, Clone)]
pub struct Marks {
    /// Of the table on the source.
    pub table_oid: u32,
    /// By which it was cut; none when its chunks cannot be gone on with.
    pub key: Option<Key>,
    /// In the order of their lower bounds.
    pub chunks: Vec<Chunk>,
}

/// Every mark of a task.
pub async fn of_task(peer: &Client, task_key: &str) -> Result<BTreeMap<TableName, Marks>> {
    read(peer, task_key, None).await
}

/// The marks of one table; none where it has none.
pub async fn of_table(peer: &Client, task_key: &str, table: &TableName) -> Result<Option<Marks>> {
    Ok(read(peer, task_key, Some(table)).await?.remove(table))
}

async fn read(peer: &Client, task_key: &str, only: Option<&TableName>) -> Result<BTreeMap<TableName, Marks>> {
    let (schema, name) = (only.map(|t| &t.schema), only.map(|t| &t.name));
    let rows = peer.query(include_str!("../../../sql/query/peer/chunks.sql"), &[&task_key, &schema, &name]).await;
    let rows = rows.map_err(|e| server_error(e, "read the marks of chunks"))?;
    let mut tables: BTreeMap<TableName, Marks> = BTreeMap::new();
    for row in &rows {
        let table = TableName::new(row.get::<_, &str>("schema_name"), row.get::<_, &str>("table_name"));
        let key = key(row)?;
        let chunk = chunk(row, key.as_ref())?;
        let marks = tables.entry(table).or_insert_with(|| Marks { table_oid: row.get("table_oid"), key, chunks: vec![] });
        marks.chunks.push(chunk);
    }
    for marks in tables.values_mut() {
        let lower = |c: &Chunk| c.range.lower.as_ref().map(|l| l.value.clone());
        marks.chunks.sort_by_cached_key(lower);
    }
    Ok(tables)
}

fn key(row: &Row) -> Result<Option<Key>> {
    let (Some(column), type_oid) = (row.get::<_, Option<String>>("key_column"), row.get::<_, u32>("key_type")) else { return Ok(None) };
    let key_type = KeyType::of(type_oid);
    let unknown = || Error::new(Kind::Protocol, format!("the order of keys of type {type_oid} is not known"));
    Ok(Some(Key { column, type_oid, key_type: key_type.ok_or_else(unknown)? }))
}

fn chunk(row: &Row, key: Option<&Key>) -> Result<Chunk> {
    let bound = |column: &str| match (key, row.get::<_, &str>(column)) {
        (None, _) | (_, "") => Ok(None),
        (Some(key), text) => Bound::read(key.key_type, text).map(Some),
    };
    let seen = Seen { snapshot: row.get::<_, &str>("snapshot").parse()?, visible_below: row.get::<_, &str>("visible_below").parse()? };
    let range = KeyRange { lower: bound("lower_bound")?, upper: bound("upper_bound")? };
    Ok(Chunk { range, seen, rows: row.get("rows"), bytes: row.get("bytes") })
}

impl Marks {
    /// The parts that were copied under another snapshot than the `last`; neighbours that saw the same are one.
    pub fn earlier(&self, last: Option<&Seen>) -> Option<Earlier> {
        let key = self.key.clone()?;
        let mut parts: Vec<(KeyRange, Seen)> = vec![];
        for chunk in self.chunks.iter().filter(|c| Some(&c.seen) != last) {
            match parts.last_mut() {
                Some((range, seen)) if *seen == chunk.seen && range.upper.is_some() && range.upper == chunk.range.lower => {
                    range.upper = chunk.range.upper.clone();
                }
                _ => parts.push((chunk.range.clone(), chunk.seen.clone())),
            }
        }
        (!parts.is_empty()).then_some(Earlier { key, parts })
    }
}

#[cfg(test)]
mod tests {
    use pgrelay_core::{Lsn, key_range::KeyValue};

    use super::*;

    #[test]
    fn neighbours_that_saw_the_same_are_one_part_and_those_of_the_last_snapshot_none() {
        let bound = |n: i64| Some(Bound { text: n.to_string(), value: KeyValue::Integer(n) });
        let seen = |snapshot: &str| Seen { snapshot: snapshot.parse().expect("a snapshot"), visible_below: Lsn(1) };
        let chunk = |lower, upper, snapshot| Chunk { range: KeyRange { lower, upper }, seen: seen(snapshot), rows: 1, bytes: 1 };
        let key = Some(Key { column: "id".into(), type_oid: 20, key_type: KeyType::Integer });
        let chunks = vec![
            chunk(None, bound(1), "1:1:"),
            chunk(bound(1), bound(2), "1:1:"),
            chunk(bound(2), bound(3), "2:2:"),
            chunk(bound(4), bound(5), "2:2:"),
            chunk(bound(5), None, "3:3:"),
        ];
        let marks = Marks { table_oid: 1, key, chunks };
        let parts = |last: Option<&str>| {
            let earlier = marks.earlier(last.map(seen).as_ref());
            earlier.map(|e| e.parts.iter().map(|(r, _)| (r.lower.clone(), r.upper.clone())).collect::<Vec<_>>())
        };
        assert_eq!(parts(Some("3:3:")), Some(vec![(None, bound(2)), (bound(2), bound(3)), (bound(4), bound(5))]));
        assert_eq!(parts(None).map(|p| p.len()), Some(4));
        assert_eq!(Marks { key: None, ..marks.clone() }.earlier(None).map(|e| e.parts.len()), None);
    }
}
