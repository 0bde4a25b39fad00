//! Rows for a table that the peer keeps: where one of the source's has the key of one that is there, that one stays.
//!
//! The source's rows come into a temporary table of the session, on the peer's disk, and from there those that collide with
//! nothing go into the table, all in the transaction that marks the copy. Any unique key and any exclusion constraint counts.
//! `INSERT … ON CONFLICT DO NOTHING` does that, but refuses a table with a deferrable one: there the rows are put in by pages,
//! and row by row where one collides (`insert_kept.sql`).

use pgrelay_core::{
    Error, Result,
    error::Kind,
    name::{TableName, quote_literal},
};

use super::{Setting, flow, shape::Shape};
use crate::pg::pipe::{Poured, Row, Session};

/// Where the rows wait; the table goes away with the transaction.
const WAITING: &str = "pg_temp.pgrelay_waiting";

/// Moves the rows of a table. `written` of the answer counts those that came in, `sent` those that the source has.
pub async fn rows(s: &Setting, source: &mut Session, peer: &mut Session, table: &TableName, shape: &Shape) -> Result<Poured> {
    let (name, whole) = (table.quoted(), format!("{}{}", table.quoted(), shape.column_list()));
    let doing = format!("copy table \"{table}\", whose rows on the peer are kept");
    let keys = peer.query(include_str!("../../../sql/query/peer/hard_keys.sql"), &[&table.schema, &table.name], &doing).await?;
    if keys.is_empty() || shape.columns.is_empty() {
        return flow::rows(s, source, peer, table, shape, flow::Rows { out: &whole, into: &whole, frozen: false }).await;
    }
    let columns = shape.columns.join(", ");
    let wait = format!(
        "DROP TABLE IF EXISTS {WAITING}; CREATE TEMPORARY TABLE {WAITING} ON COMMIT DROP AS SELECT {columns} FROM ONLY {name} WITH NO DATA"
    );
    peer.run(&wait, &doing).await.map_err(|e| e.object(table.to_string()))?;
    let into = format!("{WAITING}{}", shape.column_list());
    let poured = flow::rows(s, source, peer, table, shape, flow::Rows { out: &whole, into: &into, frozen: false }).await?;
    let insert = if keys.iter().any(|key| key.first() == Some(&Some("t".to_owned()))) {
        by_pages(&name, &columns, &keys)
    } else {
        format!(
            "WITH i AS (INSERT INTO {name} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {WAITING} ON CONFLICT DO NOTHING \
             RETURNING true) SELECT pg_catalog.count(*) FROM i"
        )
    };
    let counted = peer.run(&format!("{insert}; DROP TABLE {WAITING}"), &doing).await.map_err(|e| e.object(table.to_string()))?;
    let count = counted.iter().rev().find_map(|row| row.first()?.as_deref()?.parse::<u64>().ok());
    let written = count.ok_or_else(|| Error::new(Kind::Internal, format!("{doing}: no count of rows came back")))?;
    let kept = poured.sent.saturating_sub(written) as i64;
    s.progress.table(table, |t| (t.rows, t.rows_kept) = (t.rows - poured.written as i64 + written as i64, kept));
    Ok(Poured { written, ..poured })
}

fn by_pages(name: &str, columns: &str, keys: &[Row]) -> String {
    let collision = |key: &Row| match key.as_slice() {
        [_, Some(keys), Some(collision), Some(filter)] => Some(format!(
            "EXISTS (SELECT FROM (SELECT ctid AS at, {keys} FROM ONLY {name} WHERE ctid = ANY (pgrelay.came) AND ({filter})) AS n \
             JOIN (SELECT ctid AS at, {keys} FROM ONLY {name} WHERE {filter}) AS o ON n.at <> o.at AND {collision})"
        )),
        _ => None,
    };
    let collisions: Vec<String> = keys.iter().filter_map(collision).collect();
    let collides = if collisions.is_empty() { "false".to_owned() } else { collisions.join(" OR ") };
    // Once, so that a name which looks like a place to fill in is none.
    let mut body = String::new();
    let mut rest = include_str!("../../../sql/peer/insert_kept.sql");
    let places = [("{table}", name), ("{columns}", columns), ("{waiting}", WAITING), ("{collides}", collides.as_str())];
    while let Some((at, (place, text))) = places.iter().filter_map(|p| Some((rest.find(p.0)?, *p))).min_by_key(|(at, _)| *at) {
        body.push_str(&rest[..at]);
        body.push_str(text);
        rest = &rest[at + place.len()..];
    }
    body.push_str(rest);
    // Whoever else writes to the table waits: a row that is not seen yet might collide with one that comes. Collisions are looked for by
    // index, whatever the planner believes of a table that was empty when it looked.
    format!(
        "LOCK TABLE ONLY {name} IN SHARE ROW EXCLUSIVE MODE; SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; \
         SET LOCAL enable_mergejoin = off; DO {}; SELECT pg_catalog.current_setting('pgrelay.inserted')",
        quote_literal(&body)
    )
}
