//! Transactions that the source sends while they are in progress: nothing early, nothing that was rolled back, each once.

use std::time::Duration;

use pgrelay_tests::pair::DB;
use pgrelay_tests::process::TempFolder;
use pgrelay_tests::wait::{wait_for_value, wait_until};
use pgrelay_tests::{Applier, Pair};
use tokio_postgres::Client;

const MINUTE: Duration = Duration::from_secs(60);

/// So that a thousand rows are a large transaction.
const SMALL: &str = "logical_decoding_work_mem = '64kB'";

const TASK_OPTIONS: &str = r#"{"keyless": "insert_only", "acknowledge_warnings": true}"#;

const TABLES: &str = "
    CREATE TABLE t (id int PRIMARY KEY, v text);
    INSERT INTO t SELECT n, 'old' FROM generate_series(1, 1000) n;
    CREATE TABLE emptied (id int PRIMARY KEY, v text);
    INSERT INTO emptied SELECT n, 'old' FROM generate_series(1, 100) n;
    CREATE TABLE kept (id int PRIMARY KEY);
    INSERT INTO kept SELECT generate_series(1, 100);
    CREATE TABLE log (n bigint, filler text);
    CREATE TABLE twins (n int, v text);
    ALTER TABLE twins REPLICA IDENTITY FULL;
    INSERT INTO twins SELECT n / 10, 'same' FROM generate_series(1, 100) n;";

async fn streaming_pair(sql: &str, conf: &str) -> Pair {
    let pair = begin(sql, conf).await;
    start_streaming(&pair, TASK_OPTIONS).await;
    pair
}

async fn begin(sql: &str, conf: &str) -> Pair {
    let mut pair = Pair::start_with(sql, conf, &[]).await;
    pair.applier = Applier::start_with(&pair.source, DB, &["--log-level", "info,pgrelay_applier=debug"], &[]);
    pair
}

async fn start_streaming(pair: &Pair, options: &str) {
    pair.start_task(options).await;
    pair.wait_for_state("running", MINUTE).await;
    // From then on large transactions come while they are in progress.
    wait_until("the stream to be begun anew", MINUTE, async || {
        if pair.applier.log_text().contains("mode=InProgress") { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
}

fn rows(table: &str, from: u32) -> String {
    format!("INSERT INTO {table} SELECT n, repeat(md5(n::text), 10) FROM generate_series({from}, {}) n", from + 1999)
}

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|e| panic!("{e:?}: {sql}"));
}

/// Waits until the applier writes in a transaction of the peer, or has none.
async fn wait_for_open_transaction(peer: &Client, open: bool) {
    let sql = "SELECT (count(backend_xid) > 0)::text FROM pg_stat_activity WHERE application_name LIKE '% apply'";
    wait_for_value(peer, sql, if open { "true" } else { "false" }, MINUTE).await;
}

#[tokio::test]
async fn what_was_rolled_back_within_a_large_transaction_never_arrives() {
    let pair = streaming_pair(TABLES, SMALL).await;
    let source = pair.source_client().await;
    for sql in [
        "BEGIN".to_owned(),
        rows("t", 10_000),
        "UPDATE twins SET v = 'changed' WHERE ctid = (SELECT min(ctid) FROM twins WHERE n = 3)".to_owned(),
        "SAVEPOINT a; DELETE FROM t WHERE id <= 10; UPDATE t SET v = 'gone' WHERE id BETWEEN 100 AND 200".to_owned(),
        rows("t", 20_000),
        rows("log", 0),
        "ROLLBACK TO a; SAVEPOINT b; UPDATE t SET v = 'kept' WHERE id BETWEEN 150 AND 250; RELEASE b".to_owned(),
        "SAVEPOINT c; TRUNCATE kept; INSERT INTO kept VALUES (-1); ROLLBACK TO c".to_owned(),
        "TRUNCATE emptied".to_owned(),
        rows("emptied", 50),
        "SAVEPOINT d; ALTER TABLE t ADD COLUMN gone int; UPDATE t SET gone = id WHERE id > 10000; ROLLBACK TO d".to_owned(),
        "SAVEPOINT e; SAVEPOINT f; DELETE FROM twins WHERE n = 5; RELEASE f; ROLLBACK TO e".to_owned(),
        rows("log", 100_000),
        "DELETE FROM twins WHERE n = 4".to_owned(),
        "COMMIT".to_owned(),
    ] {
        run(&source, &sql).await;
    }
    run(&source, "INSERT INTO log VALUES (-1, 'after'); UPDATE t SET v = 'after' WHERE id = 1").await;
    pair.assert_equal_after_catchup(MINUTE).await;
}

#[tokio::test]
async fn a_column_that_comes_in_the_middle_of_a_large_transaction() {
    // Tables that the task has not made may have columns of the peer's own.
    let pair = begin(TABLES, SMALL).await;
    pair.peer.psql(DB, &format!("{TABLES} TRUNCATE t, emptied, kept, log, twins; ALTER TABLE t ADD COLUMN more int")).await;
    let options = r#"{"stages": ["copy", "stream"], "keyless": "insert_only", "acknowledge_warnings": true}"#;
    start_streaming(&pair, options).await;
    let (source, other) = (pair.source_client().await, pair.source_client().await);
    run(&source, "BEGIN").await;
    run(&source, &rows("t", 10_000)).await;
    run(&source, "ALTER TABLE t ADD COLUMN more int").await;
    run(&source, "UPDATE t SET more = id WHERE id > 9000").await;
    run(&other, "INSERT INTO log VALUES (1, 'meanwhile')").await;
    run(&source, "COMMIT").await;
    run(&other, "UPDATE t SET more = 5 WHERE id = 7").await;
    pair.assert_equal_after_catchup(MINUTE).await;
}

#[tokio::test]
async fn several_large_transactions_interleaved_with_small_ones_arrive_at_their_commits() {
    let pair = streaming_pair(TABLES, SMALL).await;
    let (a, b, c, small) = (pair.source_client().await, pair.source_client().await, pair.source_client().await, pair.source_client().await);
    let peer = pair.peer_client().await;
    run(&a, "BEGIN").await;
    run(&a, &rows("t", 10_000)).await;
    run(&b, "BEGIN").await;
    run(&b, &rows("t", 20_000)).await;
    run(&b, "SAVEPOINT s").await;
    run(&b, &rows("log", 0)).await;
    run(&c, "BEGIN; UPDATE t SET v = repeat('c', 300) WHERE id > 500").await;
    run(&small, "INSERT INTO kept VALUES (1001)").await;
    run(&b, "ROLLBACK TO s").await;
    run(&a, &rows("log", 1_000_000)).await;
    run(&small, "INSERT INTO kept VALUES (1002)").await;
    wait_for_value(&peer, "SELECT count(*)::text FROM kept", "102", MINUTE).await;
    assert_eq!(pair.peer.psql(DB, "SELECT (SELECT count(*) FROM t) || ' ' || (SELECT count(*) FROM log)").await, "1000 0");
    run(&b, "COMMIT").await;
    wait_for_value(&peer, "SELECT count(*)::text FROM t", "3000", MINUTE).await;
    assert_eq!(pair.peer.psql(DB, "SELECT count(*) FROM log").await, "0");
    run(&c, "ROLLBACK").await;
    run(&a, "DELETE FROM t WHERE id <= 10").await;
    run(&a, "COMMIT").await;
    run(&small, "INSERT INTO log VALUES (-1, 'after')").await;
    pair.assert_equal_after_catchup(MINUTE).await;
}

#[tokio::test]
async fn a_large_transaction_alone_is_applied_ahead_and_seen_at_its_commit() {
    let pair = streaming_pair(TABLES, SMALL).await;
    let (source, other, peer) = (pair.source_client().await, pair.source_client().await, pair.peer_client().await);
    run(&source, "BEGIN").await;
    run(&source, &rows("t", 10_000)).await;
    run(&source, &rows("log", 0)).await;
    wait_for_open_transaction(&peer, true).await;
    assert_eq!(pair.peer.psql(DB, "SELECT count(*) FROM t").await, "1000");
    run(&source, "COMMIT").await;
    wait_for_value(&peer, "SELECT count(*)::text FROM t", "3000", MINUTE).await;
    assert!(!pair.applier.log_text().contains("is taken back"), "it was applied once");

    // Another transaction that commits first takes it back, and does not wait for it.
    run(&source, "BEGIN").await;
    run(&source, &rows("log", 0)).await;
    wait_for_open_transaction(&peer, true).await;
    run(&other, "INSERT INTO kept VALUES (1001)").await;
    wait_for_value(&peer, "SELECT count(*)::text FROM kept", "101", MINUTE).await;
    wait_for_open_transaction(&peer, false).await;
    run(&source, "COMMIT").await;
    pair.assert_equal_after_catchup(MINUTE).await;
    assert_eq!(pair.peer.psql(DB, "SELECT count(*) FROM log").await, "4000");

    // One that does not go on is taken back too.
    run(&source, "BEGIN").await;
    run(&source, &rows("log", 0)).await;
    wait_for_open_transaction(&peer, true).await;
    wait_for_open_transaction(&peer, false).await;
    run(&source, "COMMIT").await;
    pair.assert_equal_after_catchup(MINUTE).await;
}

#[tokio::test]
async fn a_kill_in_the_middle_of_a_large_transaction_leaves_nothing_and_it_arrives_once() {
    let mut pair = streaming_pair(TABLES, SMALL).await;
    let (source, other, peer) = (pair.source_client().await, pair.source_client().await, pair.peer_client().await);
    run(&source, "BEGIN").await;
    run(&source, &rows("log", 0)).await;
    wait_for_open_transaction(&peer, true).await;
    pair.applier.restart();
    wait_for_value(&peer, "SELECT count(*)::text FROM log", "0", MINUTE).await;
    run(&source, &rows("log", 10_000)).await;
    run(&other, "INSERT INTO kept VALUES (1001)").await;
    wait_for_value(&peer, "SELECT count(*)::text FROM kept", "101", MINUTE).await;
    // Begun before what the peer stands at: whether it is there only its commit can tell.
    pair.applier.restart();
    run(&source, "COMMIT").await;
    pair.applier.restart();
    pair.wait_for_state("running", MINUTE).await;
    run(&source, &format!("BEGIN; {}; COMMIT", rows("t", 10_000))).await;
    pair.applier.restart();
    pair.source.psql(DB, "SELECT pgrelay.pause_task('move')").await;
    pair.wait_for_state("paused", MINUTE).await;
    run(&source, &format!("BEGIN; {}; COMMIT", rows("log", 20_000))).await;
    pair.source.psql(DB, "SELECT pgrelay.resume_task('move')").await;
    pair.wait_for_state("running", MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
    assert_eq!(pair.peer.psql(DB, "SELECT count(*) FROM log").await, "6000");
    let left = std::fs::read_dir(std::env::temp_dir()).expect("the folder for temporary files").flatten();
    let left: Vec<_> = left.map(|e| e.file_name()).filter(|n| n.to_string_lossy().starts_with("pgrelay-spill-")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Its description of the table is the only one that the source sends.
#[tokio::test]
async fn what_follows_a_large_transaction_that_comes_again_is_applied() {
    let mut pair = streaming_pair(TABLES, SMALL).await;
    let (source, peer) = (pair.source_client().await, pair.peer_client().await);
    // No commit is waited for, so the source is told of none.
    let wait_for_nobody = "ALTER SYSTEM SET synchronous_standby_names = 'nobody'";
    for sql in [wait_for_nobody, "SELECT pg_reload_conf()"] {
        run(&peer, sql).await;
    }
    wait_for_value(&peer, "SHOW synchronous_standby_names", "nobody", MINUTE).await;
    run(&source, &format!("BEGIN; {}; COMMIT", rows("t", 10_000))).await;
    wait_for_value(&peer, "SELECT count(*)::text FROM t", "3000", MINUTE).await;
    pair.applier.kill9();
    for sql in ["ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()"] {
        run(&peer, sql).await;
    }
    run(&source, "INSERT INTO t VALUES (1001, 'follows')").await;
    pair.applier.restart();
    pair.assert_equal_after_catchup(MINUTE).await;
}

/// Bytes of memory do not depend on the size of a transaction, whether it is applied ahead or kept until its commit.
#[tokio::test]
async fn a_transaction_of_many_rows_in_little_memory() {
    // In either case far more than the bound.
    let (count, wide, deadline) =
        if std::env::var_os("PGRELAY_NIGHTLY").is_some() { (10_000_000, 1, 60 * MINUTE) } else { (80_000, 60, 5 * MINUTE) };
    let conf = "logical_decoding_work_mem = '4MB'\nmax_wal_size = '8GB'";
    let pair =
        streaming_pair("CREATE TABLE big (id int PRIMARY KEY, a int, v text, d timestamptz); CREATE TABLE small (n int)", conf).await;
    let (source, other) = (pair.source_client().await, pair.source_client().await);
    let insert = |from: i32| {
        format!(
            "INSERT INTO big SELECT n, n % 1000, repeat(md5(n::text), {wide}), now() FROM generate_series({from} + 1, {from} + {count}) n"
        )
    };
    run(&source, &insert(0)).await;
    pair.wait_for_catchup(deadline).await;
    run(&source, "BEGIN").await;
    run(&source, &insert(count)).await;
    run(&other, "INSERT INTO small VALUES (1)").await;
    run(&source, "DELETE FROM big WHERE id % 10 = 0; COMMIT").await;
    pair.assert_equal_after_catchup(deadline).await;
    let peak = pair.applier.peak_memory_mb();
    println!("{count} rows in a transaction: the applier took {peak} MB");
    assert!(peak < 128, "the applier took {peak} MB");
    assert_eq!(pair.applier.log_text().matches("is taken back").count(), 1);
}

/// The folder for temporary files is not there, as it takes nothing when its disk is full.
#[tokio::test]
async fn a_large_transaction_that_cannot_be_kept_is_told_with_the_folder_and_comes_when_there_is_room() {
    let mut pair = Pair::start_with(TABLES, SMALL, &[]).await;
    let folder = TempFolder::new();
    let gone = folder.path().join("gone");
    let environment = [("TMPDIR", gone.to_str().expect("a name"))];
    pair.applier = Applier::start_with(&pair.source, DB, &["--log-level", "info,pgrelay_applier=debug"], &environment);
    start_streaming(&pair, TASK_OPTIONS).await;
    pair.source
        .psql(
            DB,
            "BEGIN; INSERT INTO log SELECT n, repeat(md5(n::text), 10) FROM generate_series(1, 20000) n; UPDATE t SET v = 'x'; COMMIT",
        )
        .await;
    let error = "SELECT (error || ' ' || error_detail LIKE '%cannot be kept in a file%/gone\"%')::text FROM pgrelay.task_status";
    wait_for_value(&pair.source_client().await, error, "true", MINUTE).await;
    pair.source.psql(DB, "INSERT INTO log VALUES (0)").await;
    std::fs::create_dir(&gone).expect("a folder");
    pair.assert_equal_after_catchup(3 * MINUTE).await;
    assert_eq!(pair.peer.psql(DB, "SELECT count(*) || ' ' || count(DISTINCT n) FROM log").await, "20001 20001");
}

/// A row is never cut: it costs the applier some five times its width, whatever else is in the transaction.
#[tokio::test]
async fn a_row_as_wide_as_a_message_may_be_is_applied_and_a_wider_one_is_a_clear_error() {
    let nightly = std::env::var_os("PGRELAY_NIGHTLY").is_some();
    let (mb, deadline) = if nightly { (320, 10 * MINUTE) } else { (40, MINUTE) };
    let table = "CREATE TABLE wide (id int PRIMARY KEY, content text, b bytea);
                 ALTER TABLE wide ALTER content SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL";
    let pair = streaming_pair(table, SMALL).await;
    let source = pair.source_client().await;
    let wide = |id: i32| format!("INSERT INTO wide VALUES ({id}, repeat(md5('{id}'), {}))", mb << 15);
    // As it comes, and kept until its commit since another commits first.
    run(&source, &wide(1)).await;
    pair.wait_for_catchup(deadline).await;
    run(&source, &format!("BEGIN; {}", wide(2))).await;
    pair.source.psql(DB, "INSERT INTO wide SELECT n, 'narrow' FROM generate_series(10, 100) n").await;
    run(&source, "UPDATE wide SET b = '\\x00ff' WHERE id >= 90; COMMIT; UPDATE wide SET id = 3 WHERE id = 1").await;
    pair.assert_equal_after_catchup(deadline).await;
    let peak = pair.applier.peak_memory_mb();
    println!("a row of {mb} MB: the applier took {peak} MB");
    assert!(peak < 60 + 6 * mb, "the applier took {peak} MB");
    if nightly {
        run(&source, "INSERT INTO wide VALUES (4, NULL, convert_to(repeat('x', 600000000), 'UTF8'))").await;
        pair.wait_for_state("failed", deadline).await;
        let error = pair.source.psql(DB, "SELECT error || ' ' || error_hint FROM pgrelay.task_status").await;
        assert!(error.contains("more than 1 GB") && error.contains("start the task anew"), "{error}");
    }
}
