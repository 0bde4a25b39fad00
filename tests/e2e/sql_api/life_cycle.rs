//! The life cycle in the database is the table in `core`, between two sessions too.

use std::time::Duration;

use pgrelay_core::state::{Actual, Command, Desired, Outcome, Standing, apply};
use pgrelay_tests::wait_for_value;

use crate::{attach, connect_hearing, error_of, source, value};

#[tokio::test]
async fn every_command_in_every_state_does_what_the_table_says() {
    let (_cluster, client) = source().await;
    attach(&client).await;
    client.batch_execute("SELECT pgrelay.create_task('t', 'host=db2')").await.unwrap();
    for desired in Desired::ALL {
        for pending in [false, true] {
            for actual in Actual::ALL {
                client
                    .batch_execute(&format!(
                        "UPDATE pgrelay.task SET desired = '{desired}', desired_serial = 7;
                         INSERT INTO pgrelay.task_actual (task_id, seen_serial, state, state_since, updated_at)
                         SELECT id, {}, '{actual}', now(), now() FROM pgrelay.task
                         ON CONFLICT (task_id, direction) DO UPDATE SET seen_serial = EXCLUDED.seen_serial, state = EXCLUDED.state;",
                        if pending { 6 } else { 7 }
                    ))
                    .await
                    .unwrap();
                for command in Command::ALL {
                    let standing = Standing::of(desired, pending, actual);
                    let expected = apply(command, "t", standing, true);
                    let case = format!("{} with {desired}, {pending}, {actual}", command.function());
                    client.batch_execute("BEGIN").await.unwrap();
                    let done = client.query_one(&format!("SELECT * FROM pgrelay.{}('t')", command.function()), &[]).await;
                    match (expected, done) {
                        (Ok(Outcome::Desire(wish)), Ok(_)) => {
                            let now = value(&client, "SELECT desired || ' ' || desired_serial FROM pgrelay.task").await;
                            assert_eq!(now, Some(format!("{wish} 8")), "{case}");
                        }
                        (Ok(Outcome::DeleteNow), Ok(_)) => {
                            assert_eq!(value(&client, "SELECT count(*)::text FROM pgrelay.task").await.unwrap(), "0", "{case}");
                        }
                        (Err(expected), Err(error)) => {
                            let error = error.as_db_error().unwrap();
                            assert_eq!(error.code().code(), "55000", "{case}");
                            assert_eq!(error.message(), expected.message, "{case}");
                            assert_eq!(error.hint(), expected.hint.as_deref(), "{case}");
                        }
                        (expected, done) => panic!("{case}: expected {expected:?}, got {done:?}"),
                    }
                    client.batch_execute("ROLLBACK").await.unwrap();
                }
            }
        }
    }
}

#[tokio::test]
async fn a_command_returns_a_row_writes_an_event_and_notifies() {
    let (cluster, client) = source().await;
    let row = client.query_one("SELECT * FROM pgrelay.start_task('move', 'host=db2 dbname=app', '{shop.*}')", &[]).await.unwrap();
    assert_eq!((row.get::<_, &str>("task"), row.get::<_, &str>("state")), ("move", "created"));
    let stored = "SELECT desired || ' ' || desired_serial || ' ' || peer || ' ' || include::text || ' ' || owner FROM pgrelay.task";
    assert_eq!(value(&client, stored).await.unwrap(), "run 1 host=db2 dbname=app {shop.*} postgres");
    let events = "SELECT string_agg(writer || ': ' || message, ', ' ORDER BY id) FROM pgrelay.event WHERE task = 'move'";
    assert_eq!(
        value(&client, events).await.unwrap(),
        "extension: create_task by role \"postgres\", extension: start_task by role \"postgres\""
    );
    // psql shows notifications that came.
    let heard = cluster.psql("app", "LISTEN pgrelay; SELECT pgrelay.pause_task('move');").await;
    assert!(heard.contains("Asynchronous notification \"pgrelay\" with payload \"1\""), "{heard}");
}

#[tokio::test]
async fn a_command_without_an_applier_warns_and_says_how_to_start_one() {
    let (cluster, client) = source().await;
    let (hearing, heard) = connect_hearing(&cluster, "app").await;
    hearing.batch_execute("SELECT pgrelay.start_task('one', 'host=db2')").await.unwrap();
    {
        let heard = heard.lock().unwrap();
        let warning = heard.first().expect("a warning");
        assert_eq!(warning.severity(), "WARNING");
        assert!(warning.message().starts_with("no applier is attached"), "{warning:?}");
        assert_eq!(warning.hint(), Some("Start one with: pgrelay-applier run --source 'dbname=app'"));
    }
    attach(&client).await;
    heard.lock().unwrap().clear();
    hearing.batch_execute("SELECT pgrelay.start_task('two', 'host=db2')").await.unwrap();
    assert!(heard.lock().unwrap().is_empty());
    // The applier's session has ended: its lease is worth nothing.
    drop(client);
    let gone = "SELECT pgrelay.applier_attached()::text";
    wait_for_value(&hearing, gone, "false", Duration::from_secs(10)).await;
    hearing.batch_execute("SELECT pgrelay.start_task('three', 'host=db2')").await.unwrap();
    assert_eq!(heard.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn of_two_sessions_that_start_one_task_one_is_refused() {
    let (cluster, one) = source().await;
    let two = cluster.connect("app").await;
    one.batch_execute("SELECT pgrelay.create_task('move', 'host=db2')").await.unwrap();
    one.batch_execute("BEGIN; SELECT pgrelay.start_task('move')").await.unwrap();
    let late = tokio::spawn(async move { error_of(&two, "SELECT pgrelay.start_task('move')").await });
    let waits = "SELECT count(*)::text FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%start_task%'";
    // Inside of its transaction `one` would see the sessions as they were at its first look.
    wait_for_value(&cluster.connect("app").await, waits, "1", Duration::from_secs(10)).await;
    one.batch_execute("COMMIT").await.unwrap();
    assert_eq!(late.await.unwrap().code().code(), "55000");
    assert_eq!(value(&one, "SELECT desired_serial::text FROM pgrelay.task").await.unwrap(), "1");
}

#[tokio::test]
async fn a_task_whose_tables_are_still_changed_is_not_dropped_at_once() {
    let (_cluster, client) = source().await;
    client
        .batch_execute(
            "SELECT pgrelay.create_task('move', 'host=db2');
             INSERT INTO pgrelay.replica_identity SELECT id, 'shop.orders'::regclass, 'd' FROM pgrelay.task;
             SELECT pgrelay.drop_task('move');",
        )
        .await
        .unwrap();
    assert_eq!(value(&client, "SELECT desired FROM pgrelay.task").await.unwrap(), "drop");
    client.batch_execute("DELETE FROM pgrelay.replica_identity; SELECT pgrelay.create_task('two', 'host=db2')").await.unwrap();
    client.batch_execute("SELECT pgrelay.drop_task('two')").await.unwrap();
    assert_eq!(value(&client, "SELECT string_agg(name, ',') FROM pgrelay.task").await.unwrap(), "move");
}
