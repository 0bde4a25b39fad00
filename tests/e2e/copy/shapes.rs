//! Tables that are unlike others: very many partitions, very wide rows; and what a copy costs the source.

use std::time::Duration;

use pgrelay_tests::Pair;
use pgrelay_tests::pair::DB;
use pgrelay_tests::wait::{wait_for_value, wait_until};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_table_of_many_small_partitions() {
    let partitions = if std::env::var_os("PGRELAY_NIGHTLY").is_some() { 2000 } else { 500 };
    let pair = Pair::start_with(
        &format!(
            "CREATE TABLE many (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
         DO $$ BEGIN FOR n IN 0..{partitions} - 1 LOOP
             EXECUTE format('CREATE TABLE many_%s PARTITION OF many FOR VALUES FROM (%s) TO (%s)', n, n * 10, n * 10 + 10);
         END LOOP; END $$;
         INSERT INTO many SELECT n, 'v' || n FROM generate_series(0, {partitions} * 10 - 1) n;"
        ),
        "max_locks_per_transaction = 512",
        &[],
    )
    .await;
    pair.start_task("{}").await;
    pair.source.psql(DB, "UPDATE many SET v = v || '!' WHERE id % 7 = 0").await;
    pair.wait_for_state("running", 3 * MINUTE).await;
    pair.source.psql(DB, "DELETE FROM many WHERE id % 11 = 0").await;
    pair.assert_equal_after_catchup(3 * MINUTE).await;
}

#[tokio::test]
async fn a_row_of_300_mb_costs_the_applier_a_fraction_of_its_size() {
    let pair = Pair::start(
        "CREATE TABLE wide (id int PRIMARY KEY, content text);
         ALTER TABLE wide ALTER content SET STORAGE EXTERNAL;
         INSERT INTO wide SELECT 1, string_agg(md5(n::text), '') FROM generate_series(1, 9830400) n;
         INSERT INTO wide VALUES (2, 'small')",
    )
    .await;
    pair.start_task("{}").await;
    pair.wait_for_state("running", 3 * MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
    let peak = pair.applier.peak_memory_mb();
    assert!(peak < 100, "the applier took {peak} MB");
}

#[tokio::test]
async fn no_snapshot_on_the_source_is_older_than_the_copy_of_one_table() {
    let pair = Pair::start(
        "DO $$ BEGIN FOR n IN 1..6 LOOP
             EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, v text)', n);
             EXECUTE format('INSERT INTO t%s SELECT n, repeat(md5(n::text), 10) FROM generate_series(1, 40000) n', n);
         END LOOP; END $$; ANALYZE",
    )
    .await;
    pair.start_task(r#"{"copy_jobs": 1, "copy_chunk_mb": 4}"#).await;
    let source = pair.source_client().await;
    // A session whose snapshot is from before the copy of the table that is being copied would be one for several.
    let sql = "SELECT (SELECT count(*) FROM pgrelay.table_status WHERE state NOT IN ('init', 'datasync')),
                      (SELECT coalesce(min(a.xact_start) < (SELECT max(t.copy_started_at) - interval '1 s' FROM pgrelay.table_status t), false)
                       FROM pg_stat_activity a WHERE a.backend_xmin IS NOT NULL AND a.application_name LIKE 'pgrelay%')";
    let mut looked = 0;
    wait_until("all tables to be copied", 2 * MINUTE, async || {
        let row = source.query_one(sql, &[]).await.map_err(|e| e.to_string())?;
        let (done, old): (i64, bool) = (row.get(0), row.get(1));
        assert!(!old, "a snapshot is older than the copy of the table that is being copied");
        looked += 1;
        if done == 6 { Ok(()) } else { Err(done.to_string()) }
    })
    .await;
    assert!(looked > 3, "looked {looked} times only");
    wait_for_value(&source, "SELECT state FROM pgrelay.task_status", "running", MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
}
