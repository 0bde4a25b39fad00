//! Commands and two-phase commits in the middle of a table that is copied in chunks.

use std::time::Duration;

use pgrelay_tests::Pair;
use pgrelay_tests::pair::{DB, TASK};
use pgrelay_tests::wait::wait_for_value;

const MINUTE: Duration = Duration::from_secs(60);

const LARGE: &str = "CREATE TABLE large (id int PRIMARY KEY, n int DEFAULT 0, filler text);
    INSERT INTO large SELECT n, 0, repeat(md5(n::text), 16) FROM generate_series(1, 30000) n; ANALYZE";

/// In chunks of a megabyte, so slowly that a few seconds pass between two of them.
const SLOWLY: &str = r#"{"copy_jobs": 2, "copy_chunk_mb": 1, "throttle": {"copy_mb_per_s": 1}}"#;

/// Returns when some of the table's chunks are on the peer, and some are not.
async fn in_the_middle(pair: &Pair) {
    let sql = "SELECT (count(*) >= 2)::text FROM pgrelay_peer.chunk_copy";
    let there = "SELECT (to_regclass('pgrelay_peer.chunk_copy') IS NOT NULL)::text";
    let peer = pair.peer_client().await;
    wait_for_value(&peer, there, "true", MINUTE).await;
    wait_for_value(&peer, sql, "true", MINUTE).await;
    let done = "SELECT count(*) FROM pgrelay_peer.table_copy";
    assert_eq!(pair.peer.psql(DB, done).await, "0", "it is in the middle");
}

async fn without_limits(pair: &Pair) {
    pair.source.psql(DB, &format!("SELECT pgrelay.alter_task('{TASK}', '{{\"throttle\": null}}')")).await;
}

#[tokio::test]
async fn after_a_pause_within_a_table_the_rest_comes_under_another_snapshot() {
    let pair = Pair::start(LARGE).await;
    pair.start_task(SLOWLY).await;
    in_the_middle(&pair).await;
    pair.source.psql(DB, &format!("SELECT pgrelay.pause_task('{TASK}')")).await;
    pair.wait_for_state("paused", MINUTE).await;
    // Rows of both parts change, and some go from one to the other.
    pair.source
        .psql(
            DB,
            "UPDATE large SET n = n + 1 WHERE id % 50 = 0; DELETE FROM large WHERE id % 50 = 1;
             UPDATE large SET id = 100000 - id WHERE id % 50 = 2; INSERT INTO large (id) SELECT -n FROM generate_series(1, 50) n",
        )
        .await;
    without_limits(&pair).await;
    pair.source.psql(DB, &format!("SELECT pgrelay.resume_task('{TASK}')")).await;
    pair.wait_for_state("running", MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
    let snapshots = "SELECT count(DISTINCT snapshot) FROM pgrelay_peer.chunk_copy";
    assert_eq!(pair.peer.psql(DB, snapshots).await, "2", "the chunks of before the pause stayed");
}

#[tokio::test]
async fn a_drop_within_a_table_leaves_no_session_origin_or_mark() {
    let pair = Pair::start(LARGE).await;
    pair.start_task(SLOWLY).await;
    in_the_middle(&pair).await;
    pair.source.psql(DB, &format!("SELECT pgrelay.drop_task('{TASK}', true)")).await;
    wait_for_value(&pair.source_client().await, "SELECT count(*)::text FROM pgrelay.task_status", "0", MINUTE).await;
    let left = "SELECT concat_ws(' ', (SELECT count(*) FROM pg_replication_origin), to_regnamespace('pgrelay_peer') IS NULL,
                    (SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgrelay%'))";
    wait_for_value(&pair.peer_client().await, left, "0 t 0", MINUTE).await;
    let whole = "SELECT count(*) > 0 AND count(*) < 30000 FROM large";
    assert_eq!(pair.peer.psql(DB, whole).await, "t", "the rows of whole chunks stay");
    assert_eq!(pair.source.psql(DB, "SELECT count(*) FROM pg_replication_slots").await, "0");
}

#[tokio::test]
async fn prepared_transactions_that_span_the_chunks_arrive_once() {
    let mut pair = Pair::start_with(LARGE, "max_prepared_transactions = 10", &[]).await;
    pair.start_task(SLOWLY).await;
    in_the_middle(&pair).await;
    // Each changes rows of every part, those that are there and those that are not.
    let changes = |digit: u32| {
        format!(
            "BEGIN; UPDATE large SET n = n + 1 WHERE id % 100 = {digit}; DELETE FROM large WHERE id % 100 = 5{digit};
             UPDATE large SET id = -id WHERE id % 100 = 7{digit}; PREPARE TRANSACTION 'p{digit}'"
        )
    };
    for digit in [1, 2, 3] {
        pair.source.psql(DB, &changes(digit)).await;
    }
    pair.source.psql(DB, "COMMIT PREPARED 'p1'").await;
    pair.applier.kill9();
    pair.source.psql(DB, &changes(4)).await;
    pair.source.psql(DB, "COMMIT PREPARED 'p2'").await;
    pair.applier.restart();
    without_limits(&pair).await;
    let caught = "SELECT string_agg(state, ',') FROM pgrelay.table_status WHERE state IN ('syncdone', 'ready')";
    wait_for_value(&pair.source_client().await, &format!("SELECT (({caught}) IS NOT NULL)::text"), "true", MINUTE).await;
    pair.source.psql(DB, "COMMIT PREPARED 'p3'").await;
    pair.source.psql(DB, "ROLLBACK PREPARED 'p4'").await;
    pair.wait_for_state("running", MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
}
