//! After a crash in the middle of a table only what is missing is copied again.

use std::time::Duration;

use pgrelay_tests::pair::DB;
use pgrelay_tests::wait::{wait_for_value, wait_until};
use pgrelay_tests::{Pair, Pgbench, Seed};

const MINUTE: Duration = Duration::from_secs(60);

/// Rows that were written into a table of the peer, those that were rolled back included.
async fn written(pair: &Pair, table: &str) -> i64 {
    let sql = format!("SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = '{table}'");
    pair.peer.psql(DB, &sql).await.parse().expect("a number")
}

async fn copied(pair: &Pair, table: &str) -> i64 {
    let sql = format!("SELECT coalesce(max(rows), 0) FROM pgrelay.table_status WHERE table_name = '{table}'");
    pair.source.psql(DB, &sql).await.parse().expect("a number")
}

#[tokio::test]
async fn ten_kills_in_the_copy_of_a_keyed_table_of_two_million_rows_cost_less_than_15_percent() {
    let rows = 2_000_000;
    let mut seed = Seed::from_env();
    let mut pair = Pair::start(&format!(
        "CREATE TABLE large (id bigint PRIMARY KEY, n int DEFAULT 0, filler text);
         INSERT INTO large SELECT n, 0, md5(n::text) FROM generate_series(1, {rows}) n; ANALYZE"
    ))
    .await;
    let (_folder, script) = Pgbench::script(
        "\\set a random(1, 2000000)\n\\set b random(1, 2000000)\nBEGIN;\nUPDATE large SET n = n + 1 WHERE id = :a;\n\
         UPDATE large SET id = -id WHERE id = :b;\nEND;\n",
    );
    let load = pair.source.pgbench(DB, &["-n", "-c", "2", "-R", "50", "-T", "600", "--max-tries", "50", "-f", &script]);
    pair.start_task(r#"{"copy_jobs": 2, "copy_chunk_mb": 1}"#).await;
    for kill in 1..=10 {
        // Somewhere in each eleventh of the table, as long as it is not done.
        let at = rows * kill / 11 - seed.below(50_000) as i64;
        wait_until(&format!("{at} rows to be copied"), MINUTE, async || {
            let now = copied(&pair, "large").await;
            if now >= at { Ok(()) } else { Err(now.to_string()) }
        })
        .await;
        pair.applier.restart();
    }
    pair.wait_for_state("running", 3 * MINUTE).await;
    load.stop().await;
    pair.assert_equal_after_catchup(MINUTE).await;
    // What the stream inserts is no copy: an update of a key is one.
    let again = written(&pair, "large").await - rows;
    println!("{again} of {rows} rows were written again");
    assert!(again < rows * 15 / 100, "{again} of {rows} rows were written again");
    let restarted = pair.source.psql(DB, "SELECT count(*) FROM pgrelay.event WHERE event = 'copy_restarted'").await;
    assert_eq!(restarted, "0");
}

/// Waits until some chunks of each of these tables are on the peer.
async fn begun(pair: &Pair, tables: &[&str]) {
    let peer = pair.peer_client().await;
    let sql = "SELECT count(*) >= 2 FROM pgrelay_peer.chunk_copy WHERE table_name = $1";
    for table in tables {
        wait_until(&format!("two chunks of {table} to be there"), MINUTE, async || {
            let there: bool = peer.query_one(sql, &[table]).await.map_err(|e| e.to_string())?.get(0);
            if there { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await;
    }
}

async fn unthrottled(pair: &mut Pair) {
    pair.applier.restart();
    pair.source.psql(DB, "SELECT pgrelay.alter_task('move', '{\"throttle\": null}')").await;
}

#[tokio::test]
async fn tables_that_were_begun_and_have_become_small_are_not_copied_on_top_of_their_chunks() {
    let mut pair = Pair::start(
        "CREATE TABLE a (n int, filler text); CREATE TABLE b (n int PRIMARY KEY, filler text);
         CREATE TABLE c (n int, filler text); CREATE TABLE d (n int, filler text);
         INSERT INTO a SELECT n, repeat(md5(n::text), 10) FROM generate_series(1, 60000) n;
         INSERT INTO b SELECT * FROM a; INSERT INTO c SELECT * FROM a WHERE n < 5000; INSERT INTO d SELECT * FROM c; ANALYZE",
    )
    .await;
    let options =
        r#"{"keyless": "insert_only", "acknowledge_warnings": true, "copy_jobs": 2, "copy_chunk_mb": 1, "throttle": {"copy_mb_per_s": 2}}"#;
    pair.start_task(options).await;
    begun(&pair, &["a", "b"]).await;
    pair.applier.kill9();
    pair.source.psql(DB, "TRUNCATE a, b, c, d; INSERT INTO a VALUES (1); INSERT INTO b VALUES (30000); INSERT INTO c VALUES (3)").await;
    unthrottled(&mut pair).await;
    pair.wait_for_state("running", MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
}

#[tokio::test]
async fn chunks_of_one_table_are_not_taken_for_those_of_another_that_has_its_name_now() {
    let mut pair = Pair::start(
        "CREATE TABLE large (n int PRIMARY KEY, filler text); CREATE TABLE next (n int PRIMARY KEY, filler text);
         INSERT INTO large SELECT n, repeat(md5(n::text), 10) FROM generate_series(1, 60000) n;
         INSERT INTO next SELECT n, 'new' || filler FROM large WHERE n < 20000; ANALYZE",
    )
    .await;
    pair.start_task(r#"{"copy_jobs": 1, "copy_chunk_mb": 1, "throttle": {"copy_mb_per_s": 2}}"#).await;
    begun(&pair, &["large"]).await;
    pair.applier.kill9();
    pair.source.psql(DB, "BEGIN; DROP TABLE large; ALTER TABLE next RENAME TO large; COMMIT").await;
    pair.applier.restart();
    let error = "SELECT coalesce(error, '') LIKE '%\"public.large\" is not the table of this name%' FROM pgrelay.task_status";
    wait_for_value(&pair.source_client().await, &format!("SELECT ({error})::text"), "true", MINUTE).await;
}

#[tokio::test]
async fn unique_indexes_wait_for_the_stream_also_when_the_key_could_not_be_built_at_first() {
    let mut pair = Pair::start(
        "CREATE TABLE large (n int PRIMARY KEY, note text UNIQUE, filler text);
         INSERT INTO large SELECT n, 'n' || n, repeat(md5(n::text), 10) FROM generate_series(1, 60000) n; ANALYZE",
    )
    .await;
    pair.start_task(r#"{"copy_jobs": 1, "copy_chunk_mb": 1, "throttle": {"copy_mb_per_s": 2}}"#).await;
    begun(&pair, &["large"]).await;
    pair.applier.kill9();
    pair.peer.psql(DB, "CREATE TABLE large_pkey (); CREATE TABLE large_note_key ()").await;
    // Until that is applied two rows of the peer have the same note.
    pair.source.psql(DB, "BEGIN; UPDATE large SET note = 'gone' WHERE n = 1; UPDATE large SET note = 'n1' WHERE n = 60000; COMMIT").await;
    unthrottled(&mut pair).await;
    let source = pair.source_client().await;
    for name in ["large_pkey", "large_note_key"] {
        let failed = "SELECT object FROM pgrelay.event WHERE event IN ('error', 'table_failed') ORDER BY id DESC LIMIT 1";
        wait_for_value(&source, failed, &format!("constraint {name} on public.large"), MINUTE).await;
        pair.peer.psql(DB, &format!("DROP TABLE {name}")).await;
    }
    pair.wait_for_state("running", MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
    let sql = "SELECT coalesce(string_agg(message, '; '), '') FROM pgrelay.event
               WHERE event IN ('table_failed', 'error') AND message NOT LIKE '%already exists%'";
    assert_eq!(pair.source.psql(DB, sql).await, "");
}

#[tokio::test]
async fn changes_that_do_not_tell_the_key_any_more_are_applied_when_every_part_is_older() {
    let mut pair = Pair::start(
        "CREATE TABLE large (n int PRIMARY KEY, note text NOT NULL, filler text); CREATE TABLE held (n int PRIMARY KEY, filler text);
         CREATE UNIQUE INDEX by_note ON large (note);
         INSERT INTO large SELECT n, 'n' || n, repeat(md5(n::text), 10) FROM generate_series(1, 60000) n;
         INSERT INTO held SELECT n, '' FROM generate_series(1, 10) n; ANALYZE",
    )
    .await;
    pair.start_task(r#"{"copy_jobs": 1, "copy_chunk_mb": 1, "throttle": {"copy_mb_per_s": 2}}"#).await;
    begun(&pair, &["large"]).await;
    pair.applier.kill9();
    // As long as this table cannot be copied the task does not stand at one position.
    pair.peer.psql(DB, "ALTER TABLE held ADD CHECK (n <> 7)").await;
    unthrottled(&mut pair).await;
    let source = pair.source_client().await;
    wait_for_value(&source, "SELECT state FROM pgrelay.table_status WHERE table_name = 'large'", "syncdone", MINUTE).await;
    pair.source.psql(DB, "ALTER TABLE large REPLICA IDENTITY USING INDEX by_note; DELETE FROM large WHERE n IN (1, 59999)").await;
    let peer = pair.peer_client().await;
    wait_for_value(&peer, "SELECT count(*)::text FROM large", "59998", MINUTE).await;
    pair.peer.psql(DB, "ALTER TABLE held DROP CONSTRAINT held_n_check").await;
    pair.wait_for_state("running", MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
}

#[tokio::test]
async fn a_table_without_a_key_starts_over_and_says_so() {
    let mut pair = Pair::start(
        "CREATE TABLE keyless (n int, filler text);
         INSERT INTO keyless SELECT n, repeat(md5(n::text), 10) FROM generate_series(1, 60000) n; ANALYZE",
    )
    .await;
    pair.start_task(r#"{"keyless": "insert_only", "acknowledge_warnings": true, "copy_jobs": 2, "copy_chunk_mb": 1}"#).await;
    let peer = pair.peer_client().await;
    wait_until("two chunks to be there", MINUTE, async || {
        let n = peer.query_one("SELECT count(*) FROM pgrelay_peer.chunk_copy", &[]).await.map_err(|e| e.to_string())?.get::<_, i64>(0);
        if n >= 2 { Ok(()) } else { Err(n.to_string()) }
    })
    .await;
    pair.applier.restart();
    pair.wait_for_state("running", MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
    let source = pair.source_client().await;
    let sql = "SELECT string_agg(object || ' ' || level, ',') FROM pgrelay.event WHERE event = 'copy_restarted'";
    wait_for_value(&source, sql, "public.keyless warning", MINUTE).await;
}

#[tokio::test]
async fn a_task_that_goes_on_does_not_analyze_its_tables_again() {
    let pair = Pair::start("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t SELECT n, n FROM generate_series(1, 1000) n").await;
    pair.start_task("{}").await;
    pair.wait_for_state("running", MINUTE).await;
    let analyzed = "SELECT analyze_count FROM pg_stat_user_tables WHERE relname = 't'";
    assert_eq!(pair.peer.psql(DB, analyzed).await, "1");
    pair.source.psql(DB, "SELECT pgrelay.pause_task('move')").await;
    pair.wait_for_state("paused", MINUTE).await;
    pair.source.psql(DB, "INSERT INTO t VALUES (0, 0); SELECT pgrelay.resume_task('move')").await;
    pair.assert_equal_after_catchup(MINUTE).await;
    assert_eq!(pair.peer.psql(DB, analyzed).await, "1");
}
