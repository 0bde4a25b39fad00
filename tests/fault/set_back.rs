//! Source, slot and peer that do not belong together any more are refused, and nothing is skipped.

use std::time::Duration;

use pgrelay_tests::Pair;
use pgrelay_tests::pair::DB;
use pgrelay_tests::wait_for_value;

const LONG: Duration = Duration::from_secs(120);
const OBJECTS: &str = "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (0);
    CREATE TABLE large (id int PRIMARY KEY, v text); INSERT INTO large SELECT n, repeat('x', 1000) FROM generate_series(1, 3000) n";

const SLOT: &str = "(SELECT slot_name FROM pg_replication_slots WHERE plugin IN ('pgoutput', 'pgrelay'))";

async fn running() -> Pair {
    let pair = Pair::start(OBJECTS).await;
    pair.start_task("{}").await;
    pair.wait_for_state("running", LONG).await;
    pair
}

/// The task ends with an error of these words and the peer stays as it is.
async fn assert_refused(pair: &Pair, words: &str) {
    let rows = pair.peer.psql(DB, "SELECT string_agg(id::text, ',' ORDER BY id) FROM t").await;
    pair.wait_for_state("failed", LONG).await;
    let error = pair.source.psql(DB, "SELECT error, error_detail, error_hint FROM pgrelay.task_status").await;
    assert!(error.contains(words) && error.contains("stop_task"), "{error}");
    assert_eq!(pair.peer.psql(DB, "SELECT string_agg(id::text, ',' ORDER BY id) FROM t").await, rows, "nothing is applied");
}

/// Drops the slot and makes one of the same name, with a change between that it does not bring.
async fn make_slot_again(pair: &Pair) {
    let again = format!(
        "CREATE TABLE slot_name AS SELECT {SLOT} AS n;
         SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active;
         DO $$ BEGIN FOR i IN 1..500 LOOP
             BEGIN PERFORM pg_drop_replication_slot(n) FROM slot_name; RETURN; EXCEPTION WHEN object_in_use THEN PERFORM pg_sleep(0.02); END;
         END LOOP; END $$;
         INSERT INTO t VALUES (1);
         SELECT pg_create_logical_replication_slot(n, 'pgoutput') FROM slot_name;
         DROP TABLE slot_name;
         INSERT INTO t VALUES (2);"
    );
    pair.source.psql(DB, &again).await;
}

#[tokio::test]
async fn a_slot_that_was_made_again() {
    let mut pair = running().await;
    pair.applier.kill9();
    make_slot_again(&pair).await;
    pair.applier.restart();
    assert_refused(&pair, "are lost").await;
}

#[tokio::test]
async fn a_slot_that_was_made_again_before_all_tables_stood_at_one_position() {
    let mut pair = Pair::start(OBJECTS).await;
    pair.start_task(r#"{"copy_jobs": 1, "copy_chunk_mb": 1, "throttle": {"copy_rows_per_s": 300}}"#).await;
    let chunk = "SELECT (count(*) > 0)::text FROM pgrelay_peer.chunk_copy";
    pair.wait_for_state("copying", LONG).await;
    wait_for_value(&pair.peer_client().await, chunk, "true", LONG).await;
    pair.applier.kill9();
    make_slot_again(&pair).await;
    pair.applier.restart();
    pair.wait_for_state("failed", LONG).await;
    let error = pair.source.psql(DB, "SELECT error FROM pgrelay.task_status").await;
    assert!(error.contains("are lost"), "{error}");
}

/// As on a copy of the source, which has the task and not its slot.
async fn drop_slot(pair: &mut Pair) {
    pair.applier.kill9();
    pair.source
        .psql(
            DB,
            "DO $$ BEGIN FOR i IN 1..500 LOOP
                 BEGIN PERFORM pg_drop_replication_slot(slot_name) FROM pg_replication_slots; RETURN;
                 EXCEPTION WHEN object_in_use THEN PERFORM pg_sleep(0.02); END;
             END LOOP; END $$",
        )
        .await;
}

#[tokio::test]
async fn a_slot_that_was_dropped() {
    let mut pair = running().await;
    drop_slot(&mut pair).await;
    pair.applier.restart();
    assert_refused(&pair, "is lost").await;
}

#[tokio::test]
async fn stop_without_the_slot_leaves_the_peer_to_whoever_has_it() {
    let mut pair = running().await;
    drop_slot(&mut pair).await;
    pair.source.psql(DB, "SELECT pgrelay.stop_task('move')").await;
    pair.applier.restart();
    pair.wait_for_state("stopped", LONG).await;
    let there =
        "SELECT (SELECT count(*) FROM pgrelay_peer.task) || ' ' || (SELECT count(*) FROM pg_replication_origin WHERE roname !~ '_copy_')";
    assert_eq!(pair.peer.psql(DB, there).await, "1 1", "the peer's position and origin");
    let told = "SELECT count(*) FROM pgrelay.event WHERE event = 'left_behind'";
    assert_eq!(pair.source.psql(DB, told).await, "1");
}

#[tokio::test]
async fn a_peer_that_was_set_back() {
    let mut pair = running().await;
    pair.source.psql(DB, "INSERT INTO t VALUES (1)").await;
    pair.wait_for_catchup(LONG).await;
    pair.peer.stop_fast().await;
    pair.peer.save();
    pair.peer.start_again().await;
    pair.source.psql(DB, "INSERT INTO t VALUES (2)").await;
    pair.wait_for_catchup(LONG).await;
    let at = pair.source.psql(DB, "SELECT pg_current_wal_lsn()").await;
    let confirmed = format!("SELECT (confirmed_flush_lsn >= '{at}')::text FROM pg_replication_slots");
    wait_for_value(&pair.source_client().await, &confirmed, "true", LONG).await;
    pair.applier.kill9();
    pair.peer.stop_fast().await;
    pair.peer.put_back();
    pair.peer.start_again().await;
    pair.source.psql(DB, "INSERT INTO t VALUES (3)").await;
    pair.applier.restart();
    assert_refused(&pair, "set back").await;
}

#[tokio::test]
async fn a_peer_that_was_set_back_to_where_the_source_can_still_bring_all_of_it_goes_on() {
    let mut pair = running().await;
    pair.wait_for_catchup(LONG).await;
    pair.applier.kill9();
    pair.peer.stop_fast().await;
    pair.peer.save();
    pair.peer.start_again().await;
    pair.source.psql(DB, "INSERT INTO t VALUES (1)").await;
    pair.peer.stop_fast().await;
    pair.peer.put_back();
    pair.peer.start_again().await;
    pair.applier.restart();
    pair.assert_equal_after_catchup(LONG).await;
}

#[tokio::test]
async fn a_source_that_was_set_back() {
    let mut pair = running().await;
    pair.source.psql(DB, "INSERT INTO t VALUES (1)").await;
    pair.wait_for_catchup(LONG).await;
    pair.source.stop_fast().await;
    pair.source.save();
    pair.source.start_again().await;
    pair.source.psql(DB, "INSERT INTO t SELECT generate_series(2, 5000)").await;
    pair.wait_for_state("running", LONG).await;
    pair.wait_for_catchup(LONG).await;
    pair.applier.kill9();
    pair.source.stop_fast().await;
    pair.source.put_back();
    pair.source.start_again().await;
    pair.applier.restart();
    assert_refused(&pair, "the source has been set back").await;
}
