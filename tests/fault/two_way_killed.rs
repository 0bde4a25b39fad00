//! kill -9 of the applier, and of each server, while both sides write: each transaction goes to the other side once, and nothing is taken
//! for a conflict.

use std::time::Duration;

use pgrelay_tests::pair::DB;
use pgrelay_tests::wait::{run_for, wait_until};
use pgrelay_tests::{Applier, Pair, Seed, Writers, assert_equal};

const MINUTE: Duration = Duration::from_secs(60);

/// `proof` has no key: what is applied twice is there twice. Each side counts in rows of its own.
const OBJECTS: &str = "
    CREATE TABLE proof (side text, n bigint);
    CREATE TABLE total (id int PRIMARY KEY, n bigint NOT NULL);
    INSERT INTO total SELECT n, 0 FROM generate_series(1, 20) n;
    CREATE SEQUENCE counter;";

fn write(side: &str, first: u32) -> String {
    format!(
        "INSERT INTO proof VALUES ('{side}', nextval('counter')); UPDATE total SET n = n + 1 WHERE id = (SELECT {first} + (random() * 9)::int)"
    )
}

/// A pair whose both sides are being written to.
async fn written_on_both_sides() -> (Pair, Writers, Writers) {
    let pair = Pair::start(OBJECTS).await;
    pair.start_task(r#"{"topology": "two_way", "keyless": "insert_only", "acknowledge_warnings": true}"#).await;
    both_run(&pair).await;
    // Sequences go one way: the peer's is its own here.
    pair.peer.psql(DB, "CREATE SEQUENCE own").await;
    let on_source = Writers::start(&pair.source.dsn(DB), 3, Duration::from_millis(5), &write("s", 1));
    let on_peer = Writers::start(&pair.peer.dsn(DB), 3, Duration::from_millis(5), &write("d", 11).replace("counter", "own"));
    (pair, on_source, on_peer)
}

async fn both_run(pair: &Pair) {
    pair.wait_for_state("running", 2 * MINUTE).await;
    pair.source.psql(DB, "SELECT pgrelay.wait_for_state('move', 'running', '2 min', 'reverse')").await;
}

/// Both sides are equal, and hold each of so many transactions once; returns how many there are.
async fn each_is_there_once(pair: &Pair) -> u64 {
    both_run(pair).await;
    pair.wait_for_catchup(MINUTE).await;
    pair.peer.psql(DB, "DROP SEQUENCE own").await;
    assert_equal(&pair.source_client().await, &pair.peer_client().await).await;
    let seen = pair.source.psql(DB, "SELECT count(*) FROM proof").await;
    let again = "SELECT count(DISTINCT (side, n)) || ' ' || (SELECT sum(n) FROM total) FROM proof";
    assert_eq!(pair.source.psql(DB, again).await, format!("{seen} {seen}"));
    // Where they happen: records are carried from the peer a moment later.
    assert_eq!(pair.source.psql(DB, "SELECT count(*) FROM pgrelay.conflict").await, "0");
    assert_eq!(pair.peer.psql(DB, "SELECT count(*) FROM pgrelay_peer.conflict").await, "0");
    seen.parse().expect("a number")
}

#[tokio::test]
async fn each_server_restarted_in_the_midst_each_transaction_goes_to_the_other_side_once() {
    let (mut pair, on_source, on_peer) = written_on_both_sides().await;
    for turn in 0..2 {
        let before = [on_source.committed(), on_peer.committed()];
        wait_until("both sides to write", MINUTE, async || {
            let now = [on_source.committed(), on_peer.committed()];
            if now[0] > before[0] + 100 && now[1] > before[1] + 100 { Ok(()) } else { Err(format!("{now:?}")) }
        })
        .await;
        if turn == 0 { pair.peer.restart_immediate().await } else { pair.source.restart_immediate().await }
    }
    run_for(Duration::from_secs(1)).await;
    let committed = on_source.stop().await + on_peer.stop().await;
    let there = each_is_there_once(&pair).await;
    // The answers to some commits were lost with the server.
    assert!((committed..=committed + 6).contains(&there), "{committed} committed, {there} there");
}

#[tokio::test]
async fn at_random_moments_each_transaction_goes_to_the_other_side_once() {
    let mut seed = Seed::from_env();
    let kills = if std::env::var("PGRELAY_NIGHTLY").is_ok_and(|v| v == "1") { 50 } else { 6 };
    let (mut pair, on_source, on_peer) = written_on_both_sides().await;
    for _ in 0..kills {
        run_for(seed.between(Duration::from_millis(50), Duration::from_millis(1200))).await;
        pair.applier.restart();
    }
    let committed = (on_source.stop().await, on_peer.stop().await);
    assert_eq!(each_is_there_once(&pair).await, committed.0 + committed.1);
    assert!(committed.0 > 0 && committed.1 > 0, "both sides have written: {committed:?}");
}

/// What is sent between two transactions is answered with the second one: its error does not tell that this was rolled back.
#[tokio::test]
async fn a_statement_that_is_cancelled_between_two_transactions_has_neither_of_them_come_again() {
    let (mut pair, on_source, on_peer) = written_on_both_sides().await;
    for before in [0, 4] {
        pair.applier.kill9();
        pair.applier = Applier::start_with(&pair.source, DB, &[], &[("PGRELAY_SEEN_LOST_AFTER", &before.to_string())]);
        wait_until("a statement to be cancelled", MINUTE, async || {
            let log = pair.applier.log_text();
            if log.contains("canceling statement due to user request") { Ok(()) } else { Err(log) }
        })
        .await;
        let committed = [on_source.committed(), on_peer.committed()];
        wait_until("both sides to write", MINUTE, async || {
            let now = [on_source.committed(), on_peer.committed()];
            if now[0] > committed[0] + 100 && now[1] > committed[1] + 100 { Ok(()) } else { Err(format!("{now:?}")) }
        })
        .await;
    }
    on_source.stop().await;
    on_peer.stop().await;
    each_is_there_once(&pair).await;
}
