//! Rows that were deleted on the side that changes come to, remembered until the other side has seen that: `latest_wins` and
//! `source_priority` tell by them an update of a row that was deleted later from one that was deleted before
//! ([decision 18](../../../docs/decisions/0018-deletions-are-remembered-from-the-stream.md)).
//!
//! The stream of the opposite direction tells of deletions (`remember`), before it applies them on the other side. A change that meets
//! no row asks (`Memory`). They go when the other side is known to have seen them (`forget`).

use std::sync::Arc;

use pgrelay_core::{
    Lsn, Result,
    conflict::Writer,
    name::{TableName, quote_ident, quote_literal},
};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, Statement, error::SqlState};

use super::meet::MetRow;
use crate::{
    apply::{relation::Target, session::Value},
    pg::server_error,
};

/// The key of all rows of a table.
const ANY_KEY: &str = "{}";

/// Deletions that are written down by one statement.
const TOGETHER: usize = 200;

/// A row that was deleted, or whose key was changed.
pub struct Deleted {
    /// By its name on both sides.
    pub table: Arc<TableName>,
    /// The columns of its key: name and type.
    pub columns: Arc<[(String, String)]>,
    /// Their values.
    pub key: Vec<Value>,
    /// The commit record.
    pub commit: Lsn,
    /// When that was committed, in microseconds since 2000.
    pub committed: i64,
}

/// A table whose rows were all removed by a TRUNCATE.
pub struct Emptied {
    /// By its name on both sides.
    pub table: Arc<TableName>,
    /// The commit record.
    pub commit: Lsn,
    /// When that was committed, in microseconds since 2000.
    pub committed: i64,
}

/// The key of a table's rows: numbers of its columns in the stream, with names and types. None where rows are not found by a key.
pub fn key_of(target: &Target) -> Option<Vec<(usize, String, String)>> {
    let columns = target.key_columns()?;
    Some(columns.into_iter().map(|n| (n, target.column_names()[n].clone(), target.type_of(n))).collect())
}

/// Writes deletions down where they happened, for the task that writes there under `key`.
///
/// After a crash they may come again and stand there twice, which is harmless: the latest one counts.
pub async fn remember(there: &Client, key: &str, deleted: Vec<Deleted>) -> Result<()> {
    let mut deleted = deleted.into_iter().peekable();
    while let Some(first) = deleted.peek() {
        let (table, columns) = (first.table.clone(), first.columns.clone());
        let mut rows = vec![];
        while rows.len() < TOGETHER
            && let Some(next) = deleted.next_if(|next| next.table == table && next.columns == columns)
        {
            rows.push(next);
        }
        let width = columns.len() + 2;
        let values = (0..rows.len()).map(|row| {
            let parameters = columns.iter().enumerate().map(|(n, (_, type_sql))| format!("${}::{type_sql}", row * width + n + 1));
            let last = (row + 1) * width;
            let at = [format!("${}::pg_catalog.pg_lsn", last - 1), format!("${last}::pg_catalog.timestamptz")];
            format!("({})", parameters.chain(at).collect::<Vec<_>>().join(", "))
        });
        let names: Vec<String> = columns.iter().map(|(name, _)| quote_ident(name)).collect();
        let sql = format!(
            "INSERT INTO pgrelay_peer.tombstone (task_key, schema_name, table_name, key, commit_lsn, deleted_at) \
             SELECT {}, {}, {}, pg_catalog.to_jsonb(\"pgrelay key\".*), v.\"pgrelay commit\", v.\"pgrelay at\" \
             FROM (VALUES {}) AS v ({names}, \"pgrelay commit\", \"pgrelay at\") CROSS JOIN LATERAL (SELECT {of_v}) AS \"pgrelay key\"",
            quote_literal(key),
            quote_literal(&table.schema),
            quote_literal(&table.name),
            values.collect::<Vec<_>>().join(", "),
            names = names.join(", "),
            of_v = names.iter().map(|name| format!("v.{name}")).collect::<Vec<_>>().join(", "),
        );
        let parameters = rows.into_iter().flat_map(|row| row.key.into_iter().chain([Value::Lsn(row.commit), Value::Time(row.committed)]));
        if !written(there.execute_raw(&sql, parameters.collect::<Vec<Value>>()).await, &table)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Likewise of all rows of a table: a row with a key that every key is like.
pub async fn remember_emptied(there: &Client, key: &str, emptied: &Emptied) -> Result<()> {
    let Emptied { table, commit, committed } = emptied;
    let sql = format!(
        "INSERT INTO pgrelay_peer.tombstone (task_key, schema_name, table_name, key, commit_lsn, deleted_at) \
         VALUES ({}, {}, {}, '{ANY_KEY}', '{commit}', timestamptz '2000-01-01 00:00:00+00' + {committed} * interval '1 microsecond')",
        quote_literal(key),
        quote_literal(&table.schema),
        quote_literal(&table.name),
    );
    written(there.execute(&sql, &[]).await, table).map(drop)
}

/// False where the opposite direction is not there yet, or not any more.
fn written(result: std::result::Result<u64, tokio_postgres::Error>, table: &TableName) -> Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(e) if [SqlState::UNDEFINED_TABLE, SqlState::FOREIGN_KEY_VIOLATION].iter().any(|code| e.code() == Some(code)) => Ok(false),
        Err(e) => Err(server_error(e, "remember rows that were deleted").object(table.to_string())),
    }
}

/// The statement that forgets what the other side has seen: everything that was committed before.
pub fn forget(key: &str, seen: Lsn) -> String {
    format!("DELETE FROM pgrelay_peer.tombstone WHERE task_key = {} AND commit_lsn < '{seen}'", quote_literal(key))
}

/// How it is looked for deletions of rows of one table.
pub struct Memory {
    statement: Statement,
    columns: Vec<usize>,
}

impl Memory {
    /// None where rows are not found by a key.
    pub async fn new(peer: &Client, key: &str, target: &Target) -> Result<Option<Memory>> {
        let Some(columns) = key_of(target) else { return Ok(None) };
        let table = &target.relation.table;
        let (condition, _) = target.condition(true);
        let list: Vec<String> = columns.iter().map(|(_, name, type_sql)| format!("{} {type_sql}", quote_ident(name))).collect();
        let told = "t.commit_lsn::pg_catalog.text AS \"pgrelay commit\", t.key::pg_catalog.text AS \"pgrelay image\", \
             (EXTRACT(EPOCH FROM t.deleted_at - '2000-01-01 00:00:00+00'::pg_catalog.timestamptz) * 1000000)::pg_catalog.int8 AS \"pgrelay at\"";
        let of_table = of_table("t", key, table);
        // A domain may forbid NULL, which is what the key of all rows has in each column.
        let sql = format!(
            "SELECT g.\"pgrelay image\" AS image, g.\"pgrelay at\" AS committed, g.\"pgrelay commit\" AS commit \
             FROM (SELECT {told}, k.* FROM pgrelay_peer.tombstone AS t \
                   CROSS JOIN LATERAL pg_catalog.jsonb_to_record(t.key) AS k ({}) \
                   WHERE {of_table} AND t.key <> '{ANY_KEY}') AS g \
             WHERE {condition} \
             UNION ALL \
             SELECT g.\"pgrelay image\", g.\"pgrelay at\", g.\"pgrelay commit\" \
             FROM (SELECT {told} FROM pgrelay_peer.tombstone AS t WHERE {of_table} AND t.key = '{ANY_KEY}') AS g \
             ORDER BY committed DESC LIMIT 1",
            list.join(", "),
        );
        let failed = |e| server_error(e, "prepare to look for deleted rows").object(table.to_string());
        let statement = peer.prepare(&sql).await.map_err(failed)?;
        Ok(Some(Memory { statement, columns: columns.into_iter().map(|(n, ..)| n).collect() }))
    }

    /// The last deletion of the row that has these values of the key, one for each column of the stream; none when the other side had
    /// seen it, as all that was committed before `seen`.
    pub async fn of(&self, peer: &Client, table: &TableName, row: &[Value], seen: Lsn) -> Result<Option<MetRow>> {
        use futures_util::TryStreamExt;
        let key: Vec<Value> = self.columns.iter().filter_map(|&n| row.get(n).cloned()).collect();
        if key.len() < self.columns.len() {
            return Ok(None);
        }
        let rows = async { peer.query_raw(&self.statement, key).await?.try_collect::<Vec<_>>().await };
        let rows = rows.await.map_err(|e| server_error(e, "look for deleted rows").object(table.to_string()))?;
        let met = |row: &tokio_postgres::Row| MetRow {
            at: String::new(),
            image: row.get("image"),
            writer: Writer::Other(Some(row.get("committed"))),
            xid: 0,
            origin: None,
            constraints: vec![],
        };
        let Some(row) = rows.first() else { return Ok(None) };
        let commit: Lsn = row.get::<_, &str>("commit").parse()?;
        Ok((commit >= seen).then(|| met(row)))
    }
}

/// Whether the open transaction may have put back, by a fast way, a row whose deletion here the other side had not seen by `seen`: it has,
/// or all rows were removed. The rows are found by their keys: the table may be large.
pub async fn is_brought_back(peer: &Client, key: &str, target: &Target, seen: Lsn) -> Result<bool> {
    let (Some(columns), Some(equal)) = (key_of(target), target.key_equals("t", "k")) else { return Ok(false) };
    let list: Vec<String> = columns.iter().map(|(_, name, type_sql)| format!("{} {type_sql}", quote_ident(name))).collect();
    let table = &target.relation.table;
    let unseen = format!("{} AND s.commit_lsn >= '{seen}'", of_table("s", key, table));
    let sql = format!(
        "SELECT EXISTS (SELECT FROM pgrelay_peer.tombstone AS s WHERE {unseen} AND s.key = '{ANY_KEY}') OR EXISTS ( \
             SELECT FROM pgrelay_peer.tombstone AS s \
             CROSS JOIN LATERAL pg_catalog.jsonb_to_record(s.key) AS k ({}) \
             JOIN ONLY {} AS t ON {equal} \
             WHERE {unseen} AND s.key <> '{ANY_KEY}' \
               AND t.xmin = pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.xid)",
        list.join(", "),
        table.quoted(),
    );
    let row = peer.query_one(&sql, &[]).await;
    Ok(row.map_err(|e| server_error(e, "look for deleted rows").object(table.to_string()))?.get(0))
}

/// What is remembered of a table, under this name in the query.
fn of_table(name: &str, key: &str, table: &TableName) -> String {
    let (key, schema, table) = (quote_literal(key), quote_literal(&table.schema), quote_literal(&table.name));
    format!("{name}.task_key = {key} AND {name}.schema_name = {schema} AND {name}.table_name = {table}")
}

/// Those of the tables of which rows are remembered whose deletion the other side had not seen by `seen`. `prepared`: for all that a
/// session asks.
pub async fn tables(peer: &Client, prepared: &OnceCell<Statement>, key: &str, of: &[Arc<TableName>], seen: Lsn) -> Result<Vec<TableName>> {
    let failed = |e| server_error(e, "look for deleted rows");
    let (schemas, names): (Vec<&str>, Vec<&str>) = of.iter().map(|table| (table.schema.as_str(), table.name.as_str())).unzip();
    let sql = "SELECT t.schema_name, t.table_name FROM ROWS FROM (pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::text[])) AS t (schema_name, table_name) \
               WHERE EXISTS (SELECT FROM pgrelay_peer.tombstone s \
                             WHERE s.task_key = $1 AND s.schema_name = t.schema_name AND s.table_name = t.table_name \
                               AND s.commit_lsn >= $4::text::pg_lsn)";
    let statement = prepared.get_or_try_init(|| peer.prepare(sql)).await.map_err(failed)?;
    let rows = peer.query(statement, &[&key, &schemas, &names, &seen.to_string()]).await.map_err(failed)?;
    Ok(rows.iter().map(|row| TableName::new(row.get::<_, &str>(0), row.get::<_, &str>(1))).collect())
}
