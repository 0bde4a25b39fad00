//! Options of a running task change without anything of it being begun again.

use std::time::Duration;

use pgrelay_tests::Pair;
use pgrelay_tests::pair::{DB, TASK};
use pgrelay_tests::wait::wait_for_value;
use tokio_postgres::Client;

const MINUTE: Duration = Duration::from_secs(60);

async fn alter(pair: &Pair, options: &str) -> String {
    pair.source.psql(DB, &format!("SELECT message FROM pgrelay.alter_task('{TASK}', '{options}')")).await
}

async fn text(client: &Client, sql: &str) -> String {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn workers_come_and_go_with_copy_jobs_and_those_at_work_stay() {
    let table = |name: &str| {
        format!(
            "CREATE TABLE {name} (id int PRIMARY KEY, f text); INSERT INTO {name} SELECT n, repeat('x', 490) FROM generate_series(1, 4000) n;"
        )
    };
    let pair = Pair::start(&["a", "b", "c", "d", "e", "f"].map(table).concat()).await;
    let (source, peer) = (pair.source_client().await, pair.peer_client().await);
    pair.start_task(r#"{"copy_jobs": 1, "throttle": {"copy_mb_per_s": 0.3}}"#).await;
    let copies = |n: u32| format!("SELECT (count(*) = {n})::text FROM pg_stat_progress_copy");
    wait_for_value(&peer, &copies(1), "true", MINUTE).await;
    let first = text(&peer, "SELECT pid::text FROM pg_stat_progress_copy").await;
    assert!(alter(&pair, r#"{"copy_jobs": 3}"#).await.contains("at once"));
    wait_for_value(&peer, &copies(3), "true", MINUTE).await;
    let same = format!("SELECT count(*)::text FROM pg_stat_progress_copy WHERE pid = {first}");
    assert_eq!(text(&peer, &same).await, "1", "the copy that ran goes on");
    // Fewer: those that are too many finish their tables.
    alter(&pair, r#"{"copy_jobs": 1, "throttle": {"copy_mb_per_s": 1.5}}"#).await;
    wait_for_value(&peer, &copies(1), "true", MINUTE).await;
    let left = "SELECT (count(*) > 0)::text FROM pgrelay.table_status WHERE state IN ('init', 'datasync')";
    assert_eq!(text(&source, left).await, "true", "there is more to copy, by one");
    alter(&pair, r#"{"throttle": null}"#).await;
    pair.wait_for_state("running", MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
}

#[tokio::test]
async fn what_may_change_does_not_restart_a_stream_and_what_may_not_is_refused() {
    let pair = Pair::start("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100)").await;
    pair.start_task("{}").await;
    pair.wait_for_state("running", MINUTE).await;
    let (source, peer) = (pair.source_client().await, pair.peer_client().await);
    let sessions =
        "SELECT string_agg(pid::text, ' ' ORDER BY pid) FROM pg_stat_activity WHERE application_name LIKE 'pgrelay%' AND datname = 'app'";
    let events = "SELECT count(*)::text FROM pgrelay.event WHERE event = 'state'";
    // Sessions that come and go by themselves are over by now.
    let walsender = "SELECT active_pid::text FROM pg_replication_slots";
    let apply = "SELECT pid::text FROM pg_stat_activity WHERE application_name LIKE '% apply'";
    let before = (text(&source, walsender).await, text(&peer, apply).await, text(&source, events).await);
    for options in [
        r#"{"throttle": {"stream_rows_per_s": 1000}}"#,
        r#"{"retry_connection_minutes": 60, "retry_other_minutes": 5}"#,
        r#"{"copy_jobs": 9, "acknowledge_warnings": true}"#,
        r#"{"retry_connection_minutes": null, "throttle": {"stream_rows_per_s": 500}}"#,
    ] {
        alter(&pair, options).await;
        pair.source.psql(DB, "INSERT INTO t SELECT max(id) + 1 FROM t").await;
        pair.wait_for_catchup(MINUTE).await;
    }
    let in_force = "SELECT throttle::text FROM pgrelay.task_status";
    wait_for_value(&source, in_force, "{\"stream_rows_per_s\": 500}", MINUTE).await;
    for fixed in [r#"{"stages": ["schema", "copy"]}"#, r#"{"keyless": "full"}"#, r#"{"not_movable": "skip"}"#] {
        let sql = format!("SELECT pgrelay.alter_task('{TASK}', '{fixed}')");
        let error = pair.source.try_psql(DB, &sql).await.unwrap_err();
        assert!(error.contains("55000") && error.contains("cannot be changed now") && error.contains("stop_task"), "{error}");
    }
    let after = (text(&source, walsender).await, text(&peer, apply).await, text(&source, events).await);
    assert_eq!(after, before, "the same connections, and no change of state; now: {}", text(&source, sessions).await);
    pair.assert_equal_after_catchup(MINUTE).await;
}

#[tokio::test]
async fn an_option_that_is_fixed_later_changes_while_the_task_has_made_nothing() {
    // The precheck fails, so nothing is made.
    let pair = Pair::start("CREATE TABLE t (id int); INSERT INTO t VALUES (1)").await;
    pair.start_task("{}").await;
    let source = pair.source_client().await;
    wait_for_value(&source, "SELECT state FROM pgrelay.task_status", "precheck_failed", MINUTE).await;
    alter(&pair, r#"{"keyless": "full"}"#).await;
    pair.source.psql(DB, &format!("SELECT pgrelay.resume_task('{TASK}')")).await;
    pair.wait_for_state("running", MINUTE).await;
    pair.source.psql(DB, "UPDATE t SET id = 2").await;
    pair.assert_equal_after_catchup(MINUTE).await;
}
