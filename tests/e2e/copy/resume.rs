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
