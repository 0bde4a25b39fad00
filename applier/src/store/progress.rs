//! Progress of a task for display: positions, lag, rows and bytes. What counts is on the peer.

use pgrelay_core::{Lsn, Result, name::TableName};

use super::{Store, TaskRow};

/// What `task_status` shows of the stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProgressRow {
    /// Received from the source.
    pub received: Option<Lsn>,
    /// Everything committed before is on the peer.
    pub applied: Option<Lsn>,
    /// The source may forget what lies before.
    pub confirmed: Option<Lsn>,
    /// WAL on the source that is not applied, 0 when nothing waits.
    pub lag_bytes: Option<i64>,
    /// How long the oldest of it has waited, in seconds.
    pub lag_seconds: Option<f64>,
    /// Microseconds since 2000.
    pub oldest_unapplied_commit: Option<i64>,
    /// What was applied.
    pub counts: Counts,
    /// Why what was applied again last had to be.
    pub replay_reason: Option<String>,
    /// A position that the peer has reached.
    pub on_peer: Option<Lsn>,
    /// Objects of the schema made so far.
    pub objects_done: Option<i32>,
    /// Objects of the schema to make.
    pub objects_total: Option<i32>,
    /// Changes of rows that were received and are not on the peer.
    pub rows_pending: Option<i64>,
    /// Rows and bytes per second, copied or applied.
    pub speed: Option<[f64; 2]>,
    /// Until the rows of all tables are there, in seconds.
    pub copy_seconds_left: Option<f64>,
    /// Limits in force, null when none is.
    pub throttle: serde_json::Value,
    /// Part of the time in which they keep the task waiting, 0 to 1.
    pub throttled: Option<f64>,
}

/// What the stream has applied since the task started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Transactions of the source.
    pub transactions: i64,
    /// Changes.
    pub changes: i64,
    /// Groups applied again row by row.
    pub replayed: i64,
}

/// What `table_status` shows of one table.
#[derive(Debug, Clone, PartialEq)]
pub struct TableRow {
    /// The table, by its names on the source.
    pub table: TableName,
    /// A state as in `pg_subscription_rel`, in words.
    pub state: &'static str,
    /// Updates and deletes are not carried.
    pub insert_only: bool,
    /// From the source's statistics.
    pub rows_estimated: i64,
    /// Size on the source.
    pub bytes_estimated: i64,
    /// By the copy.
    pub rows_copied: i64,
    /// Left out by the copy, since the peer's stay.
    pub rows_kept: i64,
    /// By the copy, as they crossed the wire.
    pub bytes_copied: i64,
    /// By the stream: inserts, updates, deletes, truncates.
    pub changes: [i64; 4],
    /// Indexes and keys on the peer, and how many there will be.
    pub indexes: [i64; 2],
    /// Rows and bytes per second while it is copied.
    pub speed: Option<[f64; 2]>,
}

impl Store {
    /// Writes what `task_status` shows.
    pub async fn progress(&self, task: &TaskRow, row: &ProgressRow) -> Result<()> {
        let text = |lsn: Option<Lsn>| lsn.map(|l| l.to_string());
        let (received, applied, confirmed) = (text(row.received), text(row.applied), text(row.confirmed));
        let on_peer = text(row.on_peer);
        let throttle = (!row.throttle.is_null()).then_some(&row.throttle);
        let sql = include_str!("../../../sql/store/write_progress.sql");
        self.write(
            "write the progress",
            sql,
            &[
                &task.id,
                &received,
                &applied,
                &confirmed,
                &row.lag_bytes,
                &row.lag_seconds,
                &row.oldest_unapplied_commit,
                &row.counts.transactions,
                &row.counts.changes,
                &row.objects_done,
                &row.objects_total,
                &on_peer,
                &row.rows_pending,
                &row.speed.map(|s| s[0]),
                &row.speed.map(|s| s[1]),
                &row.copy_seconds_left,
                &throttle,
                &row.throttled,
                &row.counts.replayed,
                &row.replay_reason,
                &task.direction.as_str(),
            ],
        )
        .await
        .map(drop)
    }

    /// What a task's direction has applied so far, as it was written last.
    pub async fn counts(&self, task: &TaskRow) -> Result<Counts> {
        let found =
            self.rows("read the progress", include_str!("../../../sql/store/counts.sql"), &[&task.id, &task.direction.as_str()]).await?;
        Ok(found.first().map_or_else(Counts::default, |row| Counts { transactions: row.get(0), changes: row.get(1), replayed: row.get(2) }))
    }

    /// Writes what a task's direction has applied so far, and nothing else.
    pub async fn write_counts(&self, task: &TaskRow, counts: Counts) -> Result<()> {
        let Counts { transactions, changes, replayed } = counts;
        let sql = include_str!("../../../sql/store/write_counts.sql");
        self.write("write the progress", sql, &[&task.id, &task.direction.as_str(), &transactions, &changes, &replayed]).await.map(drop)
    }

    /// Writes what `table_status` shows of some tables.
    pub async fn tables(&self, task_id: i64, tables: &[TableRow]) -> Result<()> {
        let numbers = |f: fn(&TableRow) -> i64| tables.iter().map(f).collect::<Vec<i64>>();
        let speeds = |n: usize| tables.iter().map(|t| t.speed.map(|s| s[n])).collect::<Vec<Option<f64>>>();
        let schemas: Vec<&str> = tables.iter().map(|t| t.table.schema.as_str()).collect();
        let names: Vec<&str> = tables.iter().map(|t| t.table.name.as_str()).collect();
        let states: Vec<&str> = tables.iter().map(|t| t.state).collect();
        let insert_only: Vec<bool> = tables.iter().map(|t| t.insert_only).collect();
        self.write(
            "write the progress of tables",
            include_str!("../../../sql/store/write_tables.sql"),
            &[
                &task_id,
                &schemas,
                &names,
                &states,
                &insert_only,
                &numbers(|t| t.rows_estimated),
                &numbers(|t| t.bytes_estimated),
                &numbers(|t| t.rows_copied),
                &numbers(|t| t.bytes_copied),
                &numbers(|t| t.changes[0]),
                &numbers(|t| t.changes[1]),
                &numbers(|t| t.changes[2]),
                &numbers(|t| t.changes[3]),
                &numbers(|t| t.indexes[0]),
                &numbers(|t| t.indexes[1]),
                &speeds(0),
                &speeds(1),
                &numbers(|t| t.rows_kept),
            ],
        )
        .await
        .map(drop)
    }
}
