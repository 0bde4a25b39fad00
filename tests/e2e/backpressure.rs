//! A peer that takes nothing for a while: the applier's memory stays within its bound, the source does not give it up, and says
//! how far behind it is.

use std::time::Duration;

use pgrelay_tests::Pair;
use pgrelay_tests::pair::DB;
use pgrelay_tests::wait::{run_for, wait_for_value};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn while_a_lock_holds_up_the_apply_memory_is_bounded_and_the_connection_outlives_its_timeout() {
    let tables = "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE log (n int)";
    let pair = Pair::start_with(tables, "wal_sender_timeout = '2s'\nlogical_decoding_work_mem = '4MB'", &[]).await;
    pair.start_task(r#"{"keyless": "insert_only", "acknowledge_warnings": true}"#).await;
    pair.wait_for_state("running", MINUTE).await;
    let (source, locker) = (pair.source_client().await, pair.peer_client().await);
    locker.batch_execute("BEGIN; LOCK TABLE t").await.expect("lock");
    // More than the queue holds, in small transactions and in a large one.
    let small = "DO $$ BEGIN FOR n IN 0..179 LOOP
                     INSERT INTO t SELECT n * 1000 + m, repeat(md5(m::text), 6) FROM generate_series(1, 1000) m;
                     COMMIT;
                 END LOOP; END $$";
    pair.source.psql(DB, &format!("INSERT INTO t VALUES (-1, 'first'); {small};")).await;
    pair.source.psql(DB, "INSERT INTO log SELECT n FROM generate_series(1, 50000) n").await;
    let sql = "SELECT (lag_bytes > 40000000 AND lag > interval '5 s' AND rows_pending > 10000
                       AND oldest_unapplied_commit < now() - interval '5 s' AND state = 'catching_up')::text FROM pgrelay.task_status";
    wait_for_value(&source, sql, "true", MINUTE).await;
    let walsender = "SELECT active_pid::text FROM pg_replication_slots WHERE database = 'app'";
    let pid: String = source.query_one(walsender, &[]).await.expect("a slot").get(0);
    run_for(Duration::from_secs(6)).await;
    assert_eq!(source.query_one(walsender, &[]).await.expect("a slot").get::<_, String>(0), pid, "the connection outlives its timeout");
    let peak = pair.applier.peak_memory_mb();
    assert!(peak < 128, "the applier took {peak} MB");
    locker.batch_execute("COMMIT").await.expect("let go");
    pair.assert_equal_after_catchup(5 * MINUTE).await;
    let peak = pair.applier.peak_memory_mb();
    assert!(peak < 128, "the applier took {peak} MB");
    let sql = "SELECT (rows_pending = 0 AND lag = '0' AND oldest_unapplied_commit IS NULL)::text FROM pgrelay.task_status";
    wait_for_value(&source, sql, "true", MINUTE).await;
}

#[tokio::test]
async fn a_large_transaction_that_stays_open_is_no_lag() {
    let tables = "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE small (n int PRIMARY KEY)";
    let pair = Pair::start_with(tables, "logical_decoding_work_mem = '64kB'", &[]).await;
    pair.start_task("{}").await;
    pair.wait_for_state("running", MINUTE).await;
    let (source, open) = (pair.source_client().await, pair.source_client().await);
    open.batch_execute("BEGIN; INSERT INTO t SELECT n, repeat(md5(n::text), 6) FROM generate_series(1, 50000) n").await.expect("insert");
    pair.source.psql(DB, "INSERT INTO small VALUES (1)").await;
    let sql = "SELECT (rows_pending > 40000 AND lag_bytes < 1000000 AND lag < interval '2 s' AND state = 'running')::text FROM pgrelay.task_status";
    wait_for_value(&source, sql, "true", MINUTE).await;
    // The source keeps the last of it until it is worth sending.
    open.batch_execute("ROLLBACK").await.expect("roll back");
    let sql = "SELECT (rows_pending = 0)::text FROM pgrelay.task_status";
    wait_for_value(&source, sql, "true", MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
}

#[tokio::test]
async fn wide_rows_that_wait_for_the_peer_take_no_more_memory_than_the_window_has_bytes() {
    let pair = Pair::start_with("CREATE TABLE wide (id int PRIMARY KEY, v text)", "logical_decoding_work_mem = '4MB'", &[]).await;
    pair.start_task("{}").await;
    pair.wait_for_state("running", MINUTE).await;
    let (source, locker) = (pair.source_client().await, pair.peer_client().await);
    locker.batch_execute("BEGIN; LOCK TABLE wide").await.expect("lock");
    // Far fewer statements than the window has room for, and each a megabyte.
    let rows = "DO $$ BEGIN FOR n IN 1..160 LOOP INSERT INTO wide VALUES (n, repeat(md5(n::text), 32768)); COMMIT; END LOOP; END $$";
    pair.source.psql(DB, &format!("ALTER TABLE wide ALTER v SET STORAGE EXTERNAL; {rows}")).await;
    let waits = "SELECT (rows_pending >= 32 AND lag > interval '3 s')::text FROM pgrelay.task_status";
    wait_for_value(&source, waits, "true", MINUTE).await;
    locker.batch_execute("COMMIT").await.expect("let go");
    pair.assert_equal_after_catchup(MINUTE).await;
    let peak = pair.applier.peak_memory_mb();
    println!("160 rows of a megabyte: the applier took {peak} MB");
    assert!(peak < 110, "the applier took {peak} MB");
}
