//! Transactions that are prepared on the source: prepared on the peer, and ended there as they end on the source.

use std::time::Duration;

use pgrelay_tests::Pair;
use pgrelay_tests::left::assert_nothing_left;
use pgrelay_tests::pair::DB;
use pgrelay_tests::wait::{wait_for_value, wait_until};

const MINUTE: Duration = Duration::from_secs(60);
const TABLES: &str = "
    CREATE TABLE t (id int PRIMARY KEY, v text, u int UNIQUE);
    INSERT INTO t SELECT n, 'old', n FROM generate_series(1, 100) n;
    CREATE TABLE log (n int);";
const OPTIONS: &str = r#"{"keyless": "insert_only", "acknowledge_warnings": true, "conflict_policy": "overwrite"}"#;

async fn preparing() -> Pair {
    let pair = Pair::start(TABLES).await;
    pair.start_task(OPTIONS).await;
    pair.wait_for_state("running", MINUTE).await;
    let on = "SELECT (bool_and(two_phase AND active))::text FROM pg_replication_slots";
    wait_for_value(&pair.source_client().await, on, "true", MINUTE).await;
    pair
}

/// How many transactions are prepared on the peer.
async fn wait_for_prepared(pair: &Pair, count: i32) {
    wait_for_value(&pair.peer_client().await, "SELECT count(*)::text FROM pg_prepared_xacts", &count.to_string(), MINUTE).await;
}

fn prepare(name: &str, changes: &str) -> String {
    format!("BEGIN; {changes}; PREPARE TRANSACTION '{name}'")
}

#[tokio::test]
async fn a_prepared_transaction_is_prepared_on_the_peer_and_ends_there_as_on_the_source() {
    let mut pair = preparing().await;
    // Small, with values that go from row to row, large enough to come in progress, in conflict with the peer, without changes.
    let swap = "UPDATE t SET v = 'moved' WHERE id > 90; UPDATE t SET u = u + 1000 WHERE id BETWEEN 80 AND 90; UPDATE t SET u = u - 10 WHERE id > 90";
    let large =
        "SAVEPOINT s; DELETE FROM t WHERE id BETWEEN 30 AND 50; ROLLBACK TO s; INSERT INTO log SELECT n FROM generate_series(1, 3000) n";
    pair.peer.psql(DB, "INSERT INTO t VALUES (500, 'the peer''s own', 500)").await;
    for sql in [
        prepare("small", "INSERT INTO log VALUES (-1); UPDATE t SET v = 'small' WHERE id = 1"),
        prepare("swap", swap),
        prepare("large", large),
        prepare("rolled back", "INSERT INTO log VALUES (-2); UPDATE t SET v = 'never' WHERE id = 2"),
        prepare("large, rolled back", "INSERT INTO log SELECT n FROM generate_series(1, 3000) n"),
        prepare("conflict", "INSERT INTO t VALUES (500, 'the source''s', 500)"),
        prepare("empty", "SELECT pg_current_xact_id()"),
    ] {
        pair.source.psql(DB, &sql).await;
    }
    // What comes behind does not wait for them, and sees nothing of them.
    pair.source.psql(DB, "INSERT INTO log VALUES (-3)").await;
    pair.wait_for_catchup(MINUTE).await;
    // Of one without any change only the end is told.
    wait_for_prepared(&pair, 6).await;
    assert_eq!(pair.peer.psql(DB, "SELECT string_agg(n::text, ' ') FROM log").await, "-3");
    assert_eq!(pair.peer.psql(DB, "SELECT string_agg(DISTINCT v, ', ') FROM t").await, "old, the peer's own");
    pair.source.psql(DB, "COMMIT PREPARED 'large'").await;
    pair.source.psql(DB, "ROLLBACK PREPARED 'large, rolled back'").await;
    pair.wait_for_catchup(MINUTE).await;
    wait_for_prepared(&pair, 4).await;
    assert_eq!(pair.peer.psql(DB, "SELECT count(*) FROM log").await, "3001");
    // They outlive the applier, and the peer's server.
    pair.applier.kill9();
    pair.source.psql(DB, "COMMIT PREPARED 'small'").await;
    pair.peer.restart_immediate().await;
    wait_for_prepared(&pair, 4).await;
    pair.applier.restart();
    for name in ["swap", "conflict", "empty"] {
        pair.source.psql(DB, &format!("COMMIT PREPARED '{name}'")).await;
    }
    pair.source.psql(DB, "ROLLBACK PREPARED 'rolled back'").await;
    pair.assert_equal_after_catchup(MINUTE).await;
    wait_for_prepared(&pair, 0).await;
    let met = "SELECT string_agg(kind || ' ' || resolution, ', ') FROM pgrelay.conflict";
    wait_for_value(&pair.source_client().await, met, "insert_exists overwritten", MINUTE).await;
    assert_eq!(pair.peer.psql(DB, "SELECT count(*) FROM pgrelay_peer.prepared").await, "0", "marks that nobody needs");
}

/// A server that crashes has the slot as it was on its disk, from before it was to send transactions when they are prepared.
#[tokio::test]
async fn what_was_over_before_it_was_prepared_on_the_peer_does_not_come_again_when_the_source_crashes() {
    let mut pair =
        Pair::start(&format!("{TABLES} CREATE TABLE slow (n int PRIMARY KEY); INSERT INTO slow SELECT generate_series(1, 1500)")).await;
    let options = OPTIONS.replacen('{', r#"{"copy_jobs": 2, "throttle": {"copy_rows_per_s": 500}, "#, 1);
    pair.start_task(&options).await;
    let source = pair.source_client().await;
    let copies = "SELECT (count(*) > 0)::text FROM pgrelay.table_status WHERE table_name = 'log' AND state IN ('syncdone', 'ready')";
    wait_for_value(&source, copies, "true", MINUTE).await;
    for n in 1..=5 {
        let at = 1000 + n;
        let changes = format!("INSERT INTO log VALUES ({n}); INSERT INTO t VALUES ({at}, 'early', {at})");
        pair.source.psql(DB, &format!("{}; COMMIT PREPARED 'early'", prepare("early", &changes))).await;
    }
    pair.wait_for_state("running", MINUTE).await;
    wait_for_value(&source, "SELECT (bool_and(two_phase AND active))::text FROM pg_replication_slots", "true", MINUTE).await;
    drop(source);
    pair.source.restart_immediate().await;
    pair.source.psql(DB, "INSERT INTO log VALUES (6)").await;
    pair.assert_equal_after_catchup(MINUTE).await;
    wait_for_prepared(&pair, 0).await;
    assert_eq!(pair.peer.psql(DB, "SELECT string_agg(n::text, ' ' ORDER BY n) FROM log").await, "1 2 3 4 5 6");
    assert_eq!(pair.peer.psql(DB, "SELECT count(*) FROM pgrelay_peer.conflict").await, "0");
}

#[tokio::test]
async fn one_that_somebody_has_rolled_back_on_the_peer_is_told_and_can_be_left_out_and_stop_leaves_none() {
    let pair = preparing().await;
    pair.source.psql(DB, &prepare("lost", "INSERT INTO log VALUES (1)")).await;
    // The position stands past it, so it does not come again.
    pair.source.psql(DB, "INSERT INTO log VALUES (0)").await;
    pair.wait_for_catchup(MINUTE).await;
    wait_for_prepared(&pair, 1).await;
    let name = pair.peer.psql(DB, "SELECT gid FROM pg_prepared_xacts").await;
    pair.peer.psql(DB, &format!("ROLLBACK PREPARED '{name}'")).await;
    pair.source.psql(DB, "COMMIT PREPARED 'lost'; INSERT INTO log VALUES (2)").await;
    pair.wait_for_state("failed", MINUTE).await;
    let error = pair.source.psql(DB, "SELECT error || ' ' || error_detail FROM pgrelay.task_status").await;
    assert!(error.contains("is not on the peer any more"), "{error}");
    let at = pair.source.psql(DB, "SELECT substring(error_detail FROM 'at ([0-9A-F/]+)') FROM pgrelay.task_status").await;
    pair.source.psql(DB, &format!("SELECT pgrelay.skip_transaction('move', '{at}'); SELECT pgrelay.resume_task('move')")).await;
    wait_until("what comes behind it", MINUTE, async || {
        let seen = pair.peer.psql(DB, "SELECT string_agg(n::text, ' ') FROM log").await;
        if seen == "0 2" { Ok(()) } else { Err(seen) }
    })
    .await;
    pair.source.psql(DB, &prepare("open", "INSERT INTO log VALUES (3)")).await;
    wait_for_prepared(&pair, 1).await;
    pair.source.psql(DB, "SELECT pgrelay.stop_task('move')").await;
    pair.wait_for_state("stopped", MINUTE).await;
    assert_nothing_left(&pair).await;
    wait_for_prepared(&pair, 0).await;
    pair.source.psql(DB, "COMMIT PREPARED 'open'").await;
}

#[tokio::test]
async fn a_peer_without_room_for_them_gets_them_when_they_are_committed() {
    let mut pair = Pair::start(TABLES).await;
    pair.peer.psql("postgres", "ALTER SYSTEM SET max_prepared_transactions = 9").await;
    pair.peer.stop_fast().await;
    pair.peer.start_again().await;
    pair.start_task(OPTIONS).await;
    pair.wait_for_state("running", MINUTE).await;
    let finding = "SELECT severity || ' ' || message FROM pgrelay.finding WHERE item = 'two_phase'";
    let finding = pair.source.psql(DB, finding).await;
    assert!(finding.starts_with("ok transactions that the source prepares arrive when they are committed"), "{finding}");
    pair.source.psql(DB, &prepare("one", "INSERT INTO log VALUES (1)")).await;
    pair.source.psql(DB, "INSERT INTO log VALUES (2)").await;
    pair.wait_for_catchup(MINUTE).await;
    wait_for_prepared(&pair, 0).await;
    assert_eq!(pair.peer.psql(DB, "SELECT string_agg(n::text, ' ') FROM log").await, "2");
    pair.source.psql(DB, "COMMIT PREPARED 'one'").await;
    pair.assert_equal_after_catchup(MINUTE).await;
    assert_eq!(pair.source.psql(DB, "SELECT bool_or(two_phase) FROM pg_replication_slots").await, "f");
}
