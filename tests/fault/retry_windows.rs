//! What is wrong for a while while changes are applied: tried again as long as the task's windows say, and then told.
//! A minute of the windows is a fifth of a second here, which only builds with debug assertions accept.
#![cfg(debug_assertions)]

use std::time::Duration;

use pgrelay_tests::Pair;
use pgrelay_tests::pair::DB;
use pgrelay_tests::wait::{wait_for_value, wait_until};

const MINUTE: Duration = Duration::from_secs(60);
const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v text, w text); INSERT INTO t SELECT n, 'v', 'w' FROM generate_series(1, 10) n";

async fn running() -> Pair {
    let pair = Pair::start_with(TABLE, "", &[("PGRELAY_MINUTE_MS", "200")]).await;
    pair.start_task("{}").await;
    pair.wait_for_state("running", MINUTE).await;
    pair
}

async fn set_windows(pair: &Pair, connection: u32, other: u32) {
    let options = format!(r#"{{"retry_connection_minutes": {connection}, "retry_other_minutes": {other}}}"#);
    pair.source.psql(DB, &format!("SELECT pgrelay.alter_task('move', '{options}')")).await;
}

#[tokio::test]
async fn a_change_that_the_peer_refuses_is_tried_again_until_it_is_mended_or_its_window_is_over() {
    let pair = running().await;
    let source = pair.source_client().await;
    set_windows(&pair, 1440, 1000).await;
    pair.peer.psql(DB, "ALTER TABLE t ALTER v SET NOT NULL").await;
    pair.source.psql(DB, "INSERT INTO t VALUES (11, NULL, 'w')").await;
    pair.wait_for_state("retrying", MINUTE).await;
    wait_for_value(&source, "SELECT error_sqlstate FROM pgrelay.task_status", "23502", MINUTE).await;
    pair.peer.psql(DB, "ALTER TABLE t ALTER v DROP NOT NULL").await;
    pair.wait_for_state("running", MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;

    set_windows(&pair, 1440, 1).await;
    let retried = "SELECT count(*) FROM pgrelay.event WHERE event = 'state' AND message = 'the task is retrying'";
    let before = pair.source.psql(DB, retried).await;
    pair.peer.psql(DB, "ALTER TABLE t ALTER w SET NOT NULL").await;
    pair.source.psql(DB, "INSERT INTO t VALUES (12, 'v', NULL)").await;
    pair.wait_for_state("failed", MINUTE).await;
    assert_ne!(pair.source.psql(DB, retried).await, before, "it was tried again before");
    let why = "SELECT error_sqlstate || ' ' || error_object || ' ' || (error LIKE '%null value in column \"w\"%') FROM pgrelay.task_status";
    assert_eq!(pair.source.psql(DB, why).await, "23502 public.t true", "{}", pair.status().await);
    assert_eq!(pair.peer.psql(DB, "SELECT count(*) FROM t").await, "11", "nothing of it is there, and nothing is skipped");
    pair.peer.psql(DB, "ALTER TABLE t ALTER w DROP NOT NULL").await;
    pair.source.psql(DB, "SELECT pgrelay.resume_task('move')").await;
    pair.wait_for_state("running", MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
}

#[tokio::test]
async fn a_deadlock_with_a_transaction_of_the_peers_own_is_tried_again() {
    let pair = running().await;
    // The applier is the one that looks for it first.
    pair.peer.psql("postgres", "ALTER DATABASE app SET deadlock_timeout = '2s'").await;
    pair.source.psql(DB, "SELECT pgrelay.pause_task('move')").await;
    pair.wait_for_state("paused", MINUTE).await;
    pair.source.psql(DB, "SELECT pgrelay.resume_task('move')").await;
    pair.wait_for_state("running", MINUTE).await;
    let (local, peer, source) = (pair.peer_client().await, pair.peer_client().await, pair.source_client().await);
    local.batch_execute("SET deadlock_timeout = '1min'; BEGIN; SELECT FROM t WHERE id = 2 FOR UPDATE").await.expect("lock");
    pair.source.psql(DB, "BEGIN; UPDATE t SET v = 'a' WHERE id = 1; UPDATE t SET v = 'b' WHERE id = 2; COMMIT").await;
    let waits = "SELECT (count(*) > 0)::text FROM pg_stat_activity WHERE application_name LIKE '% apply' AND wait_event_type = 'Lock'";
    wait_for_value(&peer, waits, "true", MINUTE).await;
    local.batch_execute("SELECT FROM t WHERE id = 1 FOR UPDATE; ROLLBACK").await.expect("the applier gives way");
    let told = "SELECT (count(*) > 0)::text FROM pgrelay.event WHERE event = 'error' AND sqlstate = '40P01'";
    wait_for_value(&source, told, "true", MINUTE).await;
    pair.wait_for_state("running", MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
    assert_eq!(pair.peer.psql(DB, "SELECT string_agg(v, ' ' ORDER BY id) FROM t WHERE id <= 2").await, "a b");
}

#[tokio::test]
async fn a_peer_that_is_away_longer_than_its_window_fails_the_task_with_the_reason() {
    let mut pair = running().await;
    set_windows(&pair, 10, 1).await;
    pair.peer.stop_fast().await;
    pair.wait_for_state("retrying", MINUTE).await;
    pair.wait_for_state("failed", MINUTE).await;
    let error = pair.source.psql(DB, "SELECT error_sqlstate || ' ' || error FROM pgrelay.task_status").await;
    assert!(error.starts_with("08") && (error.contains("peer") || error.contains("connect")), "{error}");
    pair.source.psql(DB, "INSERT INTO t VALUES (11, 'meanwhile', '')").await;
    pair.peer.start_again().await;
    pair.source.psql(DB, "SELECT pgrelay.resume_task('move')").await;
    wait_until("the row of meanwhile", MINUTE, async || {
        let rows = pair.peer.psql(DB, "SELECT count(*) FROM t WHERE id = 11").await;
        if rows == "1" { Ok(()) } else { Err(rows) }
    })
    .await;
    pair.wait_for_state("running", MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
}
