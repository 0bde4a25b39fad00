//! Writes how far the task is, and moves it between copying, catching_up and running.
//!
//! Lag is measured against the source's own WAL position: each position seen is remembered with its time, and the lag
//! is the age of the oldest one that is not applied. So an idle source shows none, and no heartbeat table is needed: the source's
//! keepalives tell how far its WAL holds nothing for the task, whoever has written it.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use pgrelay_core::{Lsn, Result, name::TableName, state::Actual};
use tokio::{sync::watch, time::Instant};
use tokio_postgres::Client;

use super::{
    context::Context,
    speed::{CopySpeed, Speed},
};
use crate::{
    pg::server_error,
    progress::{Progress, StreamProgress, TableProgress, TableState},
    store::{Counts, Event, Level, ProgressRow, TableRow},
};

/// How often it is looked.
const PERIOD: Duration = Duration::from_millis(500);

/// How often it is written though nothing has changed: each write is WAL on the source.
const SILENCE: Duration = Duration::from_secs(10);

/// How often it is told that sets of changes were applied again.
const REPLAYED_EVERY: Duration = Duration::from_secs(60);

/// `running` means less than this behind.
const RUNNING_LAG: Duration = Duration::from_secs(5);

/// Reports for ever. Without `at_one_position` there is no stream.
pub async fn run(c: &Context, at_one_position: Option<watch::Receiver<bool>>) -> Result<()> {
    let source = c.source("report").await?;
    let mut reporter = Reporter {
        c,
        written: None,
        tables: HashMap::new(),
        lag: Lag::default(),
        missing_told: false,
        suppressed_told: false,
        replayed_told: None,
        streams: at_one_position.is_some(),
        copy: CopySpeed::default(),
        failing: None,
        passed: Speed::default(),
    };
    loop {
        let streaming = at_one_position.as_ref().is_some_and(|at| *at.borrow());
        reporter.report(&source, streaming).await?;
        tokio::time::sleep(PERIOD).await;
    }
}

/// Writes the tables once, as they are at the end.
pub async fn write_tables(c: &Context) -> Result<()> {
    let rows: Vec<TableRow> = c.progress().tables().iter().map(|(t, p)| table_row(t, p, None)).collect();
    c.store.tables(c.row.id, &rows).await
}

/// Writes what was applied since it was looked last, when a try has ended.
pub async fn write_counts(c: &Context) -> Result<()> {
    let counts = c.progress().counts();
    if counts == Counts::default() { Ok(()) } else { c.store.write_counts(&c.row, counts).await }
}

/// Writes once how many objects of the schema are made.
pub async fn write_objects(c: &Context) -> Result<()> {
    let objects = c.progress().objects();
    let row = ProgressRow { objects_done: objects.map(|o| o.0), objects_total: objects.map(|o| o.1), ..ProgressRow::default() };
    c.store.progress(&c.row, &row).await
}

struct Reporter<'a> {
    c: &'a Context,
    written: Option<(Instant, ProgressRow)>,
    tables: HashMap<TableName, TableRow>,
    lag: Lag,
    missing_told: bool,
    suppressed_told: bool,
    /// How many had been applied again when that was told last, and when.
    replayed_told: Option<(i64, Instant)>,
    streams: bool,
    copy: CopySpeed,
    /// What was written last of tables that cannot be copied.
    failing: Option<(Event, usize)>,
    /// Rows and bytes copied, rows and bytes applied, seconds in which a limit of the copy, of the stream was waited for.
    passed: Speed<6>,
}

impl Reporter<'_> {
    async fn report(&mut self, source: &Client, streaming: bool) -> Result<()> {
        let progress = self.c.progress();
        let tables = progress.tables();
        self.write_tables(&tables).await?;
        self.tell_failing(&progress).await?;
        let (passed, copying) = (self.passed(), tables.iter().any(|(_, p)| p.state < TableState::FinishedCopy));
        let speed = passed.map(|[rows, bytes, ..]| [rows, bytes]);
        let left = if copying { self.copy.time_left(Instant::now(), &tables) } else { None };
        let now = progress.stream_now();
        let (missing, suppressed) = (now.deletes_missing, now.suppressed);
        self.tell_replayed(&now).await?;
        let lag = if streaming { Some(self.measure(source, &now).await?) } else { None };
        let objects = progress.objects();
        let row = ProgressRow {
            received: positive(now.received),
            applied: now.applied,
            confirmed: positive(now.confirmed),
            lag_bytes: lag.map(|l| l.bytes),
            lag_seconds: lag.map(|l| l.age.as_secs_f64()),
            oldest_unapplied_commit: now.applying_since,
            counts: progress.counts(),
            replay_reason: now.replay_reason.clone(),
            on_peer: positive(now.on_peer),
            objects_done: objects.map(|o| o.0),
            objects_total: objects.map(|o| o.1),
            rows_pending: self.streams.then(|| progress.pending_rows()),
            speed: if copying { speed } else { passed.map(|[_, _, rows, bytes, ..]| [rows, bytes]) },
            copy_seconds_left: left.map(|l| l.as_secs_f64()),
            throttle: self.c.throttle.limits().to_json(),
            throttled: passed.map(|[.., copy, stream]| copy.max(stream).min(1.0)),
        };
        if self.is_news(&row) {
            self.c.store.progress(&self.c.row, &row).await?;
            self.written = Some((Instant::now(), row));
        }
        self.tell_missing(missing).await?;
        self.tell_suppressed(suppressed).await?;
        let Some(lag) = lag else { return Ok(()) };
        let state = if progress.schema_done() && lag.caught_up && lag.age < RUNNING_LAG { Actual::Running } else { Actual::CatchingUp };
        if self.c.state_now() != state { self.c.state(state, None).await } else { Ok(()) }
    }

    /// A table that cannot be copied stands in the task's status while the task goes on.
    async fn tell_failing(&mut self, progress: &Progress) -> Result<()> {
        let failing = progress.failing();
        if failing == self.failing {
            return Ok(());
        }
        let others = |n: usize| if n > 0 { format!(" (and {n} other table(s) could not be copied)") } else { String::new() };
        let error = failing.clone().map(|(first, n)| Event { message: first.message.clone() + &others(n), ..first });
        self.c.store.set_error(&self.c.row, error.as_ref()).await?;
        self.failing = failing;
        Ok(())
    }

    /// Deletes that met no row change nothing, but say that somebody else has written on the peer.
    async fn tell_missing(&mut self, missing: i64) -> Result<()> {
        if missing == 0 || self.missing_told {
            return Ok(());
        }
        self.missing_told = true;
        let message = format!("{missing} or more deletes met no row on the peer");
        let hint = "The rows were gone already. Nothing but pgrelay should write to the peer's tables.";
        self.c.event(Event::new(Level::Warning, "delete_missing", message).hint(hint)).await
    }

    /// The peer then differs from the source, as whoever made its triggers wants it.
    async fn tell_suppressed(&mut self, suppressed: i64) -> Result<()> {
        if suppressed == 0 || self.suppressed_told {
            return Ok(());
        }
        self.suppressed_told = true;
        let message = format!("{suppressed} or more changes were kept away by triggers or rules of the peer");
        let hint = "Triggers and rules that are ENABLE ALWAYS or REPLICA run while changes are applied; disable them if that is not meant.";
        self.c.event(Event::new(Level::Warning, "changes_suppressed", message).hint(hint)).await
    }

    /// Nothing is wrong, but it takes time: once more row by row.
    async fn tell_replayed(&mut self, now: &StreamProgress) -> Result<()> {
        let Some(reason) = &now.replay_reason else { return Ok(()) };
        if self.replayed_told.is_some_and(|(told, at)| told == now.replayed || at.elapsed() < REPLAYED_EVERY) {
            return Ok(());
        }
        self.replayed_told = Some((now.replayed, Instant::now()));
        let message = format!("{} groups of transactions were applied again row by row, the last since: {reason}", now.replayed);
        self.c.event(Event::new(Level::Info, "applied_row_by_row", message)).await
    }

    /// Positions alone move with every write of our own, so they are no news by themselves.
    fn is_news(&self, row: &ProgressRow) -> bool {
        let Some((at, before)) = &self.written else { return true };
        let changed = (row.lag_bytes, row.oldest_unapplied_commit, row.objects_done, row.rows_pending, row.speed, &row.throttle)
            != (before.lag_bytes, before.oldest_unapplied_commit, before.objects_done, before.rows_pending, before.speed, &before.throttle)
            || row.counts != before.counts
            || percent(row.throttled) != percent(before.throttled);
        changed || at.elapsed() >= SILENCE
    }

    async fn measure(&mut self, source: &Client, now: &StreamProgress) -> Result<Behind> {
        let sql = "SELECT pg_catalog.pg_current_wal_lsn()::text, \
                   (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - timestamptz '2000-01-01 00:00:00+00') * 1000000)::bigint";
        let row = source.query_one(sql, &[]).await.map_err(|e| server_error(e, "read the source's WAL position"))?;
        let wal: Lsn = row.get::<_, &str>(0).parse()?;
        let mut behind = self.lag.measure(Instant::now(), wal, now.applied.unwrap_or_default());
        if let Some(since) = now.applying_since
            && !behind.caught_up
        {
            // What was written before we came is as old as the commit that is being applied.
            let age = row.get::<_, i64>(1).saturating_sub(since).max(0) as u64;
            behind.age = behind.age.max(Duration::from_micros(age));
        }
        Ok(behind)
    }

    /// Per second, over the last seconds.
    fn passed(&mut self) -> Option<[f64; 6]> {
        let passed = self.c.throttle.passed();
        let sums = [passed.rows_copied, passed.bytes_copied, passed.rows_applied, passed.bytes_applied];
        let held = [passed.copy_held, passed.stream_held].map(|held| held.as_secs_f64());
        let [rows_copied, bytes_copied, rows_applied, bytes_applied] = sums.map(|n| n as f64);
        self.passed.look(Instant::now(), [rows_copied, bytes_copied, rows_applied, bytes_applied, held[0], held[1]])
    }

    async fn write_tables(&mut self, tables: &[(TableName, TableProgress)]) -> Result<()> {
        let speeds = self.copy.of_tables(Instant::now(), tables);
        let rows = tables.iter().map(|(t, p)| table_row(t, p, speeds.get(t).copied()));
        let news: Vec<TableRow> = rows.filter(|row| self.tables.get(&row.table) != Some(row)).collect();
        if news.is_empty() {
            return Ok(());
        }
        self.c.store.tables(self.c.row.id, &news).await?;
        self.tables.extend(news.into_iter().map(|row| (row.table.clone(), row)));
        Ok(())
    }
}

fn positive(lsn: Lsn) -> Option<Lsn> {
    (lsn > Lsn(0)).then_some(lsn)
}

/// What is shown of a share of time.
fn percent(part: Option<f64>) -> Option<i64> {
    part.map(|part| (part * 100.0).round() as i64)
}

fn table_row(table: &TableName, p: &TableProgress, speed: Option<[f64; 2]>) -> TableRow {
    TableRow {
        table: table.clone(),
        state: p.state.word(),
        insert_only: p.insert_only,
        rows_estimated: p.rows_estimated,
        bytes_estimated: p.bytes_estimated,
        rows_copied: p.rows,
        rows_kept: p.rows_kept,
        bytes_copied: p.bytes,
        changes: p.changes,
        indexes: [p.indexes, p.indexes_total],
        speed,
    }
}

/// How far behind.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Behind {
    bytes: i64,
    age: Duration,
    /// Everything that was there when we came is applied; before that the age is only what we have seen of it.
    caught_up: bool,
}

/// Positions of the source's WAL that are not applied, with the time each was first seen.
#[derive(Debug, Default)]
struct Lag {
    began_at: Option<Lsn>,
    seen: VecDeque<(Instant, Lsn)>,
}

/// Positions remembered at most; past it every other one is forgotten, which the lag overstates by one step.
const SEEN_AT_MOST: usize = 4096;

impl Lag {
    fn measure(&mut self, at: Instant, wal: Lsn, applied: Lsn) -> Behind {
        let caught_up = applied >= *self.began_at.get_or_insert(wal);
        while self.seen.front().is_some_and(|(_, lsn)| *lsn <= applied) {
            self.seen.pop_front();
        }
        let oldest = self.seen.front().copied();
        if self.seen.back().is_none_or(|(_, lsn)| *lsn < wal) && wal > applied {
            self.seen.push_back((at, wal));
        }
        if self.seen.len() > SEEN_AT_MOST {
            let mut keep = false;
            self.seen.retain(|_| {
                keep = !keep;
                keep
            });
        }
        match oldest {
            // What was there at the last look is applied: nothing older than a moment waits.
            None if caught_up => Behind { bytes: 0, age: Duration::ZERO, caught_up },
            None => Behind { bytes: wal.0.saturating_sub(applied.0) as i64, age: Duration::ZERO, caught_up },
            Some((since, _)) => Behind { bytes: wal.0.saturating_sub(applied.0) as i64, age: at - since, caught_up },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_the_age_of_the_oldest_position_not_applied_and_none_on_an_idle_source() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let behind = |bytes, age| Behind { bytes, age, caught_up: true };
        let mut lag = Lag::default();
        assert_eq!(lag.measure(start, Lsn(100), Lsn(100)), behind(0, Duration::ZERO));
        assert_eq!(lag.measure(start + second, Lsn(200), Lsn(100)).bytes, 0, "it has just been written");
        assert_eq!(lag.measure(start + 3 * second, Lsn(300), Lsn(100)), behind(200, 2 * second));
        assert_eq!(lag.measure(start + 4 * second, Lsn(300), Lsn(200)), behind(100, second));
        assert_eq!(lag.measure(start + 5 * second, Lsn(300), Lsn(300)), behind(0, Duration::ZERO));
        assert_eq!(lag.measure(start + 60 * second, Lsn(300), Lsn(300)), behind(0, Duration::ZERO));
    }

    #[test]
    fn a_backlog_from_before_is_not_caught_up_with_at_the_first_look() {
        let start = Instant::now();
        let mut lag = Lag::default();
        assert_eq!(lag.measure(start, Lsn(900), Lsn(100)), Behind { bytes: 800, age: Duration::ZERO, caught_up: false });
        assert!(!lag.measure(start, Lsn(950), Lsn(899)).caught_up);
        assert!(lag.measure(start, Lsn(950), Lsn(900)).caught_up);
    }
}
