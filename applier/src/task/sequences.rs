//! Sequences follow: their positions are set on the peer, exactly as they are on the source.
//!
//! Those that the peer had before the task (`existing_objects = keep`), and all of a two-way task, never go back: somebody has used what
//! they gave.
//!
//! They are read after the rows they numbered are on the peer, so the peer's are never behind.

use std::collections::{HashMap, HashSet};

use pgrelay_core::{
    Result,
    name::{quote_literal, quote_qualified},
    task::ExistingObjects,
};
use tokio_postgres::{Client, error::SqlState};

use super::context::Context;
use crate::pg::server_error;

/// Sequences read with one statement.
const AT_ONCE: usize = 500;

/// What the peer was told last.
#[derive(Default)]
pub struct Positions {
    told: HashMap<(String, String), (i64, bool)>,
}

/// A sequence by schema and name, with its last value and whether that was given.
type News = ((String, String), (i64, bool));

impl Positions {
    /// Sets on the peer what has changed on the source since the last call.
    pub async fn follow(&mut self, source: &Client, peer: &Client, c: &Context) -> Result<()> {
        let (keeps, is_two_way) = (c.options().existing_objects == ExistingObjects::Keep, c.options().is_two_way());
        let made = made(peer, &c.names.origin).await?;
        let own = |name: &(String, String)| is_two_way || (keeps && !made.contains(&format!("sequence {}.{}", name.0, name.1)));
        let names = selected(source, &made, c).await?;
        for some in names.chunks(AT_ONCE) {
            let read = some.iter().map(|(schema, name)| {
                let (s, n) = (quote_literal(schema), quote_literal(name));
                format!("SELECT {s}::text, {n}::text, last_value, is_called FROM {}", quote_qualified(schema, name))
            });
            let sql = read.collect::<Vec<_>>().join(" UNION ALL ");
            match source.query(&sql, &[]).await {
                Ok(rows) => {
                    let news: Vec<News> = rows.iter().map(read_position).filter(|(name, at)| self.told.get(name) != Some(at)).collect();
                    if !news.is_empty() {
                        self.tell_if_it_follows(peer, &c.names.origin, news, own).await?;
                    }
                }
                // One was dropped since they were listed: the next round does without it.
                Err(e) if e.code() == Some(&SqlState::UNDEFINED_TABLE) => {}
                Err(e) => return Err(server_error(e, "read the sequences")),
            }
        }
        Ok(())
    }

    /// What gives other values on each side does not follow, nor begins to meanwhile: `interleave` writes to the table before anything.
    async fn tell_if_it_follows(
        &mut self,
        peer: &Client,
        key: &str,
        mut news: Vec<News>,
        own: impl Fn(&(String, String)) -> bool,
    ) -> Result<()> {
        let failed = |e| server_error(e, "set the sequences on the peer");
        peer.batch_execute("BEGIN; LOCK TABLE pgrelay_peer.sequence IN SHARE MODE").await.map_err(failed)?;
        let told = async {
            let sql = "SELECT schema_name, sequence_name FROM pgrelay_peer.sequence WHERE task_key = $1";
            let apart = peer.query(sql, &[&key]).await.map_err(failed)?;
            let apart: HashSet<(String, String)> = apart.iter().map(|r| (r.get(0), r.get(1))).collect();
            news.retain(|(name, _)| !apart.contains(name));
            self.tell(peer, news, own).await
        };
        let told = told.await;
        peer.batch_execute(if told.is_ok() { "COMMIT" } else { "ROLLBACK" }).await.map_err(failed)?;
        told
    }

    async fn tell(&mut self, peer: &Client, news: Vec<News>, own: impl Fn(&(String, String)) -> bool) -> Result<()> {
        let (own, news): (Vec<News>, Vec<News>) = news.into_iter().partition(|(name, _)| own(name));
        for (name, (value, called)) in own {
            advance(peer, &name, value, called).await?;
            self.told.insert(name, (value, called));
        }
        if news.is_empty() {
            return Ok(());
        }
        let schemas: Vec<&str> = news.iter().map(|((s, _), _)| s.as_str()).collect();
        let names: Vec<&str> = news.iter().map(|((_, n), _)| n.as_str()).collect();
        let values: Vec<i64> = news.iter().map(|(_, (v, _))| *v).collect();
        let called: Vec<bool> = news.iter().map(|(_, (_, c))| *c).collect();
        let sql = include_str!("../../../sql/query/apply/set_sequences.sql");
        peer.query(sql, &[&schemas, &names, &values, &called]).await.map_err(|e| server_error(e, "set the sequences on the peer"))?;
        self.told.extend(news);
        Ok(())
    }
}

fn read_position(row: &tokio_postgres::Row) -> News {
    ((row.get(0), row.get(1)), (row.get(2), row.get(3)))
}

/// The task's sequences by schema and name: those that it selects, those that it made because a selected object needs them, and those of
/// its extensions. `made`: what stands on the peer of that.
pub async fn selected(source: &Client, made: &HashSet<String>, c: &Context) -> Result<Vec<(String, String)>> {
    let selection = c.row.selection()?;
    let sql = include_str!("../../../sql/query/source/sequences.sql");
    let rows = source.query(sql, &[]).await.map_err(|e| server_error(e, "list the sequences"))?;
    let wanted = |row: &tokio_postgres::Row| {
        let (schema, name, extension): (String, String, Option<String>) = (row.get(0), row.get(1), row.get(2));
        let comes = match extension {
            Some(extension) => {
                let excluded = selection.exclude.iter().any(|p| p.matches(&schema, &name));
                made.contains(&format!("extension {extension}")) && !excluded
            }
            None => made.contains(&format!("sequence {schema}.{name}")),
        };
        let ours = (comes || selection.matches(&schema, &name)) && !made.contains(&format!("position of sequence {schema}.{name}"));
        ours.then_some((schema, name))
    };
    Ok(rows.iter().filter_map(wanted).collect())
}

/// Moves a sequence of the peer's own on, never back.
async fn advance(peer: &Client, (schema, name): &(String, String), value: i64, called: bool) -> Result<()> {
    let quoted = quote_qualified(schema, name);
    let there = peer.query_one("SELECT pg_catalog.to_regclass($1) IS NOT NULL", &[&quoted]).await;
    let failed = |e| server_error(e, "set the sequences on the peer").object(format!("{schema}.{name}"));
    if !there.map_err(failed)?.get::<_, bool>(0) {
        return Ok(());
    }
    let sql = include_str!("../../../sql/query/apply/advance_sequence.sql").replace("{sequence}", &quoted);
    peer.query(&sql, &[&quoted, &value, &called]).await.map(drop).map_err(failed)
}

/// Marks of the sequences and extensions that the task has made on the peer, and of the positions that it leaves out.
pub async fn made(peer: &Client, key: &str) -> Result<HashSet<String>> {
    let sql = "SELECT identity FROM pgrelay_peer.object \
               WHERE task_key = $1 AND (pg_catalog.starts_with(identity, 'sequence ') OR pg_catalog.starts_with(identity, 'extension ')) \
               UNION ALL SELECT identity FROM pgrelay_peer.left_out \
               WHERE task_key = $1 AND pg_catalog.starts_with(identity, 'position of sequence ')";
    let rows = peer.query(sql, &[&key]).await.map_err(|e| server_error(e, "read the marks on the peer"))?;
    Ok(rows.iter().map(|r| r.get(0)).collect())
}
