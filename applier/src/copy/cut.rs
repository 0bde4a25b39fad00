//! How a table's copy is cut into chunks.
//!
//! By key, where the stream tells the key of every change and its order is known: then each chunk may be copied under a
//! snapshot of its own, so after a crash only what is missing is copied, under a new one. Else by pages, which only say
//! where a row lies now: all under one snapshot, and after a crash from the beginning.

use pgrelay_core::{
    Error, Result,
    error::Kind,
    key_range::{self, Bound, KeyRange, KeyType},
    name::{TableName, quote_ident},
};

use crate::{
    apply::{marks::Marks, statement::in_range, tables::Key},
    pg::pipe::Session,
};

/// Pages of the sample for each chunk, and at least in all: enough that chunks differ by a fraction of their size.
const SAMPLE_PAGES: (i64, i64) = (10, 300);

/// PostgreSQL has scans over a range of ctid since this version.
const RANGES_OF_PAGES_SINCE: u32 = 140_000;

/// How a table is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// Not at all.
    Whole,
    /// By the values of a column: what is left to copy.
    ByKey(Key, Vec<KeyRange>),
    /// By pages, from each first one to before the next.
    ByPage(Vec<i64>),
}

/// What the task allows.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a chunk.
    pub chunk_bytes: i64,
    /// How many can copy at the same time.
    pub workers: u32,
    /// The stream brings every change of the table with its key.
    pub by_key: bool,
    /// What is on the peer may be taken away to start over: the task made the table.
    pub by_page: bool,
}

/// What the source says of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// With what belongs to it.
    pub bytes: i64,
    /// Of the table itself.
    pub pages: i64,
    /// The column to cut by, if its order is known.
    pub key: Option<Key>,
    /// Reading by key costs no more than reading through.
    pub ordered: bool,
}

/// Reads them; the table is locked.
pub async fn facts(source: &mut Session, table: &TableName, oid: u32) -> Result<Facts> {
    let doing = format!("look how to cut the copy of table \"{table}\"");
    let rows = source.query(include_str!("../../../sql/query/source/cut.sql"), &[&oid.to_string()], &doing).await?;
    let row = rows.first().ok_or_else(|| Error::new(Kind::ShapeChanged, format!("table \"{table}\" is gone from the source")))?;
    let number = |at: usize| row[at].as_deref().and_then(|n| n.parse::<i64>().ok()).unwrap_or_default();
    let type_oid = number(3) as u32;
    let key = row[2].clone().zip(KeyType::of(type_oid)).map(|(column, key_type)| Key { column, type_oid, key_type });
    Ok(Facts { bytes: number(0), pages: number(1), key, ordered: row[4].as_deref() == Some("t") })
}

/// What is to be done with a table of which `marks` are on the peer.
pub enum Begin {
    /// Into so many chunks.
    Cut(Way, i64),
    /// The chunks that are there cannot be gone on with, for this reason.
    StartOver(&'static str),
}

/// By what a table is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Not at all.
    Whole,
    /// By key.
    Key(Key),
    /// By page.
    Page,
}

/// Chooses. Chunks that are there are gone on with wherever that can be right.
pub fn choose(facts: &Facts, marks: Option<&Marks>, limits: Limits, version: u32) -> Begin {
    let chunks = facts.bytes.max(0) / limits.chunk_bytes.max(1) + 1;
    if let Some(marks) = marks {
        return match &marks.key {
            None => Begin::StartOver("it was cut by pages, or cannot be gone on with"),
            Some(_) if !limits.by_key => Begin::StartOver("its rows would be of two points in time, and no stream brings them to one"),
            Some(key) if facts.key.as_ref() != Some(key) => Begin::StartOver("the key by which it was cut has changed"),
            Some(key) => Begin::Cut(Way::Key(key.clone()), chunks),
        };
    }
    let way = match &facts.key {
        _ if chunks < 2 => Way::Whole,
        Some(key) if limits.by_key && facts.ordered => Way::Key(key.clone()),
        _ if limits.by_page && limits.workers > 1 && facts.pages > 1 && version >= RANGES_OF_PAGES_SINCE => Way::Page,
        _ => Way::Whole,
    };
    Begin::Cut(way, chunks)
}

/// Cuts what is left of a table into about `chunks` of the whole. The session's transaction has the table's snapshot.
pub async fn cut(source: &mut Session, table: &TableName, facts: &Facts, marks: Option<&Marks>, way: Way, chunks: i64) -> Result<Cut> {
    match way {
        Way::Whole => Ok(Cut::Whole),
        Way::Page => {
            let chunks = chunks.min(facts.pages);
            Ok(Cut::ByPage((0..chunks).map(|n| facts.pages * n / chunks).collect()))
        }
        Way::Key(key) => {
            let taken = marks.iter().flat_map(|m| &m.chunks).map(|c| c.range.clone()).collect();
            let bounds = if chunks > 1 { bounds(source, table, facts, &key, chunks).await? } else { vec![] };
            Ok(Cut::ByKey(key, key_range::cut(key_range::rest(taken), bounds)))
        }
    }
}

/// Keys that cut the table into parts of about the same number of rows, from a sample of its pages.
async fn bounds(source: &mut Session, table: &TableName, facts: &Facts, key: &Key, chunks: i64) -> Result<Vec<Bound>> {
    let (each, least) = SAMPLE_PAGES;
    let percent = 100.0 * (chunks * each).max(least) as f64 / facts.pages.max(1) as f64;
    let sample = if percent < 100.0 { format!(" TABLESAMPLE SYSTEM ({percent:.6})") } else { String::new() };
    let column = quote_ident(&key.column);
    let sql = format!(
        "SELECT DISTINCT ON (s.part) s.k::pg_catalog.text FROM (SELECT t.{column} AS k, pg_catalog.ntile({chunks}) OVER (ORDER BY t.{column}) AS part \
         FROM ONLY {} AS t{sample}) AS s WHERE s.part > 1 ORDER BY s.part, s.k",
        table.quoted()
    );
    let rows = source.run(&sql, &format!("sample the keys of table \"{table}\"")).await?;
    rows.iter().filter_map(|row| row[0].as_deref()).map(|text| Bound::read(key.key_type, text)).collect()
}

/// The condition under which a row of the source belongs to each chunk.
pub fn conditions(cut: &Cut) -> Vec<(KeyRange, String)> {
    match cut {
        Cut::Whole => vec![(KeyRange::default(), "true".to_owned())],
        Cut::ByKey(key, ranges) => ranges.iter().map(|r| (r.clone(), in_range(&key.column, r))).collect(),
        Cut::ByPage(firsts) => {
            let ends = firsts.iter().skip(1).map(Some).chain([None]);
            let condition = |(first, end): (&i64, Option<&i64>)| {
                let end = end.map(|end| format!(" AND ctid OPERATOR(pg_catalog.<) '({end},0)'")).unwrap_or_default();
                (KeyRange::default(), format!("ctid OPERATOR(pg_catalog.>=) '({first},0)'{end}"))
            };
            firsts.iter().zip(ends).map(condition).collect()
        }
    }
}
