//! What is shown of a task's progress is so, and is not told where it cannot be known.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use pgrelay_tests::pair::{DB, TASK};
use pgrelay_tests::process::{as_client, signal, wait_exit};
use pgrelay_tests::wait::wait_until;
use pgrelay_tests::{Package, Pair};

const MINUTE: Duration = Duration::from_secs(20);

/// `known` was analyzed, and has grown by a tenth since; `never` was not.
const TABLES: &str = "
    CREATE TABLE known (id int PRIMARY KEY, n int, f text) WITH (autovacuum_enabled = off);
    INSERT INTO known SELECT n, n, repeat('x', 480) FROM generate_series(1, 20000) n;
    CREATE INDEX ON known (n); CREATE UNIQUE INDEX ON known (f, id);
    ANALYZE known;
    INSERT INTO known SELECT n, n, repeat('x', 480) FROM generate_series(20001, 22000) n;";

const NEVER: &str = "
    CREATE TABLE never (id int PRIMARY KEY, f text) WITH (autovacuum_enabled = off);
    INSERT INTO never SELECT n, repeat('x', 490) FROM generate_series(1, 20000) n;";

async fn wait_for_row(pair: &Pair, sql: &str) {
    let client = pair.source_client().await;
    wait_until(&format!("true from {sql}"), MINUTE, async || {
        if client.query_one(sql, &[]).await.map_err(|e| format!("{e:?}"))?.get::<_, Option<bool>>(0) == Some(true) {
            return Ok(());
        }
        let seen = "SELECT concat_ws(' ', to_jsonb(t), (SELECT jsonb_agg(s) FROM pgrelay.table_status s)) FROM pgrelay.task_status t";
        Err(client.query_one(seen, &[]).await.map_err(|e| format!("{e:?}"))?.get(0))
    })
    .await;
}

#[tokio::test]
async fn a_copy_shows_its_speed_its_end_and_its_indexes() {
    let pair = Pair::start(TABLES).await;
    pair.start_task(r#"{"throttle": {"copy_rows_per_s": 2000}}"#).await;
    // 22,000 rows at 2,000 per second take eleven seconds: the estimate is by today's size.
    wait_for_row(
        &pair,
        "SELECT percent BETWEEN 10 AND 90 AND rows_estimated BETWEEN 21800 AND 22200 AND indexes_done = 0 AND indexes_total = 3
             AND abs(percent - 100.0 * rows / rows_estimated) < 1
             AND rows_per_second BETWEEN 1800 AND 2200 AND bytes_per_second BETWEEN 850000 AND 1200000
             AND extract(epoch FROM eta) BETWEEN (22000 - rows) / 2000.0 - 2 AND (22000 - rows) / 2000.0 + 2
         FROM pgrelay.table_status",
    )
    .await;
    wait_for_row(
        &pair,
        "SELECT state = 'copying' AND rows_per_second BETWEEN 1800 AND 2200 AND throttled > 80 AND indexes_total = 3
             AND extract(epoch FROM eta) BETWEEN (22000 - rows_copied) / 2000.0 - 2 AND (22000 - rows_copied) / 2000.0 + 2
         FROM pgrelay.task_status",
    )
    .await;
    let mut pair = pair;
    // Another applier begins the table again, and says nothing of an end before it knows.
    pair.applier.kill9();
    wait_for_row(&pair, "SELECT eta IS NULL AND rows_per_second IS NULL AND NOT attached FROM pgrelay.task_status").await;
    wait_for_row(&pair, "SELECT bool_and(eta IS NULL AND rows_per_second IS NULL) FROM pgrelay.table_status").await;
    pair.source.psql(DB, &format!("SELECT pgrelay.alter_task('{TASK}', '{{\"throttle\": null}}')")).await;
    pair.applier.restart();
    pair.wait_for_state("running", MINUTE).await;
    let done = "SELECT percent = 100 AND rows = 22000 AND eta IS NULL AND indexes_done = 3 AND indexes_total = 3 FROM pgrelay.table_status";
    wait_for_row(&pair, done).await;
    let all =
        "SELECT percent = 100 AND rows_copied = 22000 AND rows_total = 22000 AND eta IS NULL AND indexes_done = 3 FROM pgrelay.task_status";
    wait_for_row(&pair, all).await;
    // What is done is not forgotten by the next.
    pair.applier.restart();
    wait_for_row(&pair, "SELECT attached AND state = 'running' AND throttled = 0 FROM pgrelay.task_status").await;
    wait_for_row(&pair, done).await;
    wait_for_row(&pair, all).await;
}

#[tokio::test]
async fn where_rows_were_never_estimated_no_end_is_told() {
    let pair = Pair::start(NEVER).await;
    pair.start_task(r#"{"throttle": {"copy_rows_per_s": 2000}}"#).await;
    wait_for_row(
        &pair,
        "SELECT rows_estimated = -1 AND rows_per_second > 1500 AND percent BETWEEN 20 AND 99 AND eta IS NULL FROM pgrelay.table_status",
    )
    .await;
    wait_for_row(&pair, "SELECT eta IS NULL AND rows_per_second > 1500 AND percent < 100 FROM pgrelay.task_status").await;
    pair.wait_for_state("running", MINUTE).await;
}

fn status(pair: &Pair, args: &[&str]) -> Child {
    let mut command = as_client(&Package::from_env().applier());
    command.args(["status", "--source", &pair.source.dsn(DB)]).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start status")
}

#[tokio::test]
async fn status_is_drawn_every_second_as_plain_text_and_ends_in_order() {
    let pair = Pair::start(TABLES).await;
    pair.start_task(r#"{"throttle": {"copy_rows_per_s": 3000}}"#).await;
    wait_for_row(&pair, "SELECT count(eta) = 1 FROM pgrelay.table_status").await;
    let begun = std::time::Instant::now();
    let mut child = status(&pair, &["--watch"]);
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut seen = String::new();
    let mut pictures = 0;
    while pictures < 3 {
        let line = lines.next().expect("a line").expect("text");
        pictures += usize::from(line.starts_with("task move: copying"));
        seen += &format!("{line}\n");
    }
    assert!(begun.elapsed() >= Duration::from_secs(2), "one a second");
    for part in ["rows/s", "ETA 00:00:", "indexes 0 of 3", "public.known", "of about 2", "by its throttle"] {
        assert!(seen.contains(part), "{part} is not in\n{seen}");
    }
    assert!(!seen.contains('\x1b'), "no terminal, no control sequences: {seen}");
    signal(&child, "INT");
    let ended = wait_exit(&mut child, Duration::from_secs(10)).await.expect("it ends");
    assert!(ended.success(), "{ended:?}");

    // Who reads no more is no error.
    let mut child = status(&pair, &["--watch"]);
    drop(child.stdout.take());
    let ended = wait_exit(&mut child, Duration::from_secs(10)).await.expect("it ends");
    assert!(ended.success(), "{ended:?}");

    let out = status(&pair, &["--json"]).wait_with_output().expect("its output");
    assert!(out.status.success());
    let sql = format!(
        "SELECT j -> 0 ->> 'task' || ' ' || (j #>> '{{0,table_status,0,indexes_total}}') FROM (SELECT $json${}$json$::jsonb) t (j)",
        String::from_utf8_lossy(&out.stdout)
    );
    assert_eq!(pair.source.psql(DB, &sql).await, "move 3");
    let client = pair.source_client().await;
    wait_until("one picture without --watch", MINUTE, async || {
        let out = status(&pair, &[TASK]).wait_with_output().map_err(|e| e.to_string())?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        if out.status.success() && text.matches("task move").count() == 1 { Ok(()) } else { Err(text) }
    })
    .await;
    drop(client);
}

#[tokio::test]
async fn what_was_applied_right_before_a_pause_is_counted_once() {
    let pair = Pair::start("CREATE TABLE t (id int PRIMARY KEY)").await;
    pair.start_task("{}").await;
    pair.wait_for_state("running", MINUTE).await;
    let command = async |name: &str| pair.source.psql(DB, &format!("SELECT pgrelay.{name}('{TASK}')")).await;
    for n in 1..=5 {
        pair.source.psql(DB, &format!("INSERT INTO t VALUES ({n}), ({n} + 10)")).await;
        pair.wait_for_catchup(MINUTE).await;
        command("pause_task").await;
        pair.wait_for_state("paused", MINUTE).await;
        command("resume_task").await;
        pair.wait_for_state("running", MINUTE).await;
    }
    wait_for_row(&pair, "SELECT changes_applied = 10 AND transactions_applied = 5 FROM pgrelay.task_status").await;
}

#[tokio::test]
async fn what_is_applied_again_row_by_row_is_counted_with_its_reason() {
    let pair =
        Pair::start("CREATE TABLE u (id int PRIMARY KEY, v int UNIQUE, w int); INSERT INTO u SELECT n, n FROM generate_series(1, 60) n")
            .await;
    pair.start_task("{}").await;
    pair.wait_for_state("running", MINUTE).await;
    wait_for_row(&pair, "SELECT replayed = 0 AND replay_reason IS NULL FROM pgrelay.task_status").await;
    // All at once, the second thirty would get values that the first thirty still have.
    let moved = "UPDATE u SET w = 1 WHERE id > 30; UPDATE u SET v = v + 1000 WHERE id <= 30; UPDATE u SET v = v - 30 WHERE id > 30";
    pair.source.psql(DB, &format!("BEGIN; {moved}; COMMIT")).await;
    pair.assert_equal_after_catchup(MINUTE).await;
    wait_for_row(&pair, "SELECT replayed = 1 AND replay_reason LIKE '%\"public.u\"%' FROM pgrelay.task_status").await;
    let drawn = String::from_utf8_lossy(&status(&pair, &[TASK]).wait_with_output().expect("its output").stdout).into_owned();
    assert!(drawn.contains("1 replayed ("), "{drawn}");
    // Another applier goes on counting.
    let mut pair = pair;
    pair.applier.restart();
    pair.wait_for_state("running", MINUTE).await;
    pair.source.psql(DB, "BEGIN; UPDATE u SET w = 2 WHERE id > 30; UPDATE u SET v = v + 5000 WHERE id <= 30; UPDATE u SET v = v + 1000 WHERE id > 30; COMMIT").await;
    pair.wait_for_catchup(MINUTE).await;
    wait_for_row(&pair, "SELECT replayed = 2 FROM pgrelay.task_status").await;
}
