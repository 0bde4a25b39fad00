//! Stop and drop leave nothing behind on either side; the rows stay.

use std::time::Duration;

use pgrelay_tests::Pair;
use pgrelay_tests::left::{self, LEFT};
use pgrelay_tests::pair::DB;

const MINUTE: Duration = Duration::from_secs(60);

const OBJECTS: &str = "
    CREATE TABLE keyed (id int PRIMARY KEY, v text);
    CREATE TABLE keyless (v int);
    CREATE TABLE nothing (id int PRIMARY KEY);
    ALTER TABLE nothing REPLICA IDENTITY NOTHING;
    CREATE TABLE by_index (id int NOT NULL UNIQUE);
    ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_id_key;
    INSERT INTO keyed SELECT n, 'v' FROM generate_series(1, 1000) n;
    INSERT INTO keyless SELECT generate_series(1, 1000);";

const IDENTITIES: &str = "SELECT string_agg(relname || ' ' || relreplident::text, ', ' ORDER BY relname) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace";

async fn running() -> (Pair, String) {
    let pair = Pair::start(OBJECTS).await;
    let identities = pair.source.psql(DB, IDENTITIES).await;
    pair.start_task(r#"{"keyless": "full", "acknowledge_warnings": true}"#).await;
    pair.wait_for_state("running", MINUTE).await;
    let now = pair.source.psql(DB, IDENTITIES).await;
    assert_eq!(now, "by_index i, keyed d, keyless f, nothing f");
    (pair, identities)
}

async fn assert_nothing_left(pair: &Pair, identities: &str) {
    left::assert_nothing_left(pair).await;
    assert_eq!(pair.source.psql(DB, IDENTITIES).await, identities);
    assert_eq!(pair.peer.psql(DB, IDENTITIES).await, identities, "the peer's tables are like the source's");
    assert_eq!(pair.peer.psql(DB, "SELECT count(*) FROM keyed").await, "1000");
    assert_eq!(pair.peer.psql(DB, "SELECT count(*) FROM keyless").await, "1000");
}

#[tokio::test]
async fn stop_leaves_the_rows_and_nothing_else() {
    let (pair, identities) = running().await;
    pair.source.psql(DB, "SELECT pgrelay.stop_task('move')").await;
    pair.wait_for_state("stopped", MINUTE).await;
    assert_nothing_left(&pair, &identities).await;
}

#[tokio::test]
async fn drop_of_a_running_task_leaves_the_rows_and_nothing_else() {
    let (pair, identities) = running().await;
    pair.source.psql(DB, "SELECT pgrelay.drop_task('move')").await;
    let client = pair.source_client().await;
    let gone = "SELECT count(*)::text FROM pgrelay.task_status";
    pgrelay_tests::wait_for_value(&client, gone, "0", MINUTE).await;
    assert_nothing_left(&pair, &identities).await;
}

#[tokio::test]
async fn stop_during_the_copy_leaves_nothing() {
    let rows =
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT n, repeat(md5(n::text), 16) FROM generate_series(1, 150000) n";
    let pair = Pair::start(rows).await;
    pair.start_task("{}").await;
    pair.wait_for_state("copying", MINUTE).await;
    pair.source.psql(DB, "SELECT pgrelay.stop_task('move')").await;
    pair.wait_for_state("stopped", MINUTE).await;
    left::assert_nothing_left(&pair).await;
}

#[tokio::test]
async fn drop_by_force_finishes_without_a_peer_and_says_what_stays_there() {
    let (mut pair, identities) = running().await;
    pair.peer.stop_immediate().await;
    pair.source.psql(DB, "SELECT pgrelay.drop_task('move', true)").await;
    let client = pair.source_client().await;
    pgrelay_tests::wait_for_value(&client, "SELECT count(*)::text FROM pgrelay.task_status", "0", MINUTE).await;
    assert_eq!(pair.source.psql(DB, LEFT).await, "", "left on the source");
    assert_eq!(pair.source.psql(DB, IDENTITIES).await, identities);
    let said = pair.source.psql(DB, "SELECT message, detail, hint FROM pgrelay.event WHERE task = 'move' ORDER BY at DESC LIMIT 5").await;
    assert!(said.contains("pgrelay_peer"), "names what stays on the peer: {said}");
}

#[tokio::test]
async fn a_terminated_applier_ends_cleanly_and_the_next_goes_on() {
    let (mut pair, _) = running().await;
    let status = pair.applier.terminate().await;
    assert_eq!(pair.source.psql(DB, "SELECT count(*) FROM pgrelay.lease").await, "0", "the lease is given back");
    assert!(status.success(), "{status}");
    pair.source.psql(DB, "INSERT INTO keyed VALUES (5000, 'while nobody works')").await;
    pair.applier.restart();
    pair.assert_equal_after_catchup(MINUTE).await;
}
