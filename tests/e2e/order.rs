//! Transactions in every order that begin, commit and restarts can have: nothing is lost, nothing is early.

use std::time::Duration;

use pgrelay_tests::pair::DB;
use pgrelay_tests::wait::{run_for, wait_until};
use pgrelay_tests::{Pair, Pgbench, Writers, wait_for_value};
use tokio_postgres::Client;

const LONG: Duration = Duration::from_secs(120);
const OPTIONS: &str = r#"{"keyless": "insert_only", "acknowledge_warnings": true}"#;
const OBJECTS: &str = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT n, 'old' FROM generate_series(1, 100) n;
    CREATE TABLE log (n int);";

async fn running(objects: &str) -> Pair {
    let pair = Pair::start(objects).await;
    pair.start_task(OPTIONS).await;
    pair.wait_for_state("running", LONG).await;
    pair
}

async fn sql(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
}

/// Waits until the slot is confirmed past what is written now, which may need something to be written.
async fn wait_for_slot(pair: &Pair) {
    let client = pair.source_client().await;
    let now: String = client.query_one("SELECT pg_current_wal_lsn()::text", &[]).await.expect("a position").get(0);
    let confirmed = format!("SELECT (confirmed_flush_lsn >= '{now}')::text FROM pg_replication_slots");
    wait_for_value(&client, &confirmed, "true", LONG).await;
}

#[tokio::test]
async fn what_begins_first_may_commit_last() {
    let mut pair = running(OBJECTS).await;
    let (a, b) = (pair.source_client().await, pair.source_client().await);
    let peer = pair.peer_client().await;
    for restart in [false, true] {
        let (first, second) = if restart { (3, 4) } else { (1, 2) };
        sql(&a, &format!("BEGIN; INSERT INTO log VALUES ({first}); UPDATE t SET v = 'a' WHERE id = {first}")).await;
        sql(&b, &format!("BEGIN; INSERT INTO log VALUES ({second}); UPDATE t SET v = 'b' WHERE id = {second}; COMMIT")).await;
        wait_for_value(&peer, &format!("SELECT max(n)::text FROM log WHERE n = {second}"), &second.to_string(), LONG).await;
        assert_eq!(pair.peer.psql(DB, &format!("SELECT count(*) FROM log WHERE n = {first}")).await, "0", "it is not committed");
        // The slot is confirmed past the begin of what is still open.
        wait_for_slot(&pair).await;
        if restart {
            pair.applier.restart();
        }
        sql(&a, "COMMIT").await;
        pair.assert_equal_after_catchup(LONG).await;
    }
    assert_eq!(pair.peer.psql(DB, "SELECT string_agg(n::text, ' ' ORDER BY n) FROM log").await, "1 2 3 4");
}

#[tokio::test]
async fn keepalives_between_commits_and_transactions_without_changes_move_the_position_past_nothing() {
    let mut pair = running(OBJECTS).await;
    pair.source.create_db("noise").await;
    let (_folder, noise) = Pgbench::script("SELECT pg_logical_emit_message(true, 'noise', repeat('x', 2000));\n");
    let a = pair.source_client().await;
    for n in 1..=3 {
        sql(&a, &format!("BEGIN; INSERT INTO log VALUES ({n})")).await;
        // WAL of another database: the source tells how far it is, and the slot moves, while the transaction is open.
        pair.source.pgbench("noise", &["-n", "-c", "1", "-t", "200", "-f", &noise]).finish(LONG).await;
        wait_for_slot(&pair).await;
        pair.source
            .psql(DB, "BEGIN; SELECT pg_current_xact_id(); COMMIT; BEGIN; INSERT INTO log VALUES (-1); ROLLBACK; BEGIN; UPDATE t SET v = v WHERE false; COMMIT; CREATE TEMP TABLE x AS SELECT 1")
            .await;
        if n == 2 {
            pair.applier.restart();
        }
        sql(&a, "COMMIT").await;
        pair.wait_for_catchup(LONG).await;
        pair.source.psql(DB, "BEGIN; INSERT INTO log VALUES (-1); ROLLBACK").await;
        pair.wait_for_catchup(LONG).await;
    }
    pair.assert_equal_after_catchup(LONG).await;
    assert_eq!(pair.peer.psql(DB, "SELECT string_agg(n::text, ' ' ORDER BY n) FROM log").await, "1 2 3");
}

#[tokio::test]
async fn subtransactions_that_are_rolled_back_leave_nothing_and_the_others_all() {
    let pair = running(OBJECTS).await;
    // More than 64, so that the source keeps them apart from their parent; every third is rolled back.
    let many = "DO $$ BEGIN FOR n IN 1..200 LOOP
            BEGIN
                INSERT INTO log VALUES (n);
                UPDATE t SET v = 'changed ' || n WHERE id = 1 + n % 100;
                IF n % 3 = 0 THEN RAISE EXCEPTION 'roll back'; END IF;
            EXCEPTION WHEN raise_exception THEN NULL;
            END;
        END LOOP; END $$;";
    let nested = "BEGIN; INSERT INTO log VALUES (1001);
        SAVEPOINT a; INSERT INTO log VALUES (1002); SAVEPOINT b; INSERT INTO log VALUES (1003); SAVEPOINT c; DELETE FROM t WHERE id < 50;
        ROLLBACK TO b; INSERT INTO log VALUES (1004); RELEASE a; SAVEPOINT a; INSERT INTO log VALUES (1005); ROLLBACK TO a; COMMIT;";
    let all_rolled_back = "BEGIN; SAVEPOINT a; INSERT INTO log VALUES (1006); ROLLBACK TO a; COMMIT;";
    for text in [many, nested, all_rolled_back] {
        pair.source.psql(DB, text).await;
    }
    pair.assert_equal_after_catchup(LONG).await;
    let rows = "SELECT count(*) FILTER (WHERE n <= 200) || ' ' || string_agg(n::text, ' ' ORDER BY n) FILTER (WHERE n > 1000) FROM log";
    assert_eq!(pair.peer.psql(DB, rows).await, "134 1001 1002 1004");
    assert_eq!(pair.peer.psql(DB, "SELECT count(*) FROM t").await, "100");
}

#[tokio::test]
async fn prepared_transactions_come_when_they_are_committed_or_never() {
    let mut pair = Pair::start(OBJECTS).await;
    let prepare = |n: i32| format!("BEGIN; INSERT INTO log VALUES ({n}); UPDATE t SET v = 'p' WHERE id = {n}; PREPARE TRANSACTION 'p{n}';");
    pair.start_task(r#"{"keyless": "insert_only", "acknowledge_warnings": true, "copy_jobs": 1, "throttle": {"copy_rows_per_s": 20}}"#)
        .await;
    pair.wait_for_state("copying", LONG).await;
    // Some are prepared during the copy, and committed when every table streams.
    // The slot is there: while it is made it waits for such transactions to end.
    let made = "SELECT count(*)::text FROM pg_replication_slots WHERE active AND confirmed_flush_lsn IS NOT NULL";
    wait_for_value(&pair.source_client().await, made, "1", LONG).await;
    for n in 1..=4 {
        pair.source.psql(DB, &prepare(n)).await;
    }
    pair.source.psql(DB, "COMMIT PREPARED 'p2'; SELECT pgrelay.alter_task('move', '{\"throttle\": null}')").await;
    pair.wait_for_state("running", LONG).await;
    for n in 5..=8 {
        pair.source.psql(DB, &prepare(n)).await;
    }
    pair.source.psql(DB, "COMMIT PREPARED 'p6'; ROLLBACK PREPARED 'p5'; COMMIT PREPARED 'p1'; ROLLBACK PREPARED 'p3'").await;
    pair.wait_for_catchup(LONG).await;
    assert_eq!(pair.peer.psql(DB, "SELECT string_agg(n::text, ' ' ORDER BY n) FROM log").await, "1 2 6", "nothing is early");
    pair.applier.restart();
    pair.source.psql(DB, "COMMIT PREPARED 'p8'; COMMIT PREPARED 'p4'; COMMIT PREPARED 'p7'").await;
    pair.assert_equal_after_catchup(LONG).await;
    assert_eq!(pair.peer.psql(DB, "SELECT string_agg(n::text, ' ' ORDER BY n) FROM log").await, "1 2 4 6 7 8");
}

#[tokio::test]
async fn transactions_that_are_open_while_copies_begin_and_tables_come_to_one_position() {
    let objects =
        "CREATE TABLE first (id int PRIMARY KEY, v text); INSERT INTO first SELECT n, repeat('x', 900) FROM generate_series(1, 3000) n;
        CREATE TABLE second (id int PRIMARY KEY, v text); INSERT INTO second SELECT n, repeat('x', 900) FROM generate_series(1, 1500) n;
        CREATE TABLE log (n int)";
    let pair = Pair::start(objects).await;
    let options = r#"{"keyless": "insert_only", "acknowledge_warnings": true, "copy_jobs": 1, "throttle": {"copy_rows_per_s": 700}}"#;
    pair.start_task(options).await;
    let source = pair.source_client().await;
    let copying = |table: &str| format!("SELECT (state <> 'init')::text FROM pgrelay.table_status WHERE table_name = '{table}'");
    wait_for_value(&source, &copying("first"), "true", LONG).await;
    let (over_second, over_all) = (pair.source_client().await, pair.source_client().await);
    let change = |n: i32| {
        format!(
            "BEGIN; INSERT INTO log VALUES ({n}); UPDATE first SET v = 'c{n}' WHERE id = {n}; UPDATE second SET id = id + 10000 WHERE id = {n}"
        )
    };
    sql(&over_second, &change(1)).await;
    sql(&over_all, &change(2)).await;
    sql(&source, &(change(3) + "; COMMIT")).await;
    wait_for_value(&source, &copying("second"), "true", LONG).await;
    sql(&over_second, "COMMIT").await;
    pair.source.psql(DB, "SELECT pgrelay.alter_task('move', '{\"throttle\": null}')").await;
    pair.wait_for_state("running", LONG).await;
    assert_eq!(pair.peer.psql(DB, "SELECT string_agg(n::text, ' ' ORDER BY n) FROM log").await, "1 3", "2 is not committed");
    sql(&over_all, "COMMIT").await;
    pair.assert_equal_after_catchup(LONG).await;
    assert_eq!(pair.peer.psql(DB, "SELECT string_agg(n::text, ' ' ORDER BY n) FROM log").await, "1 2 3");
}

/// Money goes between accounts of two tables; each transaction counts itself and leaves a line, one after the other.
const TRANSFER: &str = "UPDATE state SET v = v + 1;
    INSERT INTO journal SELECT v FROM state;
    UPDATE a SET n = n - 7 WHERE id = 1 + (SELECT v FROM state) % 20;
    UPDATE b SET n = n + 7 WHERE id = 20 - (SELECT v FROM state) % 20;";

#[tokio::test]
async fn a_reader_of_the_peer_sees_only_states_that_a_commit_on_the_source_had() {
    let objects = "CREATE TABLE state (id int PRIMARY KEY, v bigint NOT NULL); INSERT INTO state VALUES (1, 0);
        CREATE TABLE journal (v bigint);
        CREATE TABLE a (id int PRIMARY KEY, n bigint); INSERT INTO a SELECT n, 1000 FROM generate_series(1, 20) n;
        CREATE TABLE b (id int PRIMARY KEY, n bigint); INSERT INTO b SELECT n, 1000 FROM generate_series(1, 20) n;";
    let mut pair = running(objects).await;
    let writers = Writers::start(&pair.source.dsn(DB), 4, Duration::from_millis(15), TRANSFER);
    let peer = pair.peer_client().await;
    // One statement is one snapshot.
    let wrong =
        "SELECT (SELECT sum(n) FROM a)::bigint + (SELECT sum(n) FROM b)::bigint, (SELECT v FROM state), (SELECT count(*) FROM journal),
                        (SELECT coalesce(max(v), 0) FROM journal)";
    let (mut looks, mut seen) = (0, std::collections::BTreeSet::new());
    for round in 0..3 {
        let begun = writers.committed();
        wait_until("states of the peer", LONG, async || {
            let row = peer.query_one(wrong, &[]).await.expect("a look at the peer");
            let [money, state, lines, last] = [0, 1, 2, 3].map(|column| row.get::<_, i64>(column));
            assert_eq!((money, state, state), (40_000, lines, last), "half a transaction, or out of order");
            looks += 1;
            seen.insert(state);
            if writers.committed() > begun + 150 { Ok(()) } else { Err(format!("{state} of {}", writers.committed())) }
        })
        .await;
        if round == 1 {
            pair.applier.restart();
        }
        run_for(Duration::from_millis(20)).await;
    }
    writers.stop().await;
    pair.assert_equal_after_catchup(LONG).await;
    assert!(seen.len() > 5, "only {} states in {looks} looks", seen.len());
}
