//! A table whose shape changes stops the task before any of its rows, and says so; nothing is skipped in silence.

use std::time::Duration;

use pgrelay_tests::Pair;
use pgrelay_tests::pair::DB;
use pgrelay_tests::wait::{wait_for_value, wait_until};

const MINUTE: Duration = Duration::from_secs(60);

const OBJECTS: &str = "
    CREATE TABLE changed (id int PRIMARY KEY, v text);
    CREATE TABLE other (id int PRIMARY KEY);
    INSERT INTO changed SELECT n, 'v' FROM generate_series(1, 10) n;";

async fn running() -> Pair {
    let pair = Pair::start(OBJECTS).await;
    pair.start_task("{}").await;
    pair.wait_for_state("running", MINUTE).await;
    pair
}

/// Waits until the task has an error and returns message, detail, hint and object. While tables are copied it goes on with the others.
async fn error_of(pair: &Pair) -> String {
    let client = pair.source_client().await;
    wait_until("the task to have an error", MINUTE, async || {
        let sql = "SELECT state, concat_ws(' | ', error_object, error, error_detail, error_hint) FROM pgrelay.task_status";
        let row = client.query_one(sql, &[]).await.map_err(|e| e.to_string())?;
        let (state, error): (String, String) = (row.get(0), row.get(1));
        if ["copying", "retrying", "failed"].contains(&state.as_str()) && !error.is_empty() {
            Ok(error)
        } else {
            Err(format!("{state}: {error}"))
        }
    })
    .await
}

#[tokio::test]
async fn a_column_that_the_peer_lacks_stops_the_task_until_it_is_there() {
    let pair = running().await;
    pair.source
        .psql(
            DB,
            "INSERT INTO changed VALUES (100, 'before');
             ALTER TABLE changed ADD COLUMN added int DEFAULT 7;
             BEGIN; INSERT INTO other VALUES (1); INSERT INTO changed VALUES (101, 'after', 1); COMMIT;",
        )
        .await;
    let error = error_of(&pair).await;
    assert!(error.contains("changed") && error.contains("added"), "names table and column: {error}");
    assert_eq!(pair.peer.psql(DB, "SELECT max(id) FROM changed").await, "100", "rows before the change are there");
    assert_eq!(pair.peer.psql(DB, "SELECT count(*) FROM other").await, "0", "no part of a transaction is applied");
    pair.peer.psql(DB, "ALTER TABLE changed ADD COLUMN added int DEFAULT 7").await;
    pair.wait_for_state("running", MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
}

#[tokio::test]
async fn a_renamed_column_stops_the_task() {
    let pair = running().await;
    pair.source.psql(DB, "ALTER TABLE changed RENAME COLUMN v TO w; INSERT INTO changed VALUES (101, 'after')").await;
    let error = error_of(&pair).await;
    assert!(error.contains("changed") && error.contains('w'), "{error}");
    assert_eq!(pair.peer.psql(DB, "SELECT count(*) FROM changed").await, "10");
}

#[tokio::test]
async fn a_rewritten_column_type_stops_the_task_or_is_reported() {
    let pair = running().await;
    pair.source
        .psql(DB, "ALTER TABLE changed ALTER COLUMN v TYPE varchar(3) USING left(v, 3); INSERT INTO changed VALUES (101, 'x')")
        .await;
    let error = error_of(&pair).await;
    assert!(error.contains("changed"), "{error}");
}

#[tokio::test]
async fn a_table_missing_on_the_peer_stops_the_task() {
    let pair = running().await;
    pair.peer.psql(DB, "DROP TABLE changed").await;
    pair.source.psql(DB, "INSERT INTO changed VALUES (101, 'after')").await;
    let error = error_of(&pair).await;
    assert!(error.contains("changed"), "{error}");
}

#[tokio::test]
async fn a_new_and_a_dropped_table_are_events_and_findings() {
    let pair = running().await;
    pair.source.psql(DB, "CREATE TABLE brand_new (id int PRIMARY KEY); INSERT INTO brand_new VALUES (1); DROP TABLE other").await;
    let client = pair.source_client().await;
    for (event, object) in [("new_table", "brand_new"), ("dropped_table", "other")] {
        let sql = format!("SELECT (count(*) > 0)::text FROM pgrelay.event WHERE event = '{event}' AND object LIKE '%{object}%'");
        wait_for_value(&client, &sql, "true", MINUTE).await;
        let sql = format!("SELECT (count(*) > 0)::text FROM pgrelay.finding WHERE object LIKE '%{object}%' AND severity <> 'ok'");
        wait_for_value(&client, &sql, "true", MINUTE).await;
    }
    pair.source.psql(DB, "INSERT INTO changed VALUES (200, 'goes on')").await;
    let peer = pair.peer_client().await;
    wait_for_value(&peer, "SELECT max(id)::text FROM changed", "200", MINUTE).await;
}

async fn wait_for_event(pair: &Pair, event: &str, object: &str) {
    let sql = format!("SELECT (count(*) > 0)::text FROM pgrelay.event WHERE event = '{event}' AND object = '{object}'");
    wait_for_value(&pair.source_client().await, &sql, "true", MINUTE).await;
}

#[tokio::test]
async fn a_table_made_again_under_its_name_is_told_and_not_taken_for_the_old_one() {
    let pair = running().await;
    let again = "BEGIN; DROP TABLE other; CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other VALUES (1); COMMIT";
    pair.source.psql(DB, again).await;
    wait_for_event(&pair, "dropped_table", "public.other").await;
    wait_for_event(&pair, "new_table", "public.other").await;
}

#[tokio::test]
async fn tables_that_change_names_stop_the_task() {
    let pair = running().await;
    let swap = "BEGIN; ALTER TABLE changed RENAME TO third; ALTER TABLE other RENAME TO changed; ALTER TABLE third RENAME TO other; COMMIT";
    pair.source.psql(DB, swap).await;
    pair.source.psql(DB, "INSERT INTO changed VALUES (101)").await;
    let error = error_of(&pair).await;
    assert!(error.contains("changed"), "{error}");
    assert_eq!(pair.peer.psql(DB, "SELECT count(*) FROM changed").await, "10");
}

#[tokio::test]
async fn a_rewrite_that_changes_values_is_an_event_and_a_finding() {
    let pair = running().await;
    pair.source.psql(DB, "ALTER TABLE changed ALTER COLUMN v TYPE text USING upper(v)").await;
    wait_for_event(&pair, "rewritten_table", "public.changed").await;
    let findings = pair.source.psql(DB, "SELECT severity FROM pgrelay.finding WHERE item = 'rewritten_table'").await;
    assert_eq!(findings, "error");
}

#[tokio::test]
async fn a_table_taken_out_of_the_publication_stops_the_task() {
    let pair = running().await;
    let publication = pair.source.psql(DB, "SELECT pubname FROM pg_publication WHERE pubname !~ 'insert_only'").await;
    pair.source.psql(DB, &format!("ALTER PUBLICATION {publication} DROP TABLE changed")).await;
    let error = error_of(&pair).await;
    assert!(error.contains("changed") && error.contains("publication"), "{error}");
}

#[tokio::test]
async fn a_table_that_is_partitioned_on_the_peer_alone_is_refused() {
    let pair = Pair::start(OBJECTS).await;
    let peer = "CREATE TABLE changed (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
                CREATE TABLE changed_1 PARTITION OF changed DEFAULT; CREATE TABLE other (id int PRIMARY KEY)";
    pair.peer.psql(DB, peer).await;
    pair.start_task(r#"{"stages": ["copy", "stream"]}"#).await;
    let error = error_of(&pair).await;
    assert!(error.contains("changed") && error.contains("partitioned"), "{error}");
}
