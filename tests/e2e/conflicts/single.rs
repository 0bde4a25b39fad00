//! What a task that a conflict has stopped does next, and policies that count for some conflicts only.

use pgrelay_tests::{Pair, pair::DB, wait::wait_for_value};

use crate::{MINUTE, running};

const ROWS: &str = "SELECT coalesce(string_agg(t::text, ' ' ORDER BY t.id), '') FROM t";

async fn call(pair: &Pair, sql: &str) {
    pair.source.psql(DB, &format!("SELECT pgrelay.{sql}")).await;
}

async fn fails(pair: &Pair) -> String {
    wait_for_value(&pair.source_client().await, "SELECT state FROM pgrelay.task_status WHERE NOT pending", "failed", MINUTE).await;
    pair.source.psql(DB, "SELECT concat_ws(' ', error, error_detail, error_hint) FROM pgrelay.task_status").await
}

#[tokio::test]
async fn a_task_that_a_conflict_has_stopped_goes_on_when_the_row_is_mended_or_another_policy_is_set() {
    let pair = running("CREATE TABLE t (id int PRIMARY KEY, u int UNIQUE, v text)", "{}").await;
    pair.peer.psql(DB, "INSERT INTO t VALUES (1, 1, 'd'), (2, 22, 'd')").await;
    pair.source.psql(DB, "INSERT INTO t VALUES (9, 9, 's'), (1, 1, 's')").await;
    let error = fails(&pair).await;
    for named in
        ["public.t", "Key (id)=(1)", "\"t_pkey\"", "\"t_u_key\"", "commits at ", "pgrelay.resume_task()", "pgrelay.skip_transaction("]
    {
        assert!(error.contains(named), "{named} is not in: {error}");
    }
    // Nothing of the transaction is there, also after another try.
    call(&pair, "resume_task('move')").await;
    fails(&pair).await;
    assert_eq!(pair.peer.psql(DB, ROWS).await, "(1,1,d) (2,22,d)");
    pair.peer.psql(DB, "DELETE FROM t WHERE id = 1").await;
    call(&pair, "resume_task('move')").await;
    pair.wait_for_state("running", MINUTE).await;
    pair.wait_for_catchup(MINUTE).await;
    assert_eq!(pair.peer.psql(DB, ROWS).await, "(1,1,s) (2,22,d) (9,9,s)");

    pair.source.psql(DB, "INSERT INTO t VALUES (2, 2, 's')").await;
    fails(&pair).await;
    call(&pair, "set_conflict_policy('move', 'overwrite', 'public.t', 'insert_exists')").await;
    call(&pair, "resume_task('move')").await;
    pair.wait_for_state("running", MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
    // Of another kind it still fails.
    pair.peer.psql(DB, "INSERT INTO t VALUES (3, 3, 'd')").await;
    pair.source.psql(DB, "UPDATE t SET u = 3 WHERE id = 2").await;
    assert!(fails(&pair).await.contains("update_exists"));
}

#[tokio::test]
async fn just_the_transaction_that_is_skipped_is_left_out_and_recorded_with_its_content() {
    let pair = running("CREATE TABLE t (id int PRIMARY KEY, v text)", "{}").await;
    pair.peer.psql(DB, "INSERT INTO t VALUES (1, 'd'), (3, 'd')").await;
    call(&pair, "pause_task('move')").await;
    pair.wait_for_state("paused", MINUTE).await;
    pair.source.psql(DB, "BEGIN; INSERT INTO t VALUES (10, 'with it'), (1, 's'); UPDATE t SET v = 'later' WHERE id = 10; COMMIT").await;
    pair.source.psql(DB, "INSERT INTO t VALUES (2, 'clean')").await;
    pair.source.psql(DB, "INSERT INTO t VALUES (3, 's')").await;
    call(&pair, "resume_task('move')").await;
    fails(&pair).await;
    assert_eq!(pair.peer.psql(DB, ROWS).await, "(1,d) (3,d)");
    let first = "SELECT source_commit_lsn FROM pgrelay.conflict WHERE resolution = 'failed' ORDER BY id DESC LIMIT 1";
    let first = pair.source.psql(DB, first).await;
    call(&pair, &format!("skip_transaction('move', '{first}')")).await;
    call(&pair, "resume_task('move')").await;
    let stopped = format!(
        "SELECT (error_detail LIKE '%Key (id)=(3)%')::text FROM pgrelay.task_status WHERE state = 'failed' AND error_detail NOT LIKE '%{first}%'"
    );
    wait_for_value(&pair.source_client().await, &stopped, "true", MINUTE).await;
    assert_eq!(pair.peer.psql(DB, ROWS).await, "(1,d) (2,clean) (3,d)");
    let left_out = "SELECT string_agg(concat_ws(' ', operation, change_no, key, incoming_new), '; ' ORDER BY change_no)
        FROM pgrelay.conflict WHERE resolution = 'skipped'";
    let content = r#"insert 1 {"id": 10} {"v": "with it", "id": 10}; insert 2 {"id": 1} {"v": "s", "id": 1}; update 3 {"id": 10} {"v": "later", "id": 10}"#;
    wait_for_value(&pair.source_client().await, left_out, content, MINUTE).await;
}

#[tokio::test]
async fn each_kind_is_counted_as_often_as_it_is_recorded() {
    let objects =
        "CREATE TABLE t (id int PRIMARY KEY, u int UNIQUE, v text); INSERT INTO t SELECT n, n, 'old' FROM generate_series(1, 9) n";
    let pair = running(objects, r#"{"conflict_policy": "ignore"}"#).await;
    pair.peer.psql(DB, "DELETE FROM t WHERE id IN (1, 2); UPDATE t SET v = 'd' WHERE id IN (3, 4); INSERT INTO t SELECT n, n, 'd' FROM generate_series(20, 22) n").await;
    let changes = [
        "DELETE FROM t WHERE id = 1",
        "UPDATE t SET v = 's' WHERE id = 2",
        "UPDATE t SET v = 's' WHERE id = 3",
        "DELETE FROM t WHERE id = 4",
        "UPDATE t SET u = 20 WHERE id = 5",
        "INSERT INTO t VALUES (20, 30, 's')",
        "INSERT INTO t VALUES (21, 22, 's')",
    ];
    pair.source.psql(DB, &changes.join("; ")).await;
    pair.wait_for_catchup(MINUTE).await;
    let kinds = [
        "insert_exists",
        "update_origin_differs",
        "update_exists",
        "update_missing",
        "delete_origin_differs",
        "delete_missing",
        "multiple_unique_conflicts",
    ];
    let recorded: Vec<String> = kinds.iter().map(|kind| format!("(SELECT count(*) FROM pgrelay.conflict WHERE kind = '{kind}')")).collect();
    let counted: Vec<String> =
        kinds.iter().map(|kind| format!("(SELECT coalesce(sum(confl_{kind}), 0)::bigint FROM pgrelay.conflict_count)")).collect();
    let happened = "SELECT count(*)::text FROM pgrelay_peer.conflict";
    let all = pair.peer.psql(DB, happened).await;
    wait_for_value(&pair.source_client().await, "SELECT count(*)::text FROM pgrelay.conflict", &all, MINUTE).await;
    let [recorded, counted] = [recorded, counted].map(|columns| format!("SELECT concat_ws(' ', {})", columns.join(", ")));
    let recorded = pair.source.psql(DB, &recorded).await;
    assert_eq!(pair.source.psql(DB, &counted).await, recorded);
    assert!(!recorded.split(' ').any(|count| count == "0"), "a kind that did not happen: {recorded}");
}

/// The row is missing on the peer and by then gone on the source, so a long value that the update left as it was is nowhere.
#[tokio::test]
async fn an_update_whose_long_value_is_nowhere_any_more_is_left_out_with_a_note() {
    let table = "CREATE TABLE t (id int PRIMARY KEY, n int, v text); ALTER TABLE t ALTER v SET STORAGE EXTERNAL";
    let pair = running(&format!("{table}; INSERT INTO t SELECT n, n, repeat('x', 5000) FROM generate_series(1, 2) n"), "{}").await;
    pair.peer.psql(DB, "DELETE FROM t WHERE id = 1").await;
    call(&pair, "pause_task('move')").await;
    pair.wait_for_state("paused", MINUTE).await;
    pair.source.psql(DB, "UPDATE t SET n = n + 10; DELETE FROM t WHERE id = 1").await;
    call(&pair, "resume_task('move')").await;
    pair.wait_for_state("running", MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
    let records =
        "SELECT string_agg(concat_ws(' ', kind, resolution, incoming_new, note), '; ' ORDER BY ordinal) FROM pgrelay_peer.conflict";
    let note = "It is left out: the change leaves a long value as it was, and the row is gone where it came from.";
    let expected = format!(r#"update_missing ignored {{"n": 11, "id": 1}} {note}; delete_missing ignored"#);
    assert_eq!(pair.peer.psql(DB, records).await, expected);
}

/// Three tables, each with another policy.
#[tokio::test]
async fn two_of_a_thousand_rows_of_a_copy_collide() {
    let tables = ["overwrite", "ignore", "fail"];
    let objects: String = tables.iter().map(|table| format!("CREATE TABLE {table} (id int PRIMARY KEY, v text);")).collect();
    let pair = running(&objects, "{}").await;
    for (table, there) in [("overwrite", "1000 s"), ("ignore", "2 d, 998 s"), ("fail", "2 d")] {
        call(&pair, &format!("set_conflict_policy('move', '{table}', 'public.{table}')")).await;
        pair.peer.psql(DB, &format!("INSERT INTO {table} VALUES (1, 'd'), (700, 'd')")).await;
        let rows: String = (1..=1000).map(|id| format!("{id},s\n")).collect();
        pair.source.psql(DB, &format!("COPY {table} FROM STDIN (FORMAT csv);\n{rows}\\.\n")).await;
        match table {
            "fail" => drop(fails(&pair).await),
            _ => pair.wait_for_catchup(MINUTE).await,
        }
        let counts = format!("SELECT string_agg(n || ' ' || v, ', ' ORDER BY v) FROM (SELECT count(*) AS n, v FROM {table} GROUP BY v) c");
        assert_eq!(pair.peer.psql(DB, &counts).await, there, "{table}");
        let records = format!("SELECT count(*) FROM pgrelay_peer.conflict WHERE table_name = '{table}' AND kind = 'insert_exists'");
        assert_eq!(pair.peer.psql(DB, &records).await, if table == "fail" { "1" } else { "2" }, "{table}");
    }
}

/// Two rows of the peer that were written when it did not keep the times of commits, and one whose time it knows.
#[tokio::test]
async fn a_row_whose_time_is_not_known_is_older_than_any_change_and_recorded_without_a_time() {
    let mut pair = running("CREATE TABLE t (id int PRIMARY KEY, v text)", r#"{"conflict_policy": "latest_wins"}"#).await;
    call(&pair, "pause_task('move')").await;
    pair.wait_for_state("paused", MINUTE).await;
    pair.source.psql(DB, "INSERT INTO t VALUES (1, 's'), (2, 's'), (3, 's')").await;
    for (tracks, rows) in [("off", "(1, 'd'), (2, 'd')"), ("on", "(3, 'd')")] {
        pair.peer.psql(DB, &format!("ALTER SYSTEM SET track_commit_timestamp = {tracks}")).await;
        pair.peer.stop_fast().await;
        pair.peer.start_again().await;
        pair.peer.psql(DB, &format!("INSERT INTO t VALUES {rows}")).await;
    }
    call(&pair, "resume_task('move')").await;
    pair.wait_for_state("running", MINUTE).await;
    pair.wait_for_catchup(MINUTE).await;
    assert_eq!(pair.peer.psql(DB, ROWS).await, "(1,s) (2,s) (3,d)");
    let records = "SELECT string_agg(concat_ws(' ', key->>'id', kind, resolution, peer_commit_ts[1] IS NOT NULL), ', ' ORDER BY ordinal)
        FROM pgrelay_peer.conflict";
    let expected = "1 insert_exists overwritten f, 2 insert_exists overwritten f, 3 insert_exists ignored t";
    assert_eq!(pair.peer.psql(DB, records).await, expected);
}

/// Of tables that the peer has, which may have columns of its own: the row with the key is changed in place.
#[tokio::test]
async fn a_column_that_only_the_peer_has_keeps_its_value() {
    let tables = ["overwrite", "ignore", "fail"];
    let objects =
        |more: &str| tables.map(|table| format!("CREATE TABLE {table} (id int PRIMARY KEY, u int UNIQUE, v text{more});")).concat();
    let pair = Pair::start(&(objects("") + "CREATE TABLE filler (id int PRIMARY KEY)")).await;
    pair.peer.psql(DB, &(objects(", x text") + "CREATE TABLE filler (id int PRIMARY KEY)")).await;
    pair.start_task(r#"{"stages": ["copy", "stream"], "acknowledge_warnings": true}"#).await;
    pair.wait_for_state("running", MINUTE).await;
    for (table, there) in [("overwrite", "(1,11,s,keep) (2,12,s,keep)"), ("ignore", "(1,1,d,keep) (2,2,d,keep)")] {
        call(&pair, &format!("set_conflict_policy('move', '{table}', 'public.{table}')")).await;
        pair.peer.psql(DB, &format!("INSERT INTO {table} VALUES (1, 1, 'd', 'keep'), (2, 2, 'd', 'keep')")).await;
        // By itself, and among others.
        pair.source.psql(DB, &format!("INSERT INTO {table} VALUES (1, 11, 's')")).await;
        pair.wait_for_catchup(MINUTE).await;
        pair.source.psql(DB, &format!("BEGIN; INSERT INTO {table} VALUES (2, 12, 's'); INSERT INTO filler SELECT generate_series(1, 50); DELETE FROM filler; COMMIT")).await;
        pair.wait_for_catchup(MINUTE).await;
        let rows = format!("SELECT string_agg(t::text, ' ' ORDER BY id) FROM {table} t");
        assert_eq!(pair.peer.psql(DB, &rows).await, there, "{table}");
    }
    pair.peer.psql(DB, "INSERT INTO fail VALUES (1, 1, 'd', 'keep')").await;
    pair.source.psql(DB, "INSERT INTO fail VALUES (1, 11, 's')").await;
    assert!(fails(&pair).await.contains("insert_exists"));
    assert_eq!(pair.peer.psql(DB, "SELECT * FROM fail").await, "1|1|d|keep");
}
