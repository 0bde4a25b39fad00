//! Connections to the source break at any byte: nothing is lost, nothing comes twice.

use std::time::Duration;

use pgrelay_tests::pair::DB;
use pgrelay_tests::proxy::{Cut, Proxy};
use pgrelay_tests::wait::{wait_for_value, wait_until};
use pgrelay_tests::{Applier, Pair, Seed, Writers};

const LONG: Duration = Duration::from_secs(120);
const OPTIONS: &str = r#"{"keyless": "insert_only", "acknowledge_warnings": true, "throttle": {"copy_rows_per_s": 20000}}"#;
const OBJECTS: &str = "CREATE SEQUENCE counter; CREATE TABLE proof (n bigint); CREATE TABLE total (id int PRIMARY KEY, n int);
    INSERT INTO total SELECT n, 0 FROM generate_series(1, 10) n;
    CREATE TABLE copied (id int PRIMARY KEY, v text); INSERT INTO copied SELECT n, md5(n::text) FROM generate_series(1, 100000) n;";
const WRITE: &str = "INSERT INTO proof VALUES (nextval('counter')); UPDATE total SET n = n + 1 WHERE id = 1 + (random() * 9)::int;
    UPDATE copied SET v = v || '.' WHERE id = 1 + (random() * 99999)::int";

/// An applier whose way to the source leads over a proxy that breaks the sessions of this name.
async fn start(only: &'static str) -> (Pair, Proxy) {
    let mut pair = Pair::start(OBJECTS).await;
    let proxy = Proxy::start(pair.source.port(), only).await;
    pair.applier.kill9();
    pair.applier = Applier::start_for(&proxy.dsn(DB), &[], &[]);
    pair.start_task(OPTIONS).await;
    (pair, proxy)
}

async fn wait_for_cuts(proxy: &Proxy, number: u64) {
    wait_until("the connection to be broken", LONG, async || if proxy.done() >= number { Ok(()) } else { Err(proxy.done().to_string()) })
        .await;
}

async fn assert_each_once(pair: &Pair) {
    pair.wait_for_state("running", LONG).await;
    pair.assert_equal_after_catchup(LONG).await;
    assert_eq!(pair.peer.psql(DB, "SELECT count(*) - count(DISTINCT n) FROM proof").await, "0", "transactions applied twice");
}

#[tokio::test]
async fn the_stream_breaks() {
    let mut seed = Seed::from_env();
    let (pair, proxy) = start(" stream").await;
    pair.wait_for_state("running", LONG).await;
    let writers = Writers::start(&pair.source.dsn(DB), 4, Duration::from_millis(20), WRITE);
    for number in 1..=8 {
        proxy.cut(if seed.below(3) > 0 { Cut::AfterAnswered(seed.below(40_000)) } else { Cut::AfterSent(seed.below(800)) });
        wait_for_cuts(&proxy, number).await;
    }
    writers.stop().await;
    assert_each_once(&pair).await;
}

/// Also while the tables are copied.
#[tokio::test]
async fn any_session_breaks() {
    let mut seed = Seed::from_env();
    let (pair, proxy) = start("pgrelay").await;
    let writers = Writers::start(&pair.source.dsn(DB), 4, Duration::from_millis(20), WRITE);
    let copies = "SELECT (rows_copied > 0)::text FROM pgrelay.task_status";
    wait_for_value(&pair.source_client().await, copies, "true", LONG).await;
    for number in 1..=12 {
        proxy.cut(if seed.below(2) == 0 { Cut::AfterAnswered(seed.below(100_000)) } else { Cut::AfterSent(seed.below(10_000)) });
        wait_for_cuts(&proxy, number).await;
    }
    pair.wait_for_state("running", LONG).await;
    writers.stop().await;
    assert_each_once(&pair).await;
}
