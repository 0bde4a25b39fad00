//! A server that has no room for as many workers as are asked for.

use std::time::Duration;

use pgrelay_tests::Pair;
use pgrelay_tests::pair::{DB, TASK};
use pgrelay_tests::wait::wait_for_value;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn more_workers_than_the_peer_has_origins_for_are_left_out_and_the_copy_goes_on() {
    let mut pair = Pair::start(
        "CREATE TABLE a (id int PRIMARY KEY, filler text); INSERT INTO a SELECT n, repeat('x', 500) FROM generate_series(1, 20000) n;
         CREATE TABLE b (id int PRIMARY KEY, filler text); INSERT INTO b SELECT * FROM a;
         CREATE TABLE c (id int PRIMARY KEY, filler text); INSERT INTO c SELECT * FROM a; ANALYZE",
    )
    .await;
    // One for the stream, two for workers.
    pair.peer.psql("postgres", "ALTER SYSTEM SET max_replication_slots = 3").await;
    pair.peer.restart_immediate().await;
    pair.start_task(r#"{"copy_jobs": 2, "copy_chunk_mb": 1, "throttle": {"copy_mb_per_s": 1}}"#).await;
    let (source, peer) = (pair.source_client().await, pair.peer_client().await);
    wait_for_value(&peer, "SELECT (count(*) = 2)::text FROM pg_stat_progress_copy", "true", MINUTE).await;
    pair.source.psql(DB, &format!("SELECT pgrelay.alter_task('{TASK}', '{{\"copy_jobs\": 8}}')")).await;
    let told = "SELECT string_agg(level, ',') FROM pgrelay.event WHERE event = 'copy_jobs_limited'";
    wait_for_value(&source, told, "warning", MINUTE).await;
    pair.source.psql(DB, &format!("SELECT pgrelay.alter_task('{TASK}', '{{\"throttle\": null}}')")).await;
    pair.wait_for_state("running", MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
    let begun_again = "SELECT count(*) FROM pgrelay.event WHERE message = 'the task is retrying'";
    assert_eq!(pair.source.psql(DB, begun_again).await, "0");
}
