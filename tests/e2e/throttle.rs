//! A task goes no faster than it was told to, also while that is changed; and what it is told does not disturb it.

use std::time::{Duration, Instant};

use pgrelay_tests::Pair;
use pgrelay_tests::pair::{DB, TASK};
use pgrelay_tests::wait::{wait_for_value, wait_until};
use pgrelay_tests::ways::running;
use tokio_postgres::Client;

const MINUTE: Duration = Duration::from_secs(60);

/// The window of the rule.
const WINDOW: Duration = Duration::from_secs(5);

/// Three tables of 25 MB each, in rows of 500 bytes.
const TABLES: &str = "
    CREATE TABLE a (id int PRIMARY KEY, filler text);
    INSERT INTO a SELECT n, repeat('x', 488) FROM generate_series(1, 50000) n;
    CREATE TABLE b (id int PRIMARY KEY, filler text); INSERT INTO b SELECT * FROM a;
    CREATE TABLE c (id int PRIMARY KEY, filler text); INSERT INTO c SELECT * FROM a;
    ANALYZE";

/// How far something was, looked at between two moments.
#[derive(Debug, Clone, Copy)]
struct Sample {
    before: Instant,
    after: Instant,
    amount: f64,
}

async fn look(client: &Client, sql: &str) -> Sample {
    let before = Instant::now();
    let amount = client.query_one(sql, &[]).await.expect("a sample").get::<_, i64>(0) as f64;
    Sample { before, after: Instant::now(), amount }
}

/// Samples for a while, or until `sql` gives less than before: whatever was counted has ended.
async fn sample(client: &Client, sql: &str, time: Duration) -> Vec<Sample> {
    let mut samples = vec![look(client, sql).await];
    while samples[0].after.elapsed() < time {
        pgrelay_tests::wait::run_for(Duration::from_millis(50)).await;
        let next = look(client, sql).await;
        if samples.last().is_some_and(|last| next.amount < last.amount) {
            break;
        }
        samples.push(next);
    }
    samples
}

/// The most of any five seconds: two samples that surely lie no more than that apart.
fn most(samples: &[Sample]) -> f64 {
    let within =
        |from: &Sample| samples.iter().filter(|to| to.after <= from.before + WINDOW).map(|to| to.amount).fold(0.0, f64::max) - from.amount;
    samples.iter().map(within).fold(0.0, f64::max)
}

fn rate(samples: &[Sample]) -> f64 {
    let (first, last) = (samples[0], samples[samples.len() - 1]);
    (last.amount - first.amount) / (last.after - first.before).as_secs_f64()
}

/// One limit was in force all the time; `free` is what the same run does without one.
fn assert_kept(what: &str, samples: &[Sample], limit: f64, free: f64) {
    let (most, rate) = (most(samples), rate(samples));
    println!("{what}: limit {limit}, {rate:.0} per second, {most:.0} in five seconds, without a limit {free:.0}");
    assert!(most <= 1.1 * 5.0 * limit, "{what}: {most} in five seconds, {limit} per second were asked for");
    assert!(free < 3.0 * limit || rate >= 0.8 * limit, "{what}: {rate} of {limit} per second, {free} without a limit");
}

async fn alter(pair: &Pair, options: &str) {
    pair.source.psql(DB, &format!("SELECT pgrelay.alter_task('{TASK}', '{options}')")).await;
}

const COPIED: &str = "SELECT coalesce(sum(bytes_processed), 0)::bigint FROM pg_stat_progress_copy";

#[tokio::test]
async fn the_copy_of_all_tables_together_keeps_its_limit_also_when_that_is_changed() {
    let pair = Pair::start(TABLES).await;
    pair.start_task(r#"{"copy_jobs": 3, "throttle": {"copy_mb_per_s": 3}}"#).await;
    let (source, peer) = (pair.source_client().await, pair.peer_client().await);
    let workers = "SELECT (count(*) = 3)::text FROM pg_stat_progress_copy";
    wait_for_value(&peer, workers, "true", MINUTE).await;
    let sessions = "SELECT string_agg(pid::text, ' ' ORDER BY pid) FROM pg_stat_progress_copy";
    let pids: String = peer.query_one(sessions, &[]).await.unwrap().get(0);
    let first = sample(&peer, COPIED, Duration::from_secs(7)).await;

    let sql = "SELECT (throttle = '{\"copy_mb_per_s\": 3}' AND throttled > 80)::text FROM pgrelay.task_status";
    wait_for_value(&source, sql, "true", Duration::from_secs(10)).await;

    alter(&pair, r#"{"throttle": {"copy_mb_per_s": 1}}"#).await;
    let second = sample(&peer, COPIED, Duration::from_secs(6)).await;
    assert_eq!(peer.query_one(sessions, &[]).await.unwrap().get::<_, String>(0), pids, "the running copies go on");
    alter(&pair, r#"{"throttle": null}"#).await;
    let free = rate(&sample(&peer, COPIED, MINUTE).await);

    assert_kept("the copy", &first, 3e6, free);
    assert_kept("the copy, once lowered", &second, 1e6, free);
    pair.wait_for_state("running", MINUTE).await;
    let sql = "SELECT (throttle IS NULL AND throttled = 0)::text FROM pgrelay.task_status";
    wait_for_value(&source, sql, "true", Duration::from_secs(20)).await;
    pair.assert_equal_after_catchup(MINUTE).await;
}

#[tokio::test]
async fn the_copy_keeps_its_limit_of_rows_and_of_queries() {
    let small: String = (0..12).map(|n| format!("CREATE TABLE s{n:02} (id int PRIMARY KEY); INSERT INTO s{n:02} VALUES (1);")).collect();
    let rows = "CREATE TABLE r (id int PRIMARY KEY); INSERT INTO r SELECT generate_series(1, 600000); ANALYZE;";
    let pair = Pair::start(&format!("{small}{rows}")).await;
    let begun = Instant::now();
    pair.start_task(r#"{"copy_jobs": 2, "throttle": {"copy_rows_per_s": 2000, "copy_queries_per_s": 2}}"#).await;
    let (source, peer) = (pair.source_client().await, pair.peer_client().await);
    wait_for_value(
        &peer,
        "SELECT (sum(tuples_processed) > 0)::text FROM pg_stat_progress_copy WHERE relid = 'r'::regclass",
        "true",
        MINUTE,
    )
    .await;
    let rows = "SELECT coalesce(sum(tuples_processed), 0)::bigint FROM pg_stat_progress_copy WHERE relid = to_regclass('r')";
    let samples = sample(&peer, rows, Duration::from_secs(6)).await;
    wait_for_value(&source, "SELECT (count(*) = 12)::text FROM pgrelay.table_status WHERE rows = 1", "true", MINUTE).await;
    assert!(begun.elapsed() >= Duration::from_secs(6), "13 queries at 2 per second take six seconds: {:?}", begun.elapsed());
    alter(&pair, r#"{"throttle": {}}"#).await;
    let free = rate(&sample(&peer, rows, MINUTE).await);
    assert_kept("rows", &samples, 2000.0, free);
    pair.wait_for_state("running", MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
}

#[tokio::test]
async fn the_stream_keeps_its_limit_and_stays_alive_while_it_waits() {
    let pair = Pair::start_with("CREATE TABLE t (id int PRIMARY KEY)", "wal_sender_timeout = 3s", &[]).await;
    pair.start_task("{}").await;
    pair.wait_for_state("running", MINUTE).await;
    let (source, peer) = (pair.source_client().await, pair.peer_client().await);
    alter(&pair, r#"{"throttle": {"stream_rows_per_s": 500}}"#).await;
    let sql = "SELECT (throttle = '{\"stream_rows_per_s\": 500}')::text FROM pgrelay.task_status";
    wait_for_value(&source, sql, "true", Duration::from_secs(20)).await;
    let walsender = "SELECT active_pid::text FROM pg_replication_slots";
    let pid: String = source.query_one(walsender, &[]).await.unwrap().get(0);
    // Small transactions, then a large one.
    let insert = "DO $$ BEGIN FOR n IN 1..3000 LOOP INSERT INTO t VALUES (n); COMMIT; END LOOP; END $$";
    source.batch_execute(insert).await.unwrap();
    source.batch_execute("INSERT INTO t SELECT generate_series(3001, 40000)").await.unwrap();
    let count = "SELECT count(*) FROM t";
    let samples = sample(&peer, count, Duration::from_millis(5800)).await;
    let sql = "SELECT (throttled > 80 AND rows_pending > 10000 AND lag > interval '4 s' AND state = 'catching_up')::text FROM pgrelay.task_status";
    wait_for_value(&source, sql, "true", Duration::from_secs(10)).await;
    assert_eq!(source.query_one(walsender, &[]).await.unwrap().get::<_, String>(0), pid, "the connection outlives its timeout");

    // The large transaction waits in the middle; what it has paid for at the old rate does not hold it up.
    alter(&pair, r#"{"throttle": {"stream_rows_per_s": 100000}}"#).await;
    let begun = Instant::now();
    wait_until("all rows to be there", MINUTE, async || {
        let n: i64 = peer.query_one(count, &[]).await.map_err(|e| e.to_string())?.get(0);
        if n == 40000 { Ok(()) } else { Err(n.to_string()) }
    })
    .await;
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_kept("the stream", &samples, 500.0, 37000.0 / begun.elapsed().as_secs_f64());
    pair.assert_equal_after_catchup(MINUTE).await;
    let sql = "SELECT (rows_pending = 0 AND lag = '0' AND lag_bytes < 100000)::text FROM pgrelay.task_status";
    wait_for_value(&source, sql, "true", Duration::from_secs(20)).await;
}

#[tokio::test]
async fn one_wide_row_goes_no_faster_than_the_copy_may() {
    let wide = "CREATE TABLE wide (id int PRIMARY KEY, v text); ALTER TABLE wide ALTER v SET STORAGE EXTERNAL;
                INSERT INTO wide SELECT 1, repeat('w', 30000000); ANALYZE";
    let pair = Pair::start(wide).await;
    pair.start_task(r#"{"throttle": {"copy_mb_per_s": 1}}"#).await;
    let peer = pair.peer_client().await;
    wait_for_value(&peer, "SELECT (sum(bytes_processed) > 0)::text FROM pg_stat_progress_copy", "true", MINUTE).await;
    let samples = sample(&peer, COPIED, Duration::from_secs(7)).await;
    alter(&pair, r#"{"throttle": null}"#).await;
    let begun = Instant::now();
    pair.wait_for_state("running", MINUTE).await;
    // Most of it was left.
    assert_kept("a wide row", &samples, 1e6, 20e6 / begun.elapsed().as_secs_f64());
    pair.assert_equal_after_catchup(MINUTE).await;
}

#[tokio::test]
async fn the_stream_keeps_its_limit_of_bytes() {
    let pair = Pair::start("CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    pair.start_task("{}").await;
    pair.wait_for_state("running", MINUTE).await;
    let (source, peer) = (pair.source_client().await, pair.peer_client().await);
    alter(&pair, r#"{"throttle": {"stream_mb_per_s": 1}}"#).await;
    let sql = "SELECT (throttle = '{\"stream_mb_per_s\": 1}')::text FROM pgrelay.task_status";
    wait_for_value(&source, sql, "true", Duration::from_secs(20)).await;
    // 20 kB each, 12 MB in all.
    let insert = "DO $$ BEGIN FOR n IN 1..600 LOOP INSERT INTO t VALUES (n, repeat('v', 20000)); COMMIT; END LOOP; END $$";
    source.batch_execute(insert).await.unwrap();
    let samples = sample(&peer, "SELECT count(*) * 20000 FROM t", Duration::from_millis(6500)).await;
    alter(&pair, r#"{"throttle": null}"#).await;
    let (begun, there) = (Instant::now(), samples[samples.len() - 1].amount);
    pair.assert_equal_after_catchup(MINUTE).await;
    assert_kept("bytes of the stream", &samples, 1e6, (12e6 - there) / begun.elapsed().as_secs_f64());
}

/// Rows of many small transactions, then of one large one, all of which wait when the task is resumed: they are applied in sets.
#[tokio::test]
async fn a_backlog_applied_in_sets_keeps_the_limit() {
    let pair = Pair::start("CREATE TABLE filler (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY)").await;
    let pair = running(pair, "{}").await;
    let peer = pair.peer_client().await;
    let pause = format!("SELECT pgrelay.pause_task('{TASK}')");
    let resume = format!("SELECT pgrelay.resume_task('{TASK}')");
    pair.source.psql(DB, &pause).await;
    pair.wait_for_state("paused", MINUTE).await;
    pair.source
        .psql(DB, "DO $$ BEGIN FOR n IN 1..200 LOOP INSERT INTO t SELECT generate_series(n * 20, n * 20 + 19); COMMIT; END LOOP; END $$")
        .await;
    pair.source.psql(DB, "INSERT INTO t SELECT generate_series(100000, 160000)").await;
    alter(&pair, r#"{"throttle": {"stream_rows_per_s": 1000}}"#).await;
    pair.source.psql(DB, &resume).await;
    let counted = "SELECT count(*) FROM t";
    wait_until("the first rows", MINUTE, async || {
        let n: i64 = peer.query_one(counted, &[]).await.map_err(|e| e.to_string())?.get(0);
        if n > 0 { Ok(()) } else { Err(n.to_string()) }
    })
    .await;
    let small = sample(&peer, counted, Duration::from_secs(3)).await;
    let source = pair.source_client().await;
    let sql = "SELECT (throttled > 80 AND rows_pending > 10000)::text FROM pgrelay.task_status";
    wait_for_value(&source, sql, "true", MINUTE).await;
    let begun = Instant::now();
    alter(&pair, r#"{"throttle": null}"#).await;
    wait_until("all rows to be there", MINUTE, async || {
        let n: i64 = peer.query_one(counted, &[]).await.map_err(|e| e.to_string())?.get(0);
        if n == 64001 { Ok(()) } else { Err(n.to_string()) }
    })
    .await;
    let free = 58000.0 / begun.elapsed().as_secs_f64();
    assert!(free >= 3000.0, "too slow to tell: {free} rows per second without a limit");
    assert_kept("a backlog", &small, 1000.0, free);
    assert!(pair.applier.log_text().contains("applying many changes at once"), "the backlog was applied row by row");
    pair.assert_equal_after_catchup(MINUTE).await;
}
