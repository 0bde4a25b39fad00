//! Two appliers of one source: one works, the other stands by and takes over.

use std::time::Duration;

use pgrelay_tests::pair::DB;
use pgrelay_tests::wait::{run_for, wait_for_value, wait_until};
use pgrelay_tests::{Applier, Pair, Pgbench};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_second_takes_over_when_the_first_is_killed_and_nothing_is_applied_twice() {
    let mut pair = Pair::start("CREATE SEQUENCE counter; CREATE TABLE proof (n bigint)").await;
    let (_folder, script) = Pgbench::script("INSERT INTO proof VALUES (nextval('counter'));\n");
    let load = pair.source.pgbench(DB, &["-n", "-c", "2", "-R", "200", "-T", "600", "-f", &script]);
    pair.start_task(r#"{"keyless": "insert_only", "acknowledge_warnings": true}"#).await;
    pair.wait_for_state("running", MINUTE).await;

    let mut second = Applier::start(&pair.source, DB, &[]);
    let client = pair.source_client().await;
    let count = |what: &str| format!("SELECT count(*)::text FROM pgrelay.applier WHERE {what}");
    wait_for_value(&client, &count("attached"), "2", MINUTE).await;
    wait_for_value(&client, &count("working"), "1", MINUTE).await;
    for _ in 0..3 {
        pair.applier.kill9();
        run_for(Duration::from_millis(700)).await;
        wait_for_value(&client, &count("working"), "1", MINUTE).await;
        pair.wait_for_state("running", MINUTE).await;
        pair.applier.restart();
        wait_for_value(&client, &count("attached"), "2", MINUTE).await;
        std::mem::swap(&mut pair.applier, &mut second);
    }
    load.stop().await;
    pair.assert_equal_after_catchup(MINUTE).await;
}

#[tokio::test]
async fn one_that_was_frozen_while_another_took_over_writes_nothing_when_it_goes_on() {
    let pair = Pair::start("CREATE SEQUENCE counter; CREATE TABLE proof (n bigint)").await;
    let (_folder, script) = Pgbench::script("INSERT INTO proof VALUES (nextval('counter'));\n");
    let load = pair.source.pgbench(DB, &["-n", "-c", "2", "-R", "50", "-T", "600", "-f", &script]);
    pair.start_task(r#"{"keyless": "insert_only", "acknowledge_warnings": true}"#).await;
    pair.wait_for_state("running", MINUTE).await;
    let second = Applier::start(&pair.source, DB, &[]);
    pair.applier.freeze();
    let client = pair.source_client().await;
    wait_until("the second applier to work", MINUTE, async || {
        if second.log_text().contains("this applier holds the lease") { Ok(()) } else { Err("it waits".into()) }
    })
    .await;
    // Its lease is the second's now, and so are the slot and the origin.
    pair.wait_for_catchup(MINUTE).await;
    pair.applier.thaw();
    wait_until("the first applier to notice", MINUTE, async || {
        if pair.applier.log_text().contains("ERROR") { Ok(()) } else { Err(pair.applier.log_tail()) }
    })
    .await;
    load.stop().await;
    pair.assert_equal_after_catchup(MINUTE).await;
    wait_for_value(&client, "SELECT count(*)::text FROM pgrelay.applier WHERE working", "1", MINUTE).await;
    assert_eq!(pair.peer.psql(DB, "SELECT count(*) - count(DISTINCT n) FROM proof").await, "0", "transactions applied twice");
}
