//! Looks at the source now and then: tables that came or went, sessions that a copy keeps waiting.

use std::{collections::HashSet, time::Duration};

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
    stream::publication::{SourceTable, source_tables},
};

/// How often sessions that wait for a copy's lock are looked for.
const QUEUES_EVERY: Duration = Duration::from_secs(1);

/// How many of those go between two looks at the tables.
const TABLES_EVERY: u32 = 5;

/// Watches for ever. `names`: the task's tables.
///
/// Errors: `ShapeChanged` when a partition came whose rows the stream does not bring.
pub async fn run(c: &Context, names: &[TableName]) -> Result<()> {
    let source = c.source("watch").await?;
    let mut told = HashSet::new();
    loop {
        tables(c, &source, names, &mut told).await?;
        for _ in 0..TABLES_EVERY {
            lock_queues(c, &source, &mut told).await?;
            tokio::time::sleep(QUEUES_EVERY).await;
        }
    }
}

async fn tables(c: &Context, source: &Client, names: &[TableName], told: &mut HashSet<String>) -> Result<()> {
    let now = source_tables(source).await?;
    let selection = c.row.selection()?;
    // Partitions of a table of the task belong to it, whatever they are called.
    let parents: HashSet<u32> = now.iter().filter(|t| names.contains(&t.table)).flat_map(|t| t.ancestors.iter().copied()).collect();
    let selected = |t: &SourceTable| {
        selection.matches(&t.table.schema, &t.table.name) || (t.is_partition && t.ancestors.iter().any(|a| parents.contains(a)))
    };
    for table in now.iter().filter(|t| !t.partitioned && !names.contains(&t.table) && selected(t)) {
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
    for name in names.iter().filter(|n| !now.iter().any(|t| t.table == **n)) {
        let finding = Finding {
            item: "dropped_table",
            severity: Severity::Warning,
            object: name.to_string(),
            message: format!("table \"{name}\" is gone from the source; its rows stay on the peer"),
            fix: Some(format!("DROP TABLE {} on the peer, when it is not needed there.", name.quoted())),
        };
        tell(c, told, "dropped_table", finding).await?;
    }
    Ok(())
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
