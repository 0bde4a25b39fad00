//! The connection to the peer breaks at the worst moments: nothing is lost, nothing comes twice.

use std::time::Duration;

use pgrelay_tests::pair::DB;
use pgrelay_tests::proxy::{Cut, Proxy};
use pgrelay_tests::wait::{run_for, wait_until};
use pgrelay_tests::{Pair, Seed, Writers};

const LONG: Duration = Duration::from_secs(120);
const OPTIONS: &str = r#"{"keyless": "insert_only", "acknowledge_warnings": true}"#;
const OBJECTS: &str = "CREATE SEQUENCE counter; CREATE TABLE proof (n bigint); CREATE TABLE total (id int PRIMARY KEY, n int);
    INSERT INTO total SELECT n, 0 FROM generate_series(1, 10) n";
const WRITE: &str = "INSERT INTO proof VALUES (nextval('counter')); UPDATE total SET n = n + 1 WHERE id = 1 + (random() * 9)::int";

/// A task whose way to the peer leads over a proxy that breaks the session that applies.
async fn streaming() -> (Pair, Proxy) {
    let pair = Pair::start(OBJECTS).await;
    let proxy = Proxy::start(pair.peer.port(), " apply").await;
    let start = format!("SELECT pgrelay.start_task('move', '{}', options => '{OPTIONS}')", proxy.dsn(DB));
    pair.source.psql(DB, &start).await;
    pair.wait_for_state("running", LONG).await;
    (pair, proxy)
}

async fn wait_for_cut(proxy: &Proxy, number: u64) {
    wait_until("the connection to be broken", LONG, async || if proxy.done() >= number { Ok(()) } else { Err(proxy.done().to_string()) })
        .await;
}

async fn assert_each_once(pair: &Pair) {
    pair.assert_equal_after_catchup(LONG).await;
    assert_eq!(pair.peer.psql(DB, "SELECT count(*) - count(DISTINCT n) FROM proof").await, "0", "transactions applied twice");
}

async fn commit_breaks(cut: Cut) {
    let (pair, proxy) = streaming().await;
    for number in 1..=4 {
        proxy.cut(cut);
        pair.source.psql(DB, WRITE).await;
        wait_for_cut(&proxy, number).await;
        pair.source.psql(DB, WRITE).await;
        assert_each_once(&pair).await;
    }
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_looked_up() {
    commit_breaks(Cut::AnswerToCommit).await;
}

#[tokio::test]
async fn a_commit_that_did_not_arrive_is_made_again() {
    commit_breaks(Cut::Commit).await;
}

#[tokio::test]
async fn at_any_byte() {
    let mut seed = Seed::from_env();
    let (pair, proxy) = streaming().await;
    let writers = Writers::start(&pair.source.dsn(DB), 4, Duration::from_millis(30), WRITE);
    for number in 1..=12 {
        let bytes = seed.below(20_000);
        proxy.cut(if seed.below(2) == 0 { Cut::AfterAnswered(bytes) } else { Cut::AfterSent(bytes) });
        wait_for_cut(&proxy, number).await;
    }
    writers.stop().await;
    assert_each_once(&pair).await;
}

#[tokio::test]
async fn a_commit_of_an_old_session_that_arrives_late_changes_nothing() {
    let (mut pair, proxy) = streaming().await;
    proxy.cut(Cut::HoldCommit);
    pair.source.psql(DB, WRITE).await;
    wait_for_cut(&proxy, 1).await;
    pair.applier.kill9();
    // The peer does not know that the applier is gone, and the session still holds the origin and its rows.
    let open = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '% apply' AND state LIKE 'idle in transaction%'";
    assert_eq!(pair.peer.psql(DB, open).await, "1");
    pair.applier.restart();
    run_for(Duration::from_millis(500)).await;
    proxy.let_go();
    pair.source.psql(DB, WRITE).await;
    assert_each_once(&pair).await;
}
