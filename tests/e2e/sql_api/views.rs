//! The views say what is true, also when nobody works.

use crate::{attach, set_state, source, value};

const STATUS: &str = "SELECT concat_ws(' | ', state, percent, attached, coalesce(error, 'no error')) FROM pgrelay.task_status";

#[tokio::test]
async fn without_an_applier_a_running_task_catches_up_and_its_lag_grows() {
    let (cluster, client) = source().await;
    client.batch_execute("SELECT pgrelay.start_task('move', 'host=db2')").await.unwrap();
    assert_eq!(value(&client, STATUS).await.unwrap(), "created | f | no applier is attached");
    set_state(&client, "running", "stream").await;
    client.batch_execute("UPDATE pgrelay.task_actual SET applied_lsn = pg_current_wal_lsn(), lag_bytes = 0, lag = '0'").await.unwrap();
    assert_eq!(value(&client, STATUS).await.unwrap(), "catching_up | 100.0 | f | no applier is attached");
    let lag = "SELECT (lag_bytes > 1000 AND lag > '0' AND error_hint LIKE '%pgrelay-applier run --source ''dbname=app''')::text
               FROM pgrelay.task_status";
    client.batch_execute("INSERT INTO shop.items SELECT n, repeat('x', 100) FROM generate_series(1, 100) n").await.unwrap();
    assert_eq!(value(&client, lag).await.unwrap(), "true");

    let applier = cluster.connect("app").await;
    attach(&applier).await;
    assert_eq!(value(&client, STATUS).await.unwrap(), "running | 100.0 | t | no error");
    assert_eq!(value(&client, "SELECT lag_bytes::text FROM pgrelay.task_status").await.unwrap(), "0");
    // A lease that ran out is none, though its session lives.
    applier.batch_execute("UPDATE pgrelay.lease SET valid_until = now() - interval '1 s'").await.unwrap();
    assert_eq!(value(&client, STATUS).await.unwrap(), "catching_up | 100.0 | f | no applier is attached");
}

#[tokio::test]
async fn a_role_that_sees_no_other_sessions_sees_the_applier() {
    let (cluster, client) = source().await;
    let applier = cluster.connect("app").await;
    attach(&applier).await;
    client
        .batch_execute(
            "INSERT INTO pgrelay.applier_instance (id, host, process_id, version, backend_pid, started_at, seen_at)
             SELECT holder, 'here', 1, '0.1.0', backend_pid, now(), now() FROM pgrelay.lease
             UNION ALL SELECT gen_random_uuid(), 'gone', 1, '0.1.0', 999999, now(), now();
             CREATE ROLE ops IN ROLE pgrelay_monitor; SET ROLE ops",
        )
        .await
        .unwrap();
    let seen = "SELECT string_agg(concat_ws(' ', host, attached, working), ', ' ORDER BY host) FROM pgrelay.applier";
    assert_eq!(value(&client, seen).await.unwrap(), "gone f f, here t t");
}

#[tokio::test]
async fn progress_of_the_copy_is_that_of_its_tables_by_size() {
    let (_cluster, client) = source().await;
    attach(&client).await;
    client.batch_execute("SELECT pgrelay.start_task('move', 'host=db2', '{shop.*}')").await.unwrap();
    set_state(&client, "copying", "copy").await;
    client
        .batch_execute(
            "INSERT INTO pgrelay.table_state (task_id, schema_name, table_name, state, insert_only, rows_estimated, bytes_estimated,
                 rows_copied, bytes_copied, copy_started_at, copy_finished_at, rows_per_second)
             SELECT id, 'shop', t.name, t.state, t.name = 'items', t.estimated, t.size, t.copied, t.copied * 100, now() - interval '10 s', t.done, t.speed
             FROM pgrelay.task, (VALUES ('orders', 'datasync', 1000, 3000000, 500, NULL, 50), ('items', 'ready', 10, 1000000, 20, now(), NULL),
                 ('new', 'init', -1, 0, 0, NULL, NULL)) t (name, state, estimated, size, copied, done, speed);",
        )
        .await
        .unwrap();
    // Half of three, all of one, nothing of a page.
    assert_eq!(
        value(&client, "SELECT concat_ws(' ', percent, tables, tables_ready, rows_copied, rows_total) FROM pgrelay.task_status")
            .await
            .unwrap(),
        "62.3 3 1 520 1020"
    );
    let tables =
        "SELECT string_agg(concat_ws(' ', table_name, state, percent, rows, date_trunc('second', eta), note), ', ' ORDER BY table_name)
                  FROM pgrelay.table_status";
    assert_eq!(
        value(&client, tables).await.unwrap(),
        "items ready 100.0 20 only INSERT and TRUNCATE are carried: the table has no replica identity, new init 0.0 0, \
         orders datasync 50.0 500 PT10S"
    );
}

#[tokio::test]
async fn a_time_left_is_told_only_where_it_is_known() {
    let (_cluster, client) = source().await;
    attach(&client).await;
    client.batch_execute("SELECT pgrelay.start_task('move', 'host=db2', '{shop.*}')").await.unwrap();
    set_state(&client, "copying", "copy").await;
    client
        .batch_execute(
            "INSERT INTO pgrelay.table_state (task_id, schema_name, table_name, state, rows_estimated, bytes_estimated, rows_copied,
                 rows_per_second, bytes_per_second)
             SELECT id, 'shop', t.name, 'datasync', t.estimated, 8192, 600, t.speed, 7000 FROM pgrelay.task,
                 (VALUES ('known', 1000, 40), ('more', 600, 40), ('never', -1, 40), ('stands', 1000, 0), ('new', 1000, NULL))
                 t (name, estimated, speed);
             UPDATE pgrelay.task_actual SET copy_ends_at = clock_timestamp() + interval '90.9 s', rows_per_second = 40, throttled = 0.5,
                 throttle = '{\"copy_rows_per_s\": 40}'",
        )
        .await
        .unwrap();
    let tables = "SELECT string_agg(concat_ws(' ', table_name, percent, coalesce(eta::text, '?')), ', ' ORDER BY table_name) FROM pgrelay.table_status";
    assert_eq!(value(&client, tables).await.unwrap(), "known 60.0 PT10S, more 99.0 ?, never 0.0 ?, new 60.0 ?, stands 60.0 ?");
    let task = "SELECT concat_ws(' ', eta, rows_per_second, throttled, throttle) FROM pgrelay.task_status";
    assert_eq!(value(&client, task).await.unwrap(), "PT1M30S 40 50 {\"copy_rows_per_s\": 40}");
    client.batch_execute("UPDATE pgrelay.task_actual SET copy_ends_at = NULL").await.unwrap();
    assert_eq!(value(&client, task).await.unwrap(), "40 50 {\"copy_rows_per_s\": 40}");
    set_state(&client, "paused", "copy").await;
    assert_eq!(value(&client, task).await.unwrap(), "", "nobody copies");
    let moving = "SELECT count(eta) + count(rows_per_second) FROM pgrelay.table_status";
    assert_eq!(value(&client, &format!("SELECT ({moving})::text")).await.unwrap(), "0");
}
