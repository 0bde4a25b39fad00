//! What each policy does to the rows that a change meets, by row and as a backlog.

mod case;
mod cases;
mod interleave;
mod single;
mod tasks;
mod undo;

use std::time::Duration;

use pgrelay_tests::Pair;
use pgrelay_tests::pair::DB;
use pgrelay_tests::wait::wait_for_value;

use case::{Policy, Way, run};
use cases::{cases, with_strict};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn fail_stops_before_the_transaction_and_skip_goes_on_row_by_row() {
    run(&cases(), Policy::Fail, Way::Row, "").await;
}

#[tokio::test]
async fn fail_stops_before_the_transaction_and_skip_goes_on_in_a_backlog() {
    run(&cases(), Policy::Fail, Way::Bulk, "").await;
}

#[tokio::test]
async fn ignore_keeps_the_rows_of_the_peer_row_by_row() {
    run(&cases(), Policy::Ignore, Way::Row, "").await;
}

#[tokio::test]
async fn ignore_keeps_the_rows_of_the_peer_in_a_backlog() {
    run(&cases(), Policy::Ignore, Way::Bulk, "").await;
}

#[tokio::test]
async fn overwrite_puts_the_change_in_place_row_by_row() {
    run(&cases(), Policy::Overwrite, Way::Row, "").await;
}

#[tokio::test]
async fn overwrite_puts_the_change_in_place_in_a_backlog() {
    run(&cases(), Policy::Overwrite, Way::Bulk, "").await;
}

#[tokio::test]
async fn strict_lets_the_policy_decide_about_what_the_peer_has_changed() {
    for policy in [Policy::Fail, Policy::Ignore, Policy::Overwrite] {
        for way in [Way::Row, Way::Bulk] {
            run(&with_strict(), policy, way, r#", "strict": true"#).await;
        }
    }
}

async fn running(objects: &str, options: &str) -> Pair {
    let pair = Pair::start(objects).await;
    pair.start_task(options).await;
    pair.wait_for_state("running", MINUTE).await;
    pair
}

/// Three rows of one transaction collide, first under one policy, then under another that is set while the task runs.
#[tokio::test]
async fn three_of_ten_thousand_rows_collide_and_a_policy_counts_from_the_next_transaction_on() {
    let pair = running(
        "CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, v text)",
        r#"{"conflict_policy": "ignore"}"#,
    )
    .await;
    for (table, ends) in [("a", "3 d, 9997 s"), ("b", "10000 s")] {
        pair.peer.psql(DB, &format!("INSERT INTO {table} VALUES (1, 'd'), (5000, 'd'), (10000, 'd')")).await;
        pair.source.psql(DB, &format!("INSERT INTO {table} SELECT n, 's' FROM generate_series(1, 10000) n")).await;
        pair.wait_for_catchup(MINUTE).await;
        let sql = format!("SELECT string_agg(n || ' ' || v, ', ' ORDER BY v) FROM (SELECT count(*) AS n, v FROM {table} GROUP BY v) c");
        assert_eq!(pair.peer.psql(DB, &sql).await, ends, "{table}");
        let records = format!("SELECT count(*) FROM pgrelay_peer.conflict WHERE table_name = '{table}' AND kind = 'insert_exists'");
        assert_eq!(pair.peer.psql(DB, &records).await, "3", "{table}");
        pair.source.psql(DB, "SELECT pgrelay.set_conflict_policy('move', 'overwrite')").await;
    }
    // What the peer has recorded comes to where the task was made.
    let counted = "SELECT (sum(confl_insert_exists) = 6)::text FROM pgrelay.conflict_count";
    wait_for_value(&pair.source_client().await, counted, "true", MINUTE).await;
}

/// A transaction of the peer's own holds the row that an insert meets, and deletes it: the insert waits and is no conflict.
#[tokio::test]
async fn a_row_that_is_deleted_while_an_insert_waits_for_it_is_no_conflict() {
    let pair = running("CREATE TABLE t (id int PRIMARY KEY, v text)", "{}").await;
    pair.peer.psql(DB, "INSERT INTO t VALUES (1, 'd')").await;
    let local = pair.peer_client().await;
    local.batch_execute("BEGIN; DELETE FROM t WHERE id = 1").await.unwrap();
    pair.source.psql(DB, "INSERT INTO t VALUES (1, 's')").await;
    let waits = "SELECT (count(*) > 0)::text FROM pg_stat_activity WHERE application_name LIKE '% apply' AND wait_event_type = 'Lock'";
    wait_for_value(&pair.peer_client().await, waits, "true", MINUTE).await;
    local.batch_execute("COMMIT").await.unwrap();
    pair.wait_for_catchup(MINUTE).await;
    assert_eq!(pair.peer.psql(DB, "SELECT v FROM t").await, "s");
    assert_eq!(pair.peer.psql(DB, "SELECT count(*) FROM pgrelay_peer.conflict").await, "0");
}

/// Among others, so that they are applied in a set.
#[tokio::test]
async fn a_row_of_nothing_but_its_key_that_comes_again_is_put_back_where_the_peer_lacks_it() {
    let rows = "INSERT INTO t SELECT n, n FROM generate_series(1, 30) n";
    let pair = running(&format!("CREATE TABLE t (a int, b int, PRIMARY KEY (a, b)); {rows}"), "{}").await;
    pair.source.psql(DB, "SELECT pgrelay.pause_task('move')").await;
    pair.wait_for_state("paused", MINUTE).await;
    pair.peer.psql(DB, "DELETE FROM t WHERE a = 1").await;
    pair.source.psql(DB, &format!("BEGIN; DELETE FROM t; {rows}; COMMIT")).await;
    pair.source.psql(DB, "SELECT pgrelay.resume_task('move')").await;
    pair.wait_for_state("running", MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
    let records = "SELECT string_agg(kind || ' ' || resolution, ', ') FROM pgrelay_peer.conflict";
    assert_eq!(pair.peer.psql(DB, records).await, "delete_missing ignored");
}

/// The later commit wins, whichever side it came from.
#[tokio::test]
async fn latest_wins_keeps_the_later_of_two_writes() {
    let pair = running(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'old'), (2, 'old')",
        r#"{"conflict_policy": "latest_wins"}"#,
    )
    .await;
    pair.source.psql(DB, "SELECT pgrelay.pause_task('move')").await;
    pair.wait_for_state("paused", MINUTE).await;
    pair.peer.psql(DB, "UPDATE t SET v = 'd' WHERE id = 1").await;
    pair.source.psql(DB, "UPDATE t SET v = 's'").await;
    pair.peer.psql(DB, "UPDATE t SET v = 'd' WHERE id = 2").await;
    pair.source.psql(DB, "SELECT pgrelay.resume_task('move')").await;
    pair.wait_for_state("running", MINUTE).await;
    pair.wait_for_catchup(MINUTE).await;
    assert_eq!(pair.peer.psql(DB, "SELECT string_agg(v, ' ' ORDER BY id) FROM t").await, "s d");
    let records = "SELECT string_agg(kind || ' ' || resolution, ', ' ORDER BY ordinal) FROM pgrelay_peer.conflict";
    assert_eq!(pair.peer.psql(DB, records).await, "update_origin_differs applied, update_origin_differs ignored");
}

/// `update_missing` decides whether an update of a row that the peer lacks inserts it, for the task and for one table.
#[tokio::test]
async fn update_missing_skip_leaves_the_row_out_but_for_the_table_that_inserts() {
    let tables = "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE other (LIKE t INCLUDING ALL);
                  INSERT INTO t VALUES (1, 'old'); INSERT INTO other VALUES (1, 'old')";
    let pair = running(tables, r#"{"update_missing": "skip"}"#).await;
    pair.source.psql(DB, "SELECT pgrelay.set_conflict_option('move', 'update_missing', 'insert', 'public.other')").await;
    pair.peer.psql(DB, "DELETE FROM t; DELETE FROM other").await;
    pair.source.psql(DB, "UPDATE t SET v = 's'; UPDATE other SET v = 's'").await;
    pair.wait_for_catchup(MINUTE).await;
    let records = "SELECT string_agg(table_name || ' ' || kind || ' ' || resolution, ', ' ORDER BY table_name) FROM pgrelay_peer.conflict";
    assert_eq!(pair.peer.psql(DB, "SELECT count(*) || ' ' || (SELECT v FROM other) FROM t").await, "0 s");
    assert_eq!(pair.peer.psql(DB, records).await, "other update_missing applied, t update_missing ignored");
}

/// A table that is there has a position of its own until all are. A conflict is found when the peer's transaction ends, and that transaction
/// comes again.
#[tokio::test]
async fn a_conflict_with_a_table_that_is_there_is_decided_while_others_are_copied() {
    let pair = Pair::start(
        "CREATE TABLE done (id int PRIMARY KEY, v text);
         INSERT INTO done SELECT n, 'v' FROM generate_series(1, 10) n;
         CREATE TABLE slow (id int PRIMARY KEY, v text);
         INSERT INTO slow SELECT n, 'v' FROM generate_series(1, 20000) n;",
    )
    .await;
    pair.start_task(r#"{"conflict_policy": "overwrite", "copy_jobs": 2, "throttle": {"copy_rows_per_s": 500}}"#).await;
    let (source, peer) = (pair.source_client().await, pair.peer_client().await);
    let state = "SELECT state FROM pgrelay.table_status WHERE table_name = 'done'";
    wait_for_value(&source, state, "syncdone", MINUTE).await;
    pair.peer.psql(DB, "INSERT INTO done VALUES (100, 'peer')").await;
    for sql in ["INSERT INTO done VALUES (100, 'source')", "INSERT INTO done VALUES (101, 'follows')"] {
        pair.source.psql(DB, sql).await;
    }
    wait_for_value(&peer, "SELECT string_agg(v, ' ' ORDER BY id) FROM done WHERE id >= 100", "source follows", MINUTE).await;
    wait_for_value(&source, "SELECT string_agg(kind, ' ') FROM pgrelay.conflict", "insert_exists", MINUTE).await;
    assert_eq!(pair.source.psql(DB, "SELECT state FROM pgrelay.table_status WHERE table_name = 'slow'").await, "datasync");
    pair.source.psql(DB, r#"SELECT pgrelay.alter_task('move', '{"throttle": {}}')"#).await;
    pair.assert_equal_after_catchup(MINUTE).await;
}
