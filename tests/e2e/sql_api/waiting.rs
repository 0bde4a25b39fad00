//! The functions that wait: when they return, and when they raise at once.

use std::time::{Duration, Instant};

use pgrelay_tests::wait_for_value;
use tokio_postgres::Client;

use crate::{attach, error_of, set_state, source, source_with, value};

/// Stands in for an applier: answers the one open question.
async fn answer(client: &Client, error: Option<(&str, &str)>) {
    wait_for_value(client, "SELECT count(*)::text FROM pgrelay.request WHERE answered_at IS NULL", "1", Duration::from_secs(10)).await;
    let (sqlstate, message) = error.unzip();
    client
        .execute("UPDATE pgrelay.request SET answered_at = now(), error_sqlstate = $1, error_message = $2", &[&sqlstate, &message])
        .await
        .unwrap();
}

#[tokio::test]
async fn waiting_is_refused_in_a_transaction_in_which_it_would_be_in_vain() {
    let (_cluster, client) = source().await;
    client.batch_execute("SELECT pgrelay.start_task('move', 'host=db2')").await.unwrap();
    for call in ["wait_for_state('move', 'running')", "wait_for_catchup('move')", "precheck('move')"] {
        for begin in ["BEGIN; CREATE TABLE written ()", "BEGIN ISOLATION LEVEL REPEATABLE READ", "BEGIN ISOLATION LEVEL SERIALIZABLE"] {
            let error = error_of(&client, &format!("{begin}; SELECT pgrelay.{call}")).await;
            assert_eq!(error.code().code(), "55000", "{call}");
            assert!(error.message().ends_with("cannot run in this transaction"), "{call}: {error:?}");
            client.batch_execute("ROLLBACK").await.unwrap();
        }
    }
    assert_eq!(value(&client, "SELECT count(*)::text FROM pgrelay.request").await.unwrap(), "0");
}

#[tokio::test]
async fn wait_for_state_sees_what_other_sessions_commit() {
    let (cluster, client) = source().await;
    let applier = cluster.connect("app").await;
    attach(&applier).await;
    client.batch_execute("SELECT pgrelay.start_task('move', 'host=db2')").await.unwrap();
    let waiting = tokio::spawn(async move {
        client.batch_execute("BEGIN; SELECT pgrelay.wait_for_state('move', 'running'); COMMIT").await.unwrap();
        client
    });
    for (state, stage) in [("prechecking", "schema"), ("schema", "schema"), ("copying", "copy"), ("running", "stream")] {
        set_state(&applier, state, stage).await;
    }
    let client = waiting.await.unwrap();
    client.batch_execute("SELECT pgrelay.drop_task('move')").await.unwrap();
    let waiting = tokio::spawn(async move { client.batch_execute("SELECT pgrelay.wait_for_state('move', 'dropped')").await.unwrap() });
    applier.batch_execute("DELETE FROM pgrelay.task").await.unwrap();
    waiting.await.unwrap();
}

#[tokio::test]
async fn waiting_raises_when_the_state_cannot_come() {
    let (cluster, client) = source().await;
    let applier = cluster.connect("app").await;
    attach(&applier).await;
    client.batch_execute("SELECT pgrelay.start_task('move', 'host=db2')").await.unwrap();
    set_state(&applier, "copying", "copy").await;
    let waiting = tokio::spawn(async move { error_of(&client, "SELECT pgrelay.wait_for_state('move', 'running')").await });
    set_state(&applier, "failed", "copy").await;
    applier.batch_execute("UPDATE pgrelay.task_actual SET error_message = 'disk full', error_hint = 'Add space.'").await.unwrap();
    let error = waiting.await.unwrap();
    assert_eq!(error.code().code(), "55000");
    assert!(error.message().starts_with("task \"move\" cannot come to state \"running\""), "{error:?}");

    let client = cluster.connect("app").await;
    for call in ["wait_for_state('move', 'running')", "wait_for_state('move', 'paused')", "wait_for_catchup('move')"] {
        let error = error_of(&client, &format!("SELECT pgrelay.{call}")).await;
        assert_eq!(error.detail(), Some("Its state is failed, and its error: disk full."), "{call}");
        assert_eq!(error.hint(), Some("Add space."), "{call}");
    }
}

#[tokio::test]
async fn a_task_that_is_running_without_an_applier_is_not_running() {
    let (_cluster, client) = source().await;
    client.batch_execute("SELECT pgrelay.start_task('move', 'host=db2')").await.unwrap();
    set_state(&client, "running", "stream").await;
    let error = error_of(&client, "SELECT pgrelay.wait_for_state('move', 'running', '200 ms')").await;
    assert_eq!(error.code().code(), "57014");
    assert!(error.hint().is_some_and(|h| h.starts_with("No applier is attached.")), "{error:?}");
}

#[tokio::test]
async fn catchup_asks_with_a_position_behind_every_commit_and_returns_at_the_answer() {
    let (cluster, client) = source_with("synchronous_commit = off\n").await;
    let applier = cluster.connect("app").await;
    attach(&applier).await;
    client.batch_execute("ALTER DATABASE app SET default_transaction_read_only = on").await.unwrap();
    client.batch_execute("SELECT pgrelay.start_task('move', 'host=db2')").await.unwrap();
    set_state(&applier, "catching_up", "stream").await;
    client.batch_execute("INSERT INTO shop.items VALUES (1, 'x')").await.unwrap();
    let committed = value(&client, "SELECT pg_current_wal_insert_lsn()::text").await.unwrap();
    let waiting = tokio::spawn(async move { client.query_one("SELECT * FROM pgrelay.wait_for_catchup('move')", &[]).await.unwrap() });
    answer(&applier, None).await;
    let row = waiting.await.unwrap();
    assert_eq!(row.get::<_, &str>("state"), "catching_up");
    let asked = format!("SELECT (lsn >= '{committed}' AND kind = 'catchup')::text FROM pgrelay.request");
    assert_eq!(value(&applier, &asked).await.unwrap(), "true");
    // Flushed, so that decoding sees the application's commit too.
    let flushed = "SELECT (pg_current_wal_flush_lsn() >= lsn)::text FROM pgrelay.request";
    assert_eq!(value(&applier, flushed).await.unwrap(), "true");
}

#[tokio::test]
async fn catchup_ends_with_the_task_with_the_appliers_error_or_in_time() {
    let (cluster, client) = source().await;
    let applier = cluster.connect("app").await;
    attach(&applier).await;
    client.batch_execute("SELECT pgrelay.start_task('move', 'host=db2')").await.unwrap();
    set_state(&applier, "running", "stream").await;

    let error = error_of(&client, "SELECT pgrelay.wait_for_catchup('move', '100 ms')").await;
    assert_eq!((error.code().code(), error.message()), ("57014", "task \"move\" did not catch up in time"));
    applier.batch_execute("DELETE FROM pgrelay.request").await.unwrap();

    let (error, ()) =
        tokio::join!(error_of(&client, "SELECT pgrelay.wait_for_catchup('move')"), answer(&applier, Some(("53100", "disk full"))));
    assert_eq!((error.code().code(), error.message()), ("53100", "disk full"));

    let waiting = tokio::spawn(async move { error_of(&client, "SELECT pgrelay.wait_for_catchup('move')").await });
    wait_for_value(&applier, "SELECT count(*)::text FROM pgrelay.request", "2", Duration::from_secs(10)).await;
    applier.batch_execute("SELECT pgrelay.pause_task('move')").await.unwrap();
    assert_eq!(waiting.await.unwrap().code().code(), "55000");
}

#[tokio::test]
async fn waiting_can_be_cancelled() {
    let (_cluster, client) = source().await;
    client.batch_execute("SELECT pgrelay.start_task('move', 'host=db2'); SET statement_timeout = '200 ms'").await.unwrap();
    let begun = Instant::now();
    assert_eq!(error_of(&client, "SELECT pgrelay.wait_for_catchup('move')").await.code().code(), "57014");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn precheck_returns_the_findings_of_both_sides() {
    let (cluster, client) = source().await;
    let applier = cluster.connect("app").await;
    attach(&applier).await;
    client.batch_execute("SELECT pgrelay.create_task('move', 'host=db2')").await.unwrap();
    applier
        .batch_execute(
            "INSERT INTO pgrelay.task_finding (task_id, ordinal, item, severity, object, message, fix)
             SELECT id, 2, 'wal_level', 'error', 'source', 'wal_level is replica', 'ALTER SYSTEM …' FROM pgrelay.task
             UNION ALL SELECT id, 1, 'version', 'ok', 'peer', 'PostgreSQL 15', NULL FROM pgrelay.task",
        )
        .await
        .unwrap();
    let (rows, ()) = tokio::join!(client.query("SELECT * FROM pgrelay.precheck('move')", &[]), answer(&applier, None));
    let found: Vec<(String, String, Option<String>)> =
        rows.unwrap().iter().map(|r| (r.get("item"), r.get("severity"), r.get("fix"))).collect();
    let expected = [("version", "ok", None), ("wal_level", "error", Some("ALTER SYSTEM …"))];
    assert_eq!(found, expected.map(|(item, severity, fix)| (item.into(), severity.into(), fix.map(String::from))));
}

#[tokio::test]
async fn without_a_free_worker_the_error_says_what_to_raise() {
    let (cluster, client) = source_with("max_worker_processes = 0\nmax_logical_replication_workers = 0\n").await;
    let applier = cluster.connect("app").await;
    attach(&applier).await;
    client.batch_execute("SELECT pgrelay.create_task('move', 'host=db2')").await.unwrap();
    let error = error_of(&client, "SELECT pgrelay.precheck('move')").await;
    assert_eq!(error.code().code(), "53000");
    assert!(error.hint().is_some_and(|h| h.contains("max_worker_processes")), "{error:?}");
}
