//! A peer that cannot be reached: before the start a finding, later `retrying`, and the task goes on by itself.

use std::time::Duration;

use pgrelay_tests::pair::DB;
use pgrelay_tests::wait::wait_for_value;
use pgrelay_tests::{Pair, Writers};

const MINUTE: Duration = Duration::from_secs(60);
const OBJECTS: &str = "CREATE TABLE t (id bigserial PRIMARY KEY, v int); INSERT INTO t (v) SELECT generate_series(1, 1000)";
const WRITE: &str = "INSERT INTO t (v) VALUES (1); UPDATE t SET v = v + 1 WHERE id = 1 + (random() * 999)::int";

#[tokio::test]
async fn a_peer_that_refuses_connections_for_a_while_is_tried_again() {
    let pair = Pair::start(OBJECTS).await;
    let writers = Writers::start(&pair.source.dsn(DB), 2, Duration::from_millis(5), WRITE);
    pair.start_task("{}").await;
    pair.wait_for_state("running", MINUTE).await;
    pair.peer
        .psql(
            "postgres",
            "ALTER DATABASE app ALLOW_CONNECTIONS false;
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'app'",
        )
        .await;
    pair.wait_for_state("retrying", MINUTE).await;
    let tries = "SELECT CASE WHEN count(*) >= 3 THEN 'enough' END FROM pgrelay.event WHERE event = 'error'";
    wait_for_value(&pair.source_client().await, tries, "enough", MINUTE).await;
    pair.wait_for_state("retrying", Duration::from_secs(10)).await;
    let error = pair.source.psql(DB, "SELECT error, error_hint FROM pgrelay.task_status").await;
    assert!(error.len() > 5, "the status says why: {error}");
    pair.peer.psql("postgres", "ALTER DATABASE app ALLOW_CONNECTIONS true").await;
    pair.wait_for_state("running", MINUTE).await;
    writers.stop().await;
    pair.assert_equal_after_catchup(MINUTE).await;
}

#[tokio::test]
async fn a_peer_that_is_down_for_a_while_is_tried_again() {
    let mut pair = Pair::start(OBJECTS).await;
    let writers = Writers::start(&pair.source.dsn(DB), 2, Duration::from_millis(5), WRITE);
    pair.start_task("{}").await;
    pair.wait_for_state("running", MINUTE).await;
    pair.peer.stop_fast().await;
    pair.wait_for_state("retrying", MINUTE).await;
    pair.peer.start_again().await;
    pair.wait_for_state("running", MINUTE).await;
    writers.stop().await;
    pair.assert_equal_after_catchup(MINUTE).await;
}

#[tokio::test]
async fn a_peer_that_was_never_there_is_a_finding() {
    let mut pair = Pair::start(OBJECTS).await;
    pair.peer.stop_fast().await;
    pair.start_task("{}").await;
    pair.wait_for_state("precheck_failed", MINUTE).await;
    let findings = pair.source.psql(DB, "SELECT item, message FROM pgrelay.finding WHERE severity = 'error'").await;
    assert!(!findings.is_empty());
    pair.peer.start_again().await;
    pair.source.psql(DB, "SELECT pgrelay.start_task('move')").await;
    pair.wait_for_state("running", MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
}
