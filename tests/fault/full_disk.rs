//! A peer whose disk is full, as a server sees it whose files may not grow: told, tried again, and nothing is lost.

use std::time::Duration;

use pgrelay_tests::Pair;
use pgrelay_tests::pair::DB;
use pgrelay_tests::wait::wait_for_value;

const MINUTE: Duration = Duration::from_secs(60);

/// More than a segment of the WAL, less than the table takes, which is some 42 MB; then less than it takes with as many rows more. Not whole
/// pages, so that the last one is written in part, which PostgreSQL takes for a full disk.
const ROOM: [u64; 2] = [(24 << 20) + 100, (60 << 20) + 100];

fn rows(from: u32) -> String {
    format!("INSERT INTO t SELECT n, repeat(md5(n::text), 32) FROM generate_series({from}, {}) n", from + 39_999)
}

async fn is_told(pair: &Pair, state: &str) {
    let told =
        "SELECT concat_ws(' ', state, error_sqlstate, error_object) FROM pgrelay.task_status WHERE error LIKE '%could not extend file%'";
    wait_for_value(&pair.source_client().await, told, &format!("{state} 53100 public.t"), MINUTE).await;
}

#[tokio::test]
async fn copy_and_stream_wait_for_room() {
    let pair = Pair::start(&format!("CREATE TABLE t (id int PRIMARY KEY, v text); {}", rows(1))).await;
    pair.peer.let_files_grow_to(Some(ROOM[0]));
    pair.start_task("{}").await;
    is_told(&pair, "copying").await;
    pair.peer.let_files_grow_to(None);
    pair.wait_for_state("running", 3 * MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;

    pair.peer.let_files_grow_to(Some(ROOM[1]));
    // The limit is that of sessions that begin.
    pair.peer.psql(DB, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%pgrelay%'").await;
    pair.source.psql(DB, &format!("BEGIN; UPDATE t SET v = 'in it' WHERE id = 1; {}; COMMIT", rows(100_001))).await;
    pair.source.psql(DB, "UPDATE t SET v = 'behind it' WHERE id = 2").await;
    is_told(&pair, "retrying").await;
    assert_eq!(pair.peer.psql(DB, "SELECT count(*) || ' ' || count(*) FILTER (WHERE v LIKE '% it') FROM t").await, "40000 0");
    pair.peer.let_files_grow_to(None);
    pair.wait_for_state("running", 3 * MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
}
