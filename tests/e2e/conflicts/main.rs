//! What each policy does to the rows that a change meets, by row and as a backlog.

mod case;
mod interleave;
mod single;
mod undo;

use End::{Failed, Running};
use pgrelay_tests::Pair;
use pgrelay_tests::pair::DB;
use pgrelay_tests::wait::wait_for_value;

const MINUTE: Duration = Duration::from_secs(60);
use std::time::Duration;

use case::{Case, End, PLAIN, Policy, Way, run};

fn all(rows: &'static str) -> [End; 3] {
    [Running(rows); 3]
}

fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "an insert meets a row with its key",
            peer: "INSERT INTO {t} VALUES (1, 10, 'd')",
            source: "INSERT INTO {t} VALUES (1, 11, 's')",
            ends: [Failed("(1,10,d)"), Running("(1,10,d)"), Running("(1,11,s)")],
            recorded: "insert_exists",
            ..PLAIN
        },
        Case {
            name: "an insert meets a row with its second unique value",
            peer: "INSERT INTO {t} VALUES (2, 5, 'd')",
            source: "INSERT INTO {t} VALUES (1, 5, 's')",
            ends: [Failed("(2,5,d)"), Running("(2,5,d)"), Running("(1,5,s)")],
            recorded: "insert_exists",
            ..PLAIN
        },
        Case {
            name: "an insert meets two rows by two keys",
            peer: "INSERT INTO {t} VALUES (1, 10, 'd'), (2, 5, 'd')",
            source: "INSERT INTO {t} VALUES (1, 5, 's')",
            ends: [Failed("(1,10,d) (2,5,d)"), Running("(1,10,d) (2,5,d)"), Running("(1,5,s)")],
            recorded: "multiple_unique_conflicts",
            ..PLAIN
        },
        Case {
            name: "a partial index does not hold the row",
            table: "(a int PRIMARY KEY, b int, chk boolean)",
            both: "CREATE UNIQUE INDEX ON {t} (b) WHERE chk",
            peer: "INSERT INTO {t} VALUES (3, 2, true)",
            source: "INSERT INTO {t} VALUES (4, 2, false)",
            ends: all("(3,2,t) (4,2,f)"),
            ..PLAIN
        },
        Case {
            name: "a partial index holds both rows",
            table: "(a int PRIMARY KEY, b int, chk boolean)",
            both: "CREATE UNIQUE INDEX ON {t} (b) WHERE chk",
            peer: "INSERT INTO {t} VALUES (3, 2, true)",
            source: "INSERT INTO {t} VALUES (5, 2, true)",
            ends: [Failed("(3,2,t)"), Running("(3,2,t)"), Running("(5,2,t)")],
            recorded: "insert_exists",
            ..PLAIN
        },
        Case {
            name: "nulls are distinct",
            peer: "INSERT INTO {t} VALUES (1, NULL, 'd')",
            source: "INSERT INTO {t} VALUES (2, NULL, 's')",
            ends: all("(1,,d) (2,,s)"),
            ..PLAIN
        },
        Case {
            name: "nulls are not distinct",
            table: "(id int PRIMARY KEY, u int UNIQUE NULLS NOT DISTINCT)",
            peer: "INSERT INTO {t} VALUES (1, NULL)",
            source: "INSERT INTO {t} VALUES (2, NULL)",
            ends: [Failed("(1,)"), Running("(1,)"), Running("(2,)")],
            recorded: "insert_exists",
            ..PLAIN
        },
        Case {
            name: "an index over an expression",
            table: "(id int PRIMARY KEY, e text)",
            both: "CREATE UNIQUE INDEX ON {t} (lower(e))",
            peer: "INSERT INTO {t} VALUES (1, 'ABC')",
            source: "INSERT INTO {t} VALUES (2, 'abc')",
            ends: [Failed("(1,ABC)"), Running("(1,ABC)"), Running("(2,abc)")],
            recorded: "insert_exists",
            ..PLAIN
        },
        Case {
            name: "an exclusion constraint",
            table: "(id int PRIMARY KEY, r int4range, EXCLUDE USING gist (r WITH &&))",
            peer: "INSERT INTO {t} VALUES (1, '[1,5)')",
            source: "INSERT INTO {t} VALUES (2, '[4,9)')",
            ends: [Failed(r#"(1,"[1,5)")"#), Running(r#"(1,"[1,5)")"#), Running(r#"(2,"[4,9)")"#)],
            recorded: "insert_exists",
            ..PLAIN
        },
        Case {
            name: "a unique generated column",
            table: "(id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (a / 10) STORED UNIQUE)",
            peer: "INSERT INTO {t} VALUES (1, 51)",
            source: "INSERT INTO {t} VALUES (2, 52)",
            ends: [Failed("(1,51,5)"), Running("(1,51,5)"), Running("(2,52,5)")],
            recorded: "insert_exists",
            ..PLAIN
        },
        Case {
            name: "an update of a row that is missing inserts it",
            rows: "INSERT INTO {t} VALUES (1, 1, 'old')",
            peer: "DELETE FROM {t}",
            source: "UPDATE {t} SET v = 'new'",
            ends: all("(1,1,new)"),
            recorded: "update_missing",
            ..PLAIN
        },
        Case {
            name: "an update of a missing row, and another row has its unique value",
            rows: "INSERT INTO {t} VALUES (1, 5, 'old')",
            peer: "DELETE FROM {t}; INSERT INTO {t} VALUES (9, 5, 'd')",
            source: "UPDATE {t} SET v = 'new'",
            ends: [Failed("(9,5,d)"), Running("(9,5,d)"), Running("(1,5,new)")],
            recorded: "insert_exists",
            ..PLAIN
        },
        Case {
            name: "an update of a missing row with an unchanged long value, whole old rows",
            table: "(id int PRIMARY KEY, n int, v text)",
            both: "ALTER TABLE {t} ALTER v SET STORAGE EXTERNAL; ALTER TABLE {t} REPLICA IDENTITY FULL",
            rows: "INSERT INTO {t} VALUES (1, 1, repeat('x', 5000))",
            peer: "DELETE FROM {t}",
            source: "UPDATE {t} SET n = 2",
            ends: all(LONG),
            recorded: "update_missing",
        },
        Case {
            name: "an update of a missing row with an unchanged long value, keys only",
            table: "(id int PRIMARY KEY, n int, v text)",
            both: "ALTER TABLE {t} ALTER v SET STORAGE EXTERNAL",
            rows: "INSERT INTO {t} VALUES (1, 1, repeat('x', 5000))",
            peer: "DELETE FROM {t}",
            source: "UPDATE {t} SET n = 2",
            ends: all(LONG),
            recorded: "update_missing",
        },
        Case {
            name: "an update gives a row the unique value of another",
            rows: "INSERT INTO {t} VALUES (1, 1, 'old')",
            peer: "INSERT INTO {t} VALUES (7, 99, 'd')",
            source: "UPDATE {t} SET u = 99, v = 'new'",
            ends: [Failed("(1,1,old) (7,99,d)"), Running("(1,1,old) (7,99,d)"), Running("(1,99,new)")],
            recorded: "update_exists",
            ..PLAIN
        },
        Case {
            name: "a key changes",
            rows: "INSERT INTO {t} VALUES (1, 1, 's')",
            source: "UPDATE {t} SET id = 2",
            ends: all("(2,1,s)"),
            ..PLAIN
        },
        Case {
            name: "a key changes to that of another row",
            rows: "INSERT INTO {t} VALUES (1, 1, 's')",
            peer: "INSERT INTO {t} VALUES (2, 22, 'd')",
            source: "UPDATE {t} SET id = 2",
            ends: [Failed("(1,1,s) (2,22,d)"), Running("(1,1,s) (2,22,d)"), Running("(2,1,s)")],
            recorded: "update_exists",
            ..PLAIN
        },
        Case {
            name: "a key changes of a row that is missing",
            rows: "INSERT INTO {t} VALUES (1, 1, 's')",
            peer: "DELETE FROM {t}",
            source: "UPDATE {t} SET id = 2",
            ends: all("(2,1,s)"),
            recorded: "update_missing",
            ..PLAIN
        },
        Case {
            name: "a row is updated three times",
            rows: "INSERT INTO {t} VALUES (1, 1, 's')",
            source: "BEGIN; UPDATE {t} SET v = 'a'; UPDATE {t} SET v = 'b'; UPDATE {t} SET v = 'c'; COMMIT",
            ends: all("(1,1,c)"),
            ..PLAIN
        },
        Case {
            name: "two rows swap a unique value",
            rows: "INSERT INTO {t} VALUES (1, 1, 'a'), (2, 2, 'b')",
            source: "BEGIN; UPDATE {t} SET u = -1 WHERE id = 1; UPDATE {t} SET u = 1 WHERE id = 2; UPDATE {t} SET u = 2 WHERE id = 1; COMMIT",
            ends: all("(1,2,a) (2,1,b)"),
            ..PLAIN
        },
        Case {
            name: "a row that the peer has changed is updated",
            rows: "INSERT INTO {t} VALUES (1, 1, 's')",
            peer: "UPDATE {t} SET v = 'd'",
            source: "UPDATE {t} SET v = 'new'",
            ends: all("(1,1,new)"),
            recorded: "update_origin_differs",
            ..PLAIN
        },
        Case {
            name: "the identity is an index",
            table: "(id int NOT NULL UNIQUE, u int UNIQUE, v text)",
            both: "ALTER TABLE {t} REPLICA IDENTITY USING INDEX {t}_id_key",
            rows: "INSERT INTO {t} VALUES (1, 1, 's')",
            peer: "INSERT INTO {t} VALUES (2, 5, 'd')",
            source: "UPDATE {t} SET u = 5",
            ends: [Failed("(1,1,s) (2,5,d)"), Running("(1,1,s) (2,5,d)"), Running("(1,5,s)")],
            recorded: "update_exists",
        },
        Case {
            name: "a row that is missing is deleted",
            rows: "INSERT INTO {t} VALUES (1, 1, 's'), (2, 2, 's')",
            peer: "DELETE FROM {t} WHERE id = 1",
            source: "BEGIN; DELETE FROM {t} WHERE id = 1; UPDATE {t} SET v = 'new' WHERE id = 2; COMMIT",
            ends: all("(2,2,new)"),
            recorded: "delete_missing",
            ..PLAIN
        },
        Case {
            name: "a row that the peer has changed is deleted",
            rows: "INSERT INTO {t} VALUES (1, 1, 's')",
            peer: "UPDATE {t} SET v = 'd'",
            source: "DELETE FROM {t}",
            ends: all(""),
            recorded: "delete_origin_differs",
            ..PLAIN
        },
        Case {
            name: "a row is deleted that the peer has replaced by one with the same unique value",
            rows: "INSERT INTO {t} VALUES (1, 5, 's')",
            peer: "DELETE FROM {t}; INSERT INTO {t} VALUES (2, 5, 'd')",
            source: "DELETE FROM {t}",
            ends: all("(2,5,d)"),
            recorded: "delete_missing",
            ..PLAIN
        },
        Case {
            name: "one of three equal rows is deleted",
            table: "(n int, j json)",
            both: "ALTER TABLE {t} REPLICA IDENTITY FULL",
            rows: "INSERT INTO {t} SELECT 1, '{}' FROM generate_series(1, 3)",
            source: "DELETE FROM {t} WHERE ctid = (SELECT min(ctid) FROM {t})",
            ends: all("(1,{}) (1,{})"),
            ..PLAIN
        },
        Case {
            name: "a deferrable key",
            table: "(id int PRIMARY KEY, u int UNIQUE DEFERRABLE INITIALLY DEFERRED, v text)",
            peer: "INSERT INTO {t} VALUES (2, 5, 'd')",
            source: "INSERT INTO {t} VALUES (1, 5, 's')",
            ends: [Failed("(2,5,d)"), Running("(2,5,d)"), Running("(1,5,s)")],
            recorded: "insert_exists",
            ..PLAIN
        },
        Case {
            name: "a deferrable key that an update violates",
            table: "(id int PRIMARY KEY, u int UNIQUE DEFERRABLE, v text)",
            rows: "INSERT INTO {t} VALUES (1, 1, 's'), (3, 3, 's')",
            peer: "INSERT INTO {t} VALUES (2, 5, 'd')",
            source: "BEGIN; UPDATE {t} SET u = 4 WHERE id = 3; UPDATE {t} SET u = 5 WHERE id = 1; COMMIT",
            ends: [Failed("(1,1,s) (2,5,d) (3,3,s)"), Running("(1,1,s) (2,5,d) (3,4,s)"), Running("(1,5,s) (3,4,s)")],
            recorded: "update_exists",
            ..PLAIN
        },
        Case {
            name: "a deferrable key that is violated only within the transaction",
            table: "(id int PRIMARY KEY, u int UNIQUE DEFERRABLE INITIALLY DEFERRED, v text)",
            rows: "INSERT INTO {t} VALUES (1, 1, 'a'), (2, 2, 'b')",
            source: "BEGIN; UPDATE {t} SET u = 2 WHERE id = 1; UPDATE {t} SET u = 1 WHERE id = 2; COMMIT",
            ends: all("(1,2,a) (2,1,b)"),
            ..PLAIN
        },
        Case {
            name: "a deferrable primary key is shifted onto a row of the peer",
            table: "(id int PRIMARY KEY DEFERRABLE, v text)",
            both: "ALTER TABLE {t} REPLICA IDENTITY FULL",
            rows: "INSERT INTO {t} VALUES (2, 'b'), (10, 'j'), (11, 'k')",
            peer: "INSERT INTO {t} VALUES (3, 'd')",
            source: "UPDATE {t} SET id = id + 1",
            ends: [Failed("(10,j) (11,k) (2,b) (3,d)"), Running("(11,j) (12,k) (2,b) (3,d)"), Running("(11,j) (12,k) (3,b)")],
            recorded: "update_exists",
        },
        Case {
            name: "a deferrable exclusion constraint",
            table: "(id int PRIMARY KEY, r int4range, EXCLUDE USING gist (r WITH &&) DEFERRABLE INITIALLY DEFERRED)",
            peer: "INSERT INTO {t} VALUES (1, '[1,5)')",
            source: "INSERT INTO {t} VALUES (2, '[4,9)')",
            ends: [Failed(r#"(1,"[1,5)")"#), Running(r#"(1,"[1,5)")"#), Running(r#"(2,"[4,9)")"#)],
            recorded: "insert_exists",
            ..PLAIN
        },
        Case {
            name: "a TRUNCATE after an insert that collides",
            rows: "INSERT INTO {t} VALUES (1, 1, 's')",
            peer: "INSERT INTO {t} VALUES (2, 2, 'd')",
            source: "BEGIN; INSERT INTO {t} VALUES (2, 2, 's'); TRUNCATE {t}; COMMIT",
            ends: [Failed("(1,1,s) (2,2,d)"), Running(""), Running("")],
            recorded: "insert_exists",
            ..PLAIN
        },
        Case {
            name: "an identity column GENERATED ALWAYS",
            table: "(id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, u int UNIQUE, v text)",
            peer: "INSERT INTO {t} OVERRIDING SYSTEM VALUE VALUES (1, 10, 'd')",
            source: "INSERT INTO {t} (u, v) VALUES (11, 's')",
            ends: [Failed("(1,10,d)"), Running("(1,10,d)"), Running("(1,11,s)")],
            recorded: "insert_exists",
            ..PLAIN
        },
    ]
}

/// A row with a long value, as it is shown.
const LONG: &str = "(1,2,xxx…5006";

#[tokio::test]
async fn fail_stops_before_the_transaction_and_skip_goes_on_row_by_row() {
    run(&cases(), Policy::Fail, Way::Row).await;
}

#[tokio::test]
async fn fail_stops_before_the_transaction_and_skip_goes_on_in_a_backlog() {
    run(&cases(), Policy::Fail, Way::Bulk).await;
}

#[tokio::test]
async fn ignore_keeps_the_rows_of_the_peer_row_by_row() {
    run(&cases(), Policy::Ignore, Way::Row).await;
}

#[tokio::test]
async fn ignore_keeps_the_rows_of_the_peer_in_a_backlog() {
    run(&cases(), Policy::Ignore, Way::Bulk).await;
}

#[tokio::test]
async fn overwrite_puts_the_change_in_place_row_by_row() {
    run(&cases(), Policy::Overwrite, Way::Row).await;
}

#[tokio::test]
async fn overwrite_puts_the_change_in_place_in_a_backlog() {
    run(&cases(), Policy::Overwrite, Way::Bulk).await;
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

/// With `strict` the policy decides about a row that the peer has changed too.
#[tokio::test]
async fn strict_and_ignore_keep_what_the_peer_has_changed() {
    let pair = running(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'old'), (2, 'old')",
        r#"{"conflict_policy": "ignore", "strict": true}"#,
    )
    .await;
    pair.peer.psql(DB, "UPDATE t SET v = 'd' WHERE id = 1").await;
    pair.source.psql(DB, "UPDATE t SET v = 's'").await;
    pair.wait_for_catchup(MINUTE).await;
    assert_eq!(pair.peer.psql(DB, "SELECT string_agg(v, ' ' ORDER BY id) FROM t").await, "d s");
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
