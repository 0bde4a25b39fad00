//! The reverse direction comes, rests and goes by itself.

use pgrelay_tests::{
    Pair,
    left::LEFT,
    pair::DB,
    wait::{wait_for_value, wait_until},
};

use crate::sides::{MINUTE, Sides};

const OBJECTS: &str = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT n, 'copied' FROM generate_series(1, 100) n;
    CREATE TABLE twins (n int); INSERT INTO twins VALUES (1), (1);";

#[tokio::test]
async fn one_direction_rests_while_the_other_goes_on() {
    let sides = Sides::start_between(Pair::start_installed_on_both(OBJECTS).await, r#""keyless": "full""#).await;
    let version = sides.source("SELECT extversion FROM pg_extension WHERE extname = 'pgrelay'").await;
    assert_eq!(sides.peer("SELECT extversion FROM pg_extension WHERE extname = 'pgrelay'").await, version, "the peer has it too");
    assert_eq!(sides.peer("SELECT count(*) FROM pgrelay.task_status").await, "0", "the task is the source's");
    sides.source("SELECT pgrelay.pause_task('move', 'reverse')").await;
    sides.wait_for_reverse("paused").await;
    sides.peer("INSERT INTO t VALUES (1001, 'd'); DELETE FROM twins WHERE ctid = (SELECT min(ctid) FROM twins)").await;
    sides.source("INSERT INTO t VALUES (1002, 's')").await;
    sides.source("SELECT pgrelay.wait_for_catchup('move', '1 min', 'forward')").await;
    assert_eq!(sides.peer("SELECT count(*) FROM t WHERE id > 1000").await, "2");
    assert_eq!(sides.source("SELECT count(*) FROM t WHERE id > 1000").await, "1", "the reverse direction rests");
    let waiting = sides.pair.source.try_psql(DB, "SELECT pgrelay.wait_for_catchup('move', '1 min')").await;
    assert!(waiting.as_ref().is_err_and(|e| e.contains("reverse direction")), "{waiting:?}");
    let twice = sides.pair.source.try_psql(DB, "SELECT pgrelay.pause_task('move', 'reverse')").await;
    assert!(twice.as_ref().is_err_and(|e| e.contains("cannot be paused")), "it rests already: {twice:?}");

    sides.source("SELECT pgrelay.resume_task('move', 'reverse'); SELECT pgrelay.pause_task('move', 'forward')").await;
    sides.source("SELECT pgrelay.wait_for_catchup('move', '1 min', 'reverse')").await;
    sides.pair.wait_for_state("paused", MINUTE).await;
    assert_eq!(sides.source("SELECT (SELECT count(*) FROM t WHERE id > 1000) || ' ' || (SELECT count(*) FROM twins)").await, "2 1");
    sides.source("SELECT pgrelay.resume_task('move')").await;
    sides.run().await;
    sides.wait().await;
    sides.both("SELECT (SELECT count(*) FROM t) || ' ' || (SELECT count(*) FROM twins)", "102 1").await;

    // What the task is told, both directions do.
    sides.source("SELECT pgrelay.stop_task('move'); SELECT pgrelay.wait_for_state('move', 'stopped')").await;
    assert_eq!(sides.source("SELECT string_agg(state, ' ') FROM pgrelay.task_status").await, "stopped stopped");
    pgrelay_tests::left::assert_nothing_left(&sides.pair).await;
    let identities = "SELECT string_agg(relreplident::text, '' ORDER BY relname) FROM pg_class WHERE relname IN ('t', 'twins')";
    sides.both(identities, "dd").await;
}

#[tokio::test]
async fn a_task_gets_its_reverse_direction_once_it_runs_and_loses_it_again() {
    let sides = Sides::of(Pair::start_installed_on_both(OBJECTS).await);
    let refused = async |sql: &str, why: &str| {
        let said = sides.pair.source.try_psql(DB, sql).await;
        assert!(said.as_ref().is_err_and(|e| e.contains(why)), "{sql}: {said:?}");
    };
    // The copy cannot end while somebody holds the table.
    let holder = sides.pair.source_client().await;
    holder.batch_execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE").await.expect("a lock");
    sides.pair.start_task(r#"{"keyless": "insert_only", "acknowledge_warnings": true}"#).await;
    let begun = "SELECT (count(*) = 1)::text FROM pgrelay.task_status WHERE state = 'prechecking' OR stage IS NOT NULL";
    wait_for_value(&sides.pair.source_client().await, begun, "true", MINUTE).await;
    refused(r#"SELECT pgrelay.alter_task('move', '{"topology": "two_way"}')"#, "cannot get its reverse direction now").await;
    refused("SELECT pgrelay.resume_task('move', 'reverse')", "has no reverse direction").await;
    holder.batch_execute("ROLLBACK").await.expect("the lock is given back");
    sides.pair.wait_for_state("running", MINUTE).await;

    // The peer gets the extension where it can be made there; the task does without it.
    sides.peer("CREATE SCHEMA pgrelay").await;
    // What the peer has written before is its own.
    sides.peer("INSERT INTO t VALUES (1001, 'before')").await;
    sides.source(r#"SELECT pgrelay.alter_task('move', '{"topology": "two_way"}')"#).await;
    sides.run().await;
    let told = "SELECT string_agg(level || ' ' || message, ', ') FROM pgrelay.event WHERE event = 'peer_extension'";
    let told = sides.source(told).await;
    assert!(told.starts_with("warning the extension pgrelay is not made on the peer:"), "{told}");
    assert_eq!(sides.peer("SELECT count(*) FROM pg_extension WHERE extname = 'pgrelay'").await, "0");
    sides.peer("INSERT INTO t VALUES (1002, 'd')").await;
    sides.source("INSERT INTO t VALUES (1003, 's')").await;
    sides.wait().await;
    assert_eq!(sides.source("SELECT string_agg(v, ' ' ORDER BY id) FROM t WHERE id > 1000").await, "d s");
    assert_eq!(sides.peer("SELECT string_agg(v, ' ' ORDER BY id) FROM t WHERE id > 1000").await, "before d s");

    // The forward stream is held back, so that what the reverse one wrote is still to come when that goes.
    let blocker = sides.pair.peer_client().await;
    blocker.batch_execute("BEGIN; SELECT FROM t WHERE id = 50 FOR UPDATE").await.expect("a lock");
    sides.source("UPDATE t SET v = 'held' WHERE id = 50").await;
    sides.peer("INSERT INTO t VALUES (1004, 'd')").await;
    sides.source("SELECT pgrelay.wait_for_catchup('move', '1 min', 'reverse')").await;
    sides.source(r#"SELECT pgrelay.alter_task('move', '{"topology": "one_way"}')"#).await;
    let there = "SELECT count(*)::text FROM pg_replication_slots";
    wait_for_value(&sides.pair.peer_client().await, there, "0", MINUTE).await;
    blocker.batch_execute("ROLLBACK").await.expect("the lock is given back");
    let gone = "SELECT count(*)::text FROM pgrelay.task_status WHERE direction = 'reverse'";
    wait_for_value(&sides.pair.source_client().await, gone, "0", MINUTE).await;
    sides.pair.wait_for_state("running", MINUTE).await;
    sides.peer("INSERT INTO t VALUES (1005, 'd')").await;
    sides.source("INSERT INTO t VALUES (1006, 's')").await;
    sides.wait().await;
    assert_eq!(sides.source("SELECT string_agg(id::text, ' ' ORDER BY id) FROM t WHERE id > 1003").await, "1004 1006");
    // Rows 1003, 50 and 1006: what the reverse direction wrote was not sent back, where it would have met its own rows. The commit of row 50
    // may have been under way when the forward stream began anew; then it is not counted.
    let told = "SELECT concat_ws(' ', state, changes_applied <= 3, error) FROM pgrelay.task_status";
    wait_for_value(&sides.pair.source_client().await, told, "running t", MINUTE).await;
    assert_eq!(sides.source("SELECT count(*) FROM pgrelay.conflict").await, "0");
    for left in [sides.source(LEFT).await, sides.peer(LEFT).await] {
        assert!(!left.contains("_reverse"), "{left}");
    }
}

#[tokio::test]
async fn the_reverse_slot_is_there_before_the_first_row_of_the_copy_and_carries_what_is_written_meanwhile() {
    let rows = "INSERT INTO t SELECT n, 'copied' FROM generate_series(101, 4000) n";
    let sides = Sides::of(Pair::start(&format!("{OBJECTS} {rows}")).await);
    let options = r#"{"topology": "two_way", "acknowledge_warnings": true, "keyless": "full", "throttle": {"copy_rows_per_s": 1000}}"#;
    sides.pair.start_task(options).await;
    let client = sides.pair.peer_client().await;
    let slots = "SELECT count(*) FROM pg_replication_slots WHERE slot_type = 'logical' AND NOT temporary";
    let seen = format!("SELECT (SELECT count(*) FROM twins) + (SELECT count(*) FROM t), ({slots})");
    let slots = wait_until("the first rows on the peer", MINUTE, async || {
        let row = client.query_one(&seen, &[]).await.map_err(|e| format!("{e:?}"))?;
        if row.get::<_, i64>(0) > 0 { Ok(row.get::<_, i64>(1)) } else { Err("no rows".to_owned()) }
    })
    .await;
    assert_eq!(slots, 1, "slots on the peer when it has rows");
    // Before the task runs, in any case before the reverse direction does.
    wait_for_value(&client, "SELECT count(*)::text FROM twins", "2", MINUTE).await;
    sides.peer("INSERT INTO twins VALUES (7); DELETE FROM twins WHERE ctid = (SELECT min(ctid) FROM twins WHERE n = 1)").await;
    sides.run().await;
    sides.wait().await;
    sides.both("SELECT string_agg(n::text, ' ' ORDER BY n) FROM twins", "1 7").await;
    sides.both("SELECT count(*) FROM t", "4000").await;
}
