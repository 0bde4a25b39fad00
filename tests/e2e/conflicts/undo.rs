//! `undo_conflict`.

use pgrelay_tests::{pair::DB, wait::wait_for_value};
use tokio_postgres::Client;

use crate::{MINUTE, running};

/// What is recorded at the task's home, once so many records have come.
async fn recorded(source: &Client, count: u32) -> i64 {
    wait_for_value(source, "SELECT count(*)::text FROM pgrelay.conflict", &count.to_string(), MINUTE).await;
    source.query_one("SELECT max(id) FROM pgrelay.conflict", &[]).await.unwrap().get(0)
}

async fn undo(source: &Client, id: i64) -> Result<(), String> {
    let undone = source.query("SELECT * FROM pgrelay.undo_conflict($1)", &[&id]).await;
    let error = undone.map(drop).map_err(|e| e.as_db_error().map(|e| (e.message().to_owned(), e.hint().unwrap_or("").to_owned())));
    error.map_err(|e| e.map(|(message, hint)| format!("{message} ({hint})")).unwrap_or_default())
}

const ROWS: &str = "SELECT coalesce(string_agg(t::text, ' ' ORDER BY id), '') FROM t";

/// Rows come back as they were, deleted ones too, marked as pgrelay's; and only while what has taken their place is unchanged.
#[tokio::test]
async fn what_was_overwritten_comes_back_unless_something_has_changed_since() {
    let pair = running(
        "CREATE TABLE t (id int PRIMARY KEY, u int UNIQUE, v text, n numeric, g int GENERATED ALWAYS AS (u * 2) STORED);
         INSERT INTO t VALUES (7, 7, 'old', 1.10)",
        r#"{"conflict_policy": "overwrite"}"#,
    )
    .await;
    let source = pair.source_client().await;
    let before = "(1,10,d,12345678901234567890.10,20) (2,5,d2,,10)";
    pair.peer.psql(DB, "INSERT INTO t VALUES (1, 10, 'd', 12345678901234567890.10), (2, 5, 'd2', NULL)").await;
    pair.source.psql(DB, "INSERT INTO t VALUES (1, 5, 's', 1)").await;
    let overwritten = recorded(&source, 1).await;
    assert_eq!(pair.peer.psql(DB, ROWS).await, "(1,5,s,1,10) (7,7,old,1.10,14)");
    undo(&source, overwritten).await.unwrap();
    assert_eq!(pair.peer.psql(DB, ROWS).await, format!("{before} (7,7,old,1.10,14)"));
    let marked = "SELECT bool_and((pg_xact_commit_timestamp_origin(xmin)).roident <> 0) FROM t WHERE id < 3";
    assert_eq!(pair.peer.psql(DB, marked).await, "t");
    assert_eq!(pair.peer.psql(DB, "SELECT count(*) FROM pg_replication_origin WHERE roname LIKE '%undo'").await, "0");
    let events = "SELECT count(*)::text FROM pgrelay.event WHERE event = 'conflict_undone'";
    wait_for_value(&source, events, "1", MINUTE).await;
    // The row that it had left has other values now.
    let refused = undo(&source, overwritten).await.unwrap_err();
    assert!(refused.contains("cannot be put back") && refused.contains("has other values now"), "{refused}");

    // A row that was deleted although the peer had changed it.
    pair.peer.psql(DB, "UPDATE t SET v = 'mine' WHERE id = 7").await;
    pair.source.psql(DB, "DELETE FROM t WHERE id = 7").await;
    let deleted = recorded(&source, 2).await;
    assert_eq!(pair.peer.psql(DB, ROWS).await, before);
    pair.peer.psql(DB, "INSERT INTO t VALUES (8, 7, 'other', 0)").await;
    let refused = undo(&source, deleted).await.unwrap_err();
    assert!(refused.contains("would collide with"), "{refused}");
    pair.peer.psql(DB, "DELETE FROM t WHERE id = 8").await;
    undo(&source, deleted).await.unwrap();
    assert_eq!(pair.peer.psql(DB, ROWS).await, format!("{before} (7,7,mine,1.10,14)"));

    // What has overwritten nothing, and what is nowhere.
    pair.source.psql(DB, "DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (9, 9, 's'); SELECT pgrelay.wait_for_catchup('move')").await;
    pair.peer.psql(DB, "DELETE FROM t WHERE id = 9").await;
    pair.source.psql(DB, "DELETE FROM t WHERE id = 9").await;
    let missing = recorded(&source, 3).await;
    let refused = undo(&source, missing).await.unwrap_err();
    assert!(refused.contains("has overwritten nothing"), "{refused}");
    let refused = undo(&source, missing + 1000).await.unwrap_err();
    assert!(refused.contains("is not recorded"), "{refused}");
}
