//! One table that cannot be copied does not keep the others waiting.

use std::time::Duration;

use pgrelay_tests::Pair;
use pgrelay_tests::pair::DB;
use pgrelay_tests::wait::wait_for_value;

const MINUTE: Duration = Duration::from_secs(60);

const TABLES: &str = "CREATE TABLE good (id int PRIMARY KEY, v text);
    CREATE TABLE bad (id int PRIMARY KEY, v text);
    CREATE TABLE large (id int PRIMARY KEY, v text);";

const ROWS: &str = "INSERT INTO good SELECT n, 'g' FROM generate_series(1, 100) n;
    INSERT INTO bad SELECT n, 'b' FROM generate_series(1, 100) n;
    INSERT INTO large SELECT n, repeat('l', 500) FROM generate_series(1, 20000) n; ANALYZE";

async fn begin(refuse: &str, options: &str) -> Pair {
    let pair = Pair::start(&format!("{TABLES} {ROWS}")).await;
    pair.peer.psql(DB, TABLES).await;
    pair.peer.psql(DB, refuse).await;
    pair.start_task(options).await;
    pair
}

#[tokio::test]
async fn the_others_arrive_the_failure_is_named_and_tried_again() {
    let refuse = "ALTER TABLE bad ADD CHECK (id <> 77)";
    let pair = begin(refuse, r#"{"stages": ["copy", "stream"], "acknowledge_warnings": true, "copy_chunk_mb": 1}"#).await;
    let source = pair.source_client().await;
    let failed = "SELECT string_agg(DISTINCT object, ',') FROM pgrelay.event WHERE event = 'table_failed'";
    wait_for_value(&source, failed, "public.bad", MINUTE).await;
    let others = "SELECT string_agg(table_name || ' ' || state, ',' ORDER BY 1) FROM pgrelay.table_status WHERE table_name <> 'bad'";
    wait_for_value(&source, others, "good syncdone,large syncdone", MINUTE).await;
    // Changes of the table that cannot be copied wait, or come with its copy.
    pair.source.psql(DB, "UPDATE bad SET v = 'changed' WHERE id < 10; DELETE FROM bad WHERE id = 50; UPDATE good SET v = 'x'").await;
    pair.peer.psql(DB, "ALTER TABLE bad DROP CONSTRAINT bad_id_check").await;
    pair.wait_for_state("running", MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
}

#[tokio::test]
async fn a_chunk_that_fails_is_tried_again_and_the_other_chunks_stay() {
    let refuse = "ALTER TABLE large ADD CHECK (id <> 15000)";
    let pair = begin(refuse, r#"{"stages": ["copy", "stream"], "acknowledge_warnings": true, "copy_chunk_mb": 1, "copy_jobs": 2}"#).await;
    let source = pair.source_client().await;
    let failed = "SELECT string_agg(DISTINCT object, ',') FROM pgrelay.event WHERE event = 'table_failed'";
    wait_for_value(&source, failed, "public.large", MINUTE).await;
    pair.source.psql(DB, "UPDATE large SET id = id + 100000 WHERE id % 100 = 1; DELETE FROM large WHERE id % 100 = 2").await;
    pair.peer.psql(DB, "ALTER TABLE large DROP CONSTRAINT large_id_check").await;
    pair.wait_for_state("running", MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
    let again = pair.peer.psql(DB, "SELECT count(DISTINCT snapshot) > 1 FROM pgrelay_peer.chunk_copy WHERE table_name = 'large'").await;
    assert_eq!(again, "t", "chunks of the first try stayed");
}

#[tokio::test]
async fn while_a_table_is_tried_again_the_stream_of_the_others_goes_on() {
    let refuse = "ALTER TABLE bad ADD CHECK (id <> 77)";
    let pair = begin(refuse, r#"{"stages": ["copy", "stream"], "acknowledge_warnings": true, "copy_chunk_mb": 1, "copy_jobs": 2}"#).await;
    let (source, peer) = (pair.source_client().await, pair.peer_client().await);
    let status = "SELECT concat_ws(' ', state, error_object) FROM pgrelay.task_status";
    wait_for_value(&source, status, "copying public.bad", MINUTE).await;
    let others = "SELECT string_agg(table_name || ' ' || state, ',' ORDER BY 1) FROM pgrelay.table_status WHERE table_name <> 'bad'";
    wait_for_value(&source, others, "good syncdone,large syncdone", MINUTE).await;
    let stream = pair.source.psql(DB, "SELECT active_pid FROM pg_replication_slots").await;
    for n in 1..=5 {
        // Its own changes too: they wait, or come with the copy.
        let change =
            format!("UPDATE good SET v = 'round {n}'; UPDATE bad SET v = 'round {n}' WHERE id < 10; DELETE FROM bad WHERE id = {n}");
        pair.source.psql(DB, &change).await;
        let arrived = format!("SELECT (count(*) = 100)::text FROM good WHERE v = 'round {n}'");
        wait_for_value(&peer, &arrived, "true", MINUTE).await;
    }
    assert_eq!(pair.peer.psql(DB, "SELECT count(*) FROM bad").await, "0", "it is refused all the time");
    assert_eq!(pair.source.psql(DB, "SELECT active_pid FROM pg_replication_slots").await, stream, "one stream all the time");
    pair.peer.psql(DB, "ALTER TABLE bad DROP CONSTRAINT bad_id_check").await;
    pair.wait_for_state("running", MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
    let told =
        "SELECT string_agg(event || ' ' || object, ', ' ORDER BY id) FROM pgrelay.event WHERE event IN ('table_failed', 'table_mended')";
    assert_eq!(pair.source.psql(DB, told).await, "table_failed public.bad, table_mended public.bad");
    let begun_again = "SELECT count(*) FROM pgrelay.event WHERE message = 'the task is retrying'";
    assert_eq!(pair.source.psql(DB, begun_again).await, "0");
    wait_for_value(&source, "SELECT coalesce(error, 'none') FROM pgrelay.task_status", "none", MINUTE).await;
}

#[tokio::test]
async fn the_task_fails_when_the_rest_is_done_and_one_could_not_be() {
    tokio::join!(fails_at_last(r#"["copy"]"#), fails_at_last(r#"["copy", "stream"]"#));
}

async fn fails_at_last(stages: &str) {
    let refuse = "ALTER TABLE bad ADD CHECK (id <> 77)";
    let options = format!(r#"{{"stages": {stages}, "acknowledge_warnings": true, "retry_other_minutes": 1}}"#);
    let pair = begin(refuse, &options).await;
    pair.wait_for_state("failed", 4 * MINUTE).await;
    let error = pair.source.psql(DB, "SELECT error_object || ': ' || error FROM pgrelay.task_status").await;
    assert!(error.starts_with("public.bad: copy table \"public.bad\""), "{error}");
    assert_eq!(pair.peer.psql(DB, "SELECT count(*) FROM large").await, "20000");
}
