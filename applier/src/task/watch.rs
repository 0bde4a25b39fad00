//! Looks at the source now and then: tables that came or went, sessions that a copy keeps waiting.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use pgrelay_core::{
    Error, Result,
    error::Kind,
    finding::{Finding, Severity},
    name::TableName,
};
use tokio_postgres::Client;

use super::context::Context;
use crate::{
    pg::server_error,
    store::{Event, Level},
    stream::publication::{SourceTable, keep_identities, published, source_tables},
};

/// How often sessions that wait for a copy's lock are looked for.
const QUEUES_EVERY: Duration = Duration::from_secs(1);

/// How many of those go between two looks at the tables.
const TABLES_EVERY: u32 = 5;

/// Watches for ever. `known`: the task's tables with their oids; `left_out`: tables that the peer cannot have.
///
/// Errors: `ShapeChanged` when a partition came whose rows the stream does not bring, `PositionLost` when a table was
/// taken out of the task's publications.
pub async fn run(c: &Context, known: &HashMap<TableName, u32>, left_out: &BTreeSet<TableName>) -> Result<()> {
    let source = c.source("watch").await?;
    let mut told = HashSet::new();
    loop {
        tables(c, &source, known, left_out, &mut told).await?;
        synchronous(c, &source, &mut told).await?;
        for _ in 0..TABLES_EVERY {
            lock_queues(c, &source, &mut told).await?;
            tokio::time::sleep(QUEUES_EVERY).await;
        }
    }
}

async fn tables(
    c: &Context,
    source: &Client,
    known: &HashMap<TableName, u32>,
    left_out: &BTreeSet<TableName>,
    told: &mut HashSet<String>,
) -> Result<()> {
    let now = source_tables(source).await?;
    let selection = c.row.selection()?;
    // Partitions of a table of the task belong to it, whatever they are called.
    let ours = |t: &SourceTable| known.get(&t.table) == Some(&t.oid);
    let parents: HashSet<u32> = now.iter().filter(|t| ours(t)).flat_map(|t| t.ancestors.iter().copied()).collect();
    let selected = |t: &SourceTable| {
        selection.matches(&t.table.schema, &t.table.name) || (t.is_partition && t.ancestors.iter().any(|a| parents.contains(a)))
    };
    let expected = |t: &SourceTable| ours(t) || left_out.contains(&t.table);
    for table in now.iter().filter(|t| !t.partitioned && !t.of_extension && !expected(t) && selected(t)) {
        let finding = Finding {
            item: "new_table",
            severity: Severity::Error,
            object: table.table.to_string(),
            message: format!("table \"{}\" came to the selection after the task began; its rows are not carried", table.table),
            fix: Some("Stop the task and start it anew, or leave the table out with exclude.".to_owned()),
        };
        tell(c, told, "new_table", finding).await?;
        if table.is_partition && !is_published(c, source, table).await? {
            return Err(Error::new(
                Kind::ShapeChanged,
                format!("partition \"{}\" came after the task began and its rows are not carried", table.table),
            )
            .object(table.table.to_string())
            .hint("Stop the task and start it anew, or detach the partition on the source."));
        }
    }
    let published = published(source, &c.names).await?.unwrap_or_default();
    keep_identities(source, c.row.id, &published, &now).await?;
    let published: HashSet<u32> = published.iter().map(|p| p.oid).collect();
    let there: HashMap<u32, &SourceTable> = now.iter().map(|t| (t.oid, t)).collect();
    for (name, oid) in known {
        match there.get(oid) {
            None => tell(c, told, "dropped_table", dropped(name)).await?,
            Some(table) if table.publishable && !published.contains(oid) => {
                return Err(Error::new(Kind::PositionLost, format!("table \"{name}\" was taken out of the task's publications"))
                    .object(name.to_string())
                    .hint("Its changes since then are not on the peer. Stop the task, empty the table on the peer, and start anew."));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn dropped(name: &TableName) -> Finding {
    Finding {
        item: "dropped_table",
        severity: Severity::Warning,
        object: name.to_string(),
        message: format!("table \"{name}\" is gone from the source; its rows stay on the peer"),
        fix: Some(format!("DROP TABLE {} on the peer, when it is not needed there.", name.quoted())),
    }
}

/// The application must never wait for the peer: not even because a setting names our connection by accident.
async fn synchronous(c: &Context, source: &Client, told: &mut HashSet<String>) -> Result<()> {
    let sql = "SELECT FROM pg_catalog.pg_stat_replication WHERE application_name = $1 AND sync_state <> 'async'";
    let rows = source.query(sql, &[&stream_name(c)]).await.map_err(|e| server_error(e, "look at the source's standbys"))?;
    if !rows.is_empty() && told.insert("synchronous".to_owned()) {
        let message = "synchronous_standby_names makes commits on the source wait for the peer";
        let hint = "Name the standbys in synchronous_standby_names, without '*'.";
        c.event(Event::new(Level::Warning, "synchronous", message).hint(hint)).await?;
    }
    Ok(())
}

/// The name of the task's walsender.
pub fn stream_name(c: &Context) -> String {
    c.source_name("stream")
}

async fn tell(c: &Context, told: &mut HashSet<String>, event: &'static str, finding: Finding) -> Result<()> {
    if told.insert(format!("{event} {}", finding.object)) {
        c.store.add_finding(c.row.id, &finding).await?;
        c.event(Event::new(Level::Warning, event, finding.message).object(finding.object)).await?;
    }
    Ok(())
}

async fn is_published(c: &Context, source: &Client, table: &SourceTable) -> Result<bool> {
    let sql = "SELECT FROM pg_catalog.pg_publication p JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid \
               WHERE p.pubname IN ($1, $2) AND r.prrelid = ANY ($3)";
    let rows = source.query(sql, &[&c.names.publication, &c.names.publication_insert_only, &table.ancestors]).await;
    Ok(!rows.map_err(|e| server_error(e, "read the publications"))?.is_empty())
}

async fn lock_queues(c: &Context, source: &Client, told: &mut HashSet<String>) -> Result<()> {
    let sql = include_str!("../../../sql/query/source/lock_queues.sql");
    let application_name = format!("{} copy", c.names.origin);
    let rows = source.query(sql, &[&application_name]).await.map_err(|e| server_error(e, "look for waiting sessions"))?;
    for row in rows {
        let (pid, table): (i32, String) = (row.get("pid"), row.get("table_name"));
        if told.insert(format!("lock_queue {pid} {table}")) {
            let message = format!("session {pid} waits for the copy of table \"{table}\" to end, and others may wait behind it");
            let event = Event::new(Level::Warning, "lock_queue", message).object(table);
            c.event(event.hint("Let it wait, or cancel its statement with pg_cancel_backend().")).await?;
        }
    }
    Ok(())
}

/// While the slot is being made: tells whom it waits for. Never ends well.
pub async fn tell_long_transactions(c: &Context, source: &Client) -> Result<()> {
    let sql = include_str!("../../../sql/query/source/oldest_transaction.sql");
    let mut told = HashSet::new();
    loop {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let row = source.query_opt(sql, &[]).await.map_err(|e| server_error(e, "look for running transactions"))?;
        let Some(row) = row else { continue };
        let (who, age): (String, String) = (row.get("who"), row.get("age"));
        if told.insert(who.clone()) {
            let message = format!("the slot waits for running transactions to end, the oldest is {who}, {age} old");
            c.event(Event::new(Level::Warning, "slot_wait", message).hint("The task goes on by itself when that transaction ends."))
                .await?;
        }
    }
}
