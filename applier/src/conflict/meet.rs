//! What a change meets: the row it is about, and the rows that its new row would collide with. Each is locked and read.
//!
//! A lock is waited for. Whoever held it may have changed or removed the row, so what was found is looked for again until it is
//! still there under the lock.

use std::collections::BTreeMap;

use pgrelay_core::{
    Error, Result,
    conflict::Writer,
    error::Kind,
    name::{TableName, quote_literal},
};
use tokio_postgres::{Client, Row, Statement};

use super::keys::{Keys, Which};
use crate::{apply::session::Value, pg::server_error};

/// How often it is looked again when rows change while their locks are waited for.
const TRIES: usize = 100;

/// A row that was met, locked until the transaction ends.
#[derive(Debug, Clone)]
pub struct MetRow {
    /// Where it lies, as text.
    pub at: String,
    /// All of it, as the text of `jsonb`.
    pub image: String,
    /// Who wrote it last.
    pub writer: Writer,
    /// The transaction that did.
    pub xid: u32,
    /// The replication origin of that, where the server knows one.
    pub origin: Option<String>,
    /// By which constraints or indexes a new row collides with it; none of the row that a change is about.
    pub constraints: Vec<String>,
}

/// How it is looked at the rows of one table.
pub struct Look {
    table: TableName,
    colliding: Option<Statement>,
    /// By deferrable keys too, where there are any.
    colliding_at_end: Option<Statement>,
    locked: Statement,
    origins: String,
    primary: Option<String>,
}

impl Look {
    /// `given`: the columns that changes bring, in the order of the stream. `origin`: the name under which the task writes; `tracks`:
    /// the server has `track_commit_timestamp` on.
    pub async fn new(peer: &Client, table: &TableName, given: &[String], origin: &str, tracks: bool) -> Result<Look> {
        let failed = |e| server_error(e, "prepare to look for conflicts").object(table.to_string());
        let keys = Keys::read(peer, table).await?;
        let prepare = async |sql: Option<String>| match sql {
            Some(sql) => peer.prepare(&sql).await.map(Some).map_err(failed),
            None => Ok(None),
        };
        let colliding = prepare(keys.colliding(table, given, Which::Immediate)).await?;
        let colliding_at_end = match keys.any_deferrable() {
            true => prepare(keys.colliding(table, given, Which::All)).await?,
            false => None,
        };
        let origins = origins(origin, tracks);
        let sql = images(table, "ctid = ANY ($1::pg_catalog.tid[])", &origins);
        let locked = peer.prepare(&sql).await.map_err(failed)?;
        Ok(Look { table: table.clone(), colliding, colliding_at_end, locked, origins, primary: keys.primary().map(str::to_owned) })
    }

    /// The primary key's name.
    pub fn primary(&self) -> Option<&str> {
        self.primary.as_deref()
    }

    /// The statement that finds, locks and reads the row of a condition.
    pub fn row_sql(&self, condition: &str) -> String {
        images(&self.table, &format!("{condition} LIMIT 1"), &self.origins)
    }

    /// The row of a statement from `row_sql`.
    pub async fn row(&self, peer: &Client, statement: &Statement, values: Vec<Value>) -> Result<Option<MetRow>> {
        Ok(self.query(peer, statement, values).await?.first().map(met))
    }

    /// Where rows lie that a new row collides with, as it looks without a lock.
    pub async fn candidates(&self, peer: &Client, values: Vec<Value>, which: Which) -> Result<Vec<String>> {
        let Some(statement) = self.statement(which) else { return Ok(vec![]) };
        Ok(self.query(peer, statement, values).await?.iter().map(|row| row.get("at")).collect())
    }

    fn statement(&self, which: Which) -> Option<&Statement> {
        let all = if which == Which::All { self.colliding_at_end.as_ref() } else { None };
        all.or(self.colliding.as_ref())
    }

    /// The rows that a new row collides with, but for the one at `own`. Within a transaction deferrable keys may be violated.
    pub async fn colliding(&self, peer: &Client, values: impl Fn() -> Vec<Value>, own: Option<&str>, which: Which) -> Result<Vec<MetRow>> {
        let Some(statement) = self.statement(which) else { return Ok(vec![]) };
        for _ in 0..TRIES {
            let found = self.query(peer, statement, values()).await?;
            let mut found: BTreeMap<String, Vec<String>> = found.iter().map(|row| (row.get("at"), row.get("names"))).collect();
            found.retain(|at, _| own != Some(at.as_str()));
            if found.is_empty() {
                return Ok(vec![]);
            }
            let places = format!("{{{}}}", found.keys().map(|at| format!("\"{at}\"")).collect::<Vec<_>>().join(","));
            let locked = self.query(peer, &self.locked, vec![Value::Text(Some(places.into()))]).await?;
            if locked.len() == found.len() {
                let with_names = |row: &Row| {
                    let mut met = met(row);
                    met.constraints = found.remove(&met.at).unwrap_or_default();
                    met
                };
                return Ok(locked.iter().map(with_names).collect());
            }
        }
        Err(Error::new(Kind::Contention, format!("rows of table \"{}\" change faster than they can be looked at", self.table))
            .object(self.table.to_string()))
    }

    async fn query(&self, peer: &Client, statement: &Statement, values: Vec<Value>) -> Result<Vec<Row>> {
        use futures_util::TryStreamExt;
        let rows = async { peer.query_raw(statement, values).await?.try_collect().await };
        rows.await.map_err(|e| server_error(e, &format!("look for conflicts in table \"{}\"", self.table)).object(self.table.to_string()))
    }
}

/// Who wrote a row that a statement with `origins` tells of.
pub fn writer(row: &Row) -> Writer {
    match row.get::<_, &str>("writer") {
        "own" => Writer::Own,
        "other" => Writer::Other(row.get("committed")),
        _ => Writer::Unknown,
    }
}

/// A row of a statement from `locked_sql`.
pub(super) fn met(row: &Row) -> MetRow {
    let writer = writer(row);
    MetRow { at: row.get("at"), image: row.get("image"), writer, xid: row.get("xid"), origin: row.get("origin"), constraints: vec![] }
}

/// The statement that finds, locks and reads the rows of a condition, whose table is `"pgrelay row"`.
pub(super) fn locked_sql(table: &TableName, condition: &str, origin: &str, tracks: bool) -> String {
    images(table, condition, &origins(origin, tracks))
}

/// Removes rows that were met and are locked, by where they lie.
///
/// Errors: `Rejected` when a trigger keeps one.
pub(super) async fn remove(peer: &Client, table: &TableName, places: &[&str]) -> Result<()> {
    let list: Vec<String> = places.iter().map(|at| quote_literal(at)).collect();
    let sql = format!("DELETE FROM ONLY {} WHERE ctid = ANY (ARRAY[{}]::pg_catalog.tid[])", table.quoted(), list.join(", "));
    let removed = peer.execute(&sql, &[]).await;
    let removed =
        removed.map_err(|e| server_error(e, &format!("remove rows of table \"{table}\" that give way")).object(table.to_string()))?;
    if removed == places.len() as u64 {
        return Ok(());
    }
    Err(Error::new(Kind::Rejected, format!("a row of table \"{table}\" of the peer that is to give way could not be removed"))
        .object(table.to_string())
        .detail("A trigger that fires while changes are applied has kept it.")
        .hint("Disable the trigger for the replica role, or remove the row, then call pgrelay.resume_task()."))
}

/// A query that locks the rows of a condition and tells of each where it lies, what it holds and who wrote it.
fn images(table: &TableName, condition: &str, origins: &str) -> String {
    format!(
        "SELECT r.at::pg_catalog.text AS at, r.image::pg_catalog.text AS image, r.xid::pg_catalog.text::pg_catalog.oid AS xid, o.writer, o.origin, o.committed \
         FROM (SELECT \"pgrelay row\".ctid AS at, \"pgrelay row\".xmin AS xid, pg_catalog.to_jsonb(\"pgrelay row\".*) AS image \
               FROM ONLY {} AS \"pgrelay row\" WHERE {condition} FOR UPDATE) AS r \
         CROSS JOIN LATERAL ({origins}) AS o",
        table.quoted()
    )
}

/// A condition for a row that a transaction with this replication origin wrote last.
pub fn written_with(origin: &str) -> String {
    format!(
        "(pg_catalog.pg_xact_commit_timestamp_origin(xmin)).roident OPERATOR(pg_catalog.=) \
         (SELECT n.roident FROM pg_catalog.pg_replication_origin n WHERE n.roname = {})",
        quote_literal(origin)
    )
}

/// A query for who wrote a row of transaction `r.xid` last. The origins of copies are gone when they end, and their numbers may come again: an
/// origin that nobody has counts as the task's own.
pub fn origins(origin: &str, tracks: bool) -> String {
    let own_now = "r.xid = pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.xid";
    if !tracks {
        return format!(
            "SELECT CASE WHEN {own_now} THEN 'own' ELSE 'unknown' END AS writer, NULL::pg_catalog.text AS origin, \
             NULL::pg_catalog.int8 AS committed"
        );
    }
    let (own, copies) = (quote_literal(origin), quote_literal(&format!("{origin}_copy_")));
    format!(
        "SELECT CASE WHEN {own_now} THEN 'own' WHEN w.roident IS NULL THEN 'unknown' WHEN w.roident = 0 THEN 'other' \
                     WHEN n.roname IS NULL OR n.roname = {own} OR pg_catalog.starts_with(n.roname, {copies}) THEN 'own' \
                     ELSE 'other' END AS writer, \
                n.roname AS origin, \
                (EXTRACT(EPOCH FROM w.\"timestamp\" - '2000-01-01 00:00:00+00'::pg_catalog.timestamptz) * 1000000)::pg_catalog.int8 AS committed \
         FROM pg_catalog.pg_xact_commit_timestamp_origin(r.xid) AS w \
         LEFT JOIN pg_catalog.pg_replication_origin n ON n.roident = w.roident"
    )
}
