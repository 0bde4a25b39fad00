//! Immediate shutdown and restart of either server, during the copy and during the stream: equal afterwards.

use std::time::Duration;

use pgrelay_tests::pair::DB;
use pgrelay_tests::wait::{run_for, wait_until};
use pgrelay_tests::{Pair, Seed, Writers};

const MINUTE: Duration = Duration::from_secs(60);
const OPTIONS: &str = r#"{"keyless": "insert_only", "acknowledge_warnings": true, "copy_jobs": 1}"#;

/// Rows enough that the copy is still going on when it is seen to.
const OBJECTS: &str = "
    CREATE SEQUENCE counter;
    CREATE TABLE proof (n bigint NOT NULL);
    CREATE TABLE total (id int PRIMARY KEY, n bigint NOT NULL);
    INSERT INTO total SELECT n, 0 FROM generate_series(1, 50) n;
    CREATE TABLE big (id bigserial PRIMARY KEY, filler text, parent int REFERENCES total);
    INSERT INTO big (filler, parent) SELECT repeat(md5(n::text), 16), n % 50 + 1 FROM generate_series(1, 120000) n;
    CREATE TABLE big_2 (LIKE big INCLUDING ALL);
    INSERT INTO big_2 SELECT * FROM big;";

const WRITE: &str = "INSERT INTO proof VALUES (nextval('counter'));
    UPDATE total SET n = n + 1 WHERE id = 1 + (random() * 49)::int;
    UPDATE big SET filler = 'changed' WHERE id = 1 + (random() * 100000)::int;
    INSERT INTO big_2 (filler) VALUES ('new');";

#[derive(PartialEq)]
enum Side {
    Source,
    Peer,
}

async fn restart(side: Side, during: &str) {
    let mut pair = Pair::start(OBJECTS).await;
    let writers = Writers::start(&pair.source.dsn(DB), 3, Duration::from_millis(5), WRITE);
    pair.start_task(OPTIONS).await;
    if during == "copy" {
        let client = pair.source_client().await;
        wait_until("rows of the large table to be copied", MINUTE, async || {
            let sql = "SELECT state, rows FROM pgrelay.table_status WHERE table_name = 'big'";
            let row = client.query_opt(sql, &[]).await.map_err(|e| e.to_string())?;
            let seen: Option<(String, i64)> = row.map(|row| (row.get(0), row.get(1)));
            if seen.as_ref().is_some_and(|(state, _)| state == "datasync") { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await;
    } else {
        pair.wait_for_state("running", 2 * MINUTE).await;
        run_for(Duration::from_secs(1)).await;
    }
    match side {
        Side::Source => pair.source.restart_immediate().await,
        Side::Peer => pair.peer.restart_immediate().await,
    }
    let at_restart = writers.committed();
    wait_until("the application to go on", MINUTE, async || {
        if writers.committed() > at_restart + 50 { Ok(()) } else { Err(writers.committed().to_string()) }
    })
    .await;
    pair.wait_for_state("running", 2 * MINUTE).await;
    writers.stop().await;
    pair.assert_equal_after_catchup(MINUTE).await;
}

#[tokio::test]
async fn of_the_source_during_the_copy() {
    restart(Side::Source, "copy").await;
}

#[tokio::test]
async fn of_the_source_during_the_stream() {
    restart(Side::Source, "stream").await;
}

#[tokio::test]
async fn of_the_peer_during_the_copy() {
    restart(Side::Peer, "copy").await;
}

#[tokio::test]
async fn of_the_peer_during_the_stream() {
    restart(Side::Peer, "stream").await;
}

#[tokio::test]
async fn of_the_peer_again_and_again_loses_no_change_that_was_confirmed() {
    let mut seed = Seed::from_env();
    let mut pair = Pair::start(OBJECTS).await;
    // What is committed without waiting stays in memory for long, and is lost with the server.
    pair.peer.psql("postgres", "ALTER SYSTEM SET wal_writer_delay = '10s'; SELECT pg_reload_conf()").await;
    pair.start_task(OPTIONS).await;
    pair.wait_for_state("running", 2 * MINUTE).await;
    let writers = Writers::start(&pair.source.dsn(DB), 4, Duration::from_millis(20), WRITE);
    for _ in 0..6 {
        let client = pair.source_client().await;
        let applied = "SELECT coalesce(sum(transactions_applied), 0)::bigint FROM pgrelay.task_status";
        let before: i64 = client.query_one(applied, &[]).await.expect("transactions applied").get(0);
        wait_until("transactions to be applied", MINUTE, async || {
            let now: i64 = client.query_one(applied, &[]).await.map_err(|e| e.to_string())?.get(0);
            if now > before { Ok(()) } else { Err(now.to_string()) }
        })
        .await;
        run_for(seed.between(Duration::from_millis(1), Duration::from_millis(800))).await;
        pair.peer.restart_immediate().await;
    }
    writers.stop().await;
    pair.assert_equal_after_catchup(2 * MINUTE).await;
    assert_eq!(pair.peer.psql(DB, "SELECT count(*) - count(DISTINCT n) FROM proof").await, "0", "rows applied twice");
}
