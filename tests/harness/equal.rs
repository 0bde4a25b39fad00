//! Whether two databases hold the same rows, and sequences of the peer are not behind.
//!
//! A table is compared as a multiset: number of rows, and the sum of a hash of each row's columns, by name, as text.

use std::collections::BTreeMap;

use tokio_postgres::{Client, Error};

/// What is compared: rows and digest of one table.
type Digest = (i64, String);

/// Panics when a table or sequence of any schema of the user differs; names each with its counts.
pub async fn assert_equal(source: &Client, peer: &Client) {
    fail_on(differences(source, peer, None).await);
}

/// As `assert_equal`, for these tables only, each as `schema.table`.
pub async fn assert_tables_equal(source: &Client, peer: &Client, tables: &[&str]) {
    fail_on(differences(source, peer, Some(tables)).await);
}

fn fail_on(differences: Vec<String>) {
    assert!(differences.is_empty(), "source and peer differ:\n{}", differences.join("\n"));
}

/// One line for each table or sequence that differs.
pub async fn differences(source: &Client, peer: &Client, only: Option<&[&str]>) -> Vec<String> {
    let of = async |client: &Client| read(client, only).await.unwrap_or_else(|e| panic!("cannot read the tables: {e:?}"));
    let (source, peer) = (of(source).await, of(peer).await);
    let mut found = Vec::new();
    for (table, (rows, digest)) in &source.tables {
        match peer.tables.get(table) {
            None => found.push(format!("table {table}: {rows} rows on the source, missing on the peer")),
            Some((there, other)) if there != rows || other != digest => {
                let what = if there == rows { ", contents differ" } else { "" };
                found.push(format!("table {table}: {rows} rows on the source, {there} on the peer{what}"));
            }
            Some(_) => {}
        }
    }
    found.extend(peer.tables.keys().filter(|t| !source.tables.contains_key(*t)).map(|t| format!("table {t}: on the peer only")));
    for (sequence, &(value, ascending)) in &source.sequences {
        match peer.sequences.get(sequence) {
            None => found.push(format!("sequence {sequence}: missing on the peer")),
            Some(&(there, _)) if (ascending && there < value) || (!ascending && there > value) => {
                found.push(format!("sequence {sequence}: next is {value} on the source, {there} on the peer"));
            }
            Some(_) => {}
        }
    }
    if let Some(only) = only {
        found.extend(only.iter().filter(|t| !source.tables.contains_key(**t)).map(|t| format!("table {t}: not on the source")));
    }
    found
}

struct Contents {
    tables: BTreeMap<String, Digest>,
    /// The next value, and whether it ascends.
    sequences: BTreeMap<String, (i64, bool)>,
}

const PIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
    SET LOCAL search_path = '';
    SET LOCAL datestyle = 'ISO, YMD';
    SET LOCAL intervalstyle = 'postgres';
    SET LOCAL timezone = 'UTC';
    SET LOCAL bytea_output = 'hex';
    SET LOCAL extra_float_digits = 1;
    SET LOCAL lc_monetary = 'C';
    SET LOCAL xmloption = 'content';
    SET LOCAL row_security = off";

/// Permanent tables of user schemas, partitions each by itself, with a query for each; extensions' own tables are left out.
const TABLES: &str = "
    SELECT format('%s.%s', n.nspname, c.relname),
           format('SELECT count(*), coalesce(sum(hashtextextended(ROW(%s)::text, 0)::numeric), 0)::text FROM ONLY %I.%I',
                  (SELECT string_agg(format('%I', a.attname), ', ' ORDER BY a.attname COLLATE \"C\")
                     FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
                  n.nspname, c.relname)
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = $1 AND c.relpersistence = 'p'
       AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgrelay', 'pgrelay_peer')
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')";

const SEQUENCES: &str = "
    SELECT format('%s.%s', n.nspname, c.relname),
           format('SELECT last_value + CASE WHEN is_called THEN %s ELSE 0 END FROM %I.%I', s.seqincrement, n.nspname, c.relname),
           s.seqincrement > 0
      FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relpersistence = 'p'
       AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgrelay', 'pgrelay_peer')
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')";

async fn read(client: &Client, only: Option<&[&str]>) -> Result<Contents, Error> {
    client.batch_execute(PIN).await?;
    let mut contents = Contents { tables: BTreeMap::new(), sequences: BTreeMap::new() };
    // Materialized views hold rows too.
    for kind in [b'r' as i8, b'm' as i8] {
        for row in client.query(TABLES, &[&kind]).await? {
            let (name, sql): (String, String) = (row.get(0), row.get(1));
            if only.is_none_or(|only| only.contains(&name.as_str())) {
                let row = client.query_one(&sql, &[]).await?;
                contents.tables.insert(name, (row.get(0), row.get(1)));
            }
        }
    }
    if only.is_none() {
        for row in client.query(SEQUENCES, &[]).await? {
            let (name, sql): (String, String) = (row.get(0), row.get(1));
            let next = client.query_one(&sql, &[]).await?;
            contents.sequences.insert(name, (next.get(0), row.get(2)));
        }
    }
    client.batch_execute("COMMIT").await?;
    Ok(contents)
}
