//! Immediate shutdown and restart of either server, during the copy and during the stream: equal afterwards.

use std::time::Duration;

use pgrelay_tests::pair::DB;
use pgrelay_tests::wait::{run_for, wait_until};
use pgrelay_tests::{Pair, Writers};

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
