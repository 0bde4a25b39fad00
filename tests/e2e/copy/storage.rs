//! How copied rows lie on the peer's disk.

use std::time::Duration;

use pgrelay_tests::Pair;
use pgrelay_tests::pair::DB;

const MINUTE: Duration = Duration::from_secs(60);

const TABLES: &str = "
    CREATE TABLE long (id int PRIMARY KEY, v text, own text COMPRESSION pglz);
    INSERT INTO long SELECT n, repeat(md5(n::text), 500), repeat(md5(n::text), 500) FROM generate_series(1, 300) n;
    INSERT INTO long SELECT n FROM generate_series(301, 40000) n;
    CREATE TABLE small_1 (id int PRIMARY KEY); INSERT INTO small_1 VALUES (1);
    CREATE TABLE small_2 (id int PRIMARY KEY); INSERT INTO small_2 VALUES (1); ANALYZE";

#[tokio::test]
async fn a_large_table_is_frozen_and_its_long_values_are_compressed_fast() {
    let pair = Pair::start(TABLES).await;
    pair.start_task(r#"{"stages": ["schema", "copy"], "index_memory_mb": 100}"#).await;
    pair.wait_for_state("finished", MINUTE).await;
    let sql = "SELECT relallvisible = relpages AND relpages > 0 FROM pg_class WHERE relname = 'long'";
    assert_eq!(pair.peer.psql(DB, sql).await, "t", "every page is frozen");
    // The test's servers may be built without lz4.
    let methods =
        "SELECT string_agg(DISTINCT concat_ws(' ', pg_column_compression(v), pg_column_compression(own)), ',') FROM long WHERE id < 300";
    let lz4 =
        "SELECT CASE WHEN 'lz4' = ANY (enumvals) THEN 'lz4' ELSE 'pglz' END FROM pg_settings WHERE name = 'default_toast_compression'";
    let expected = format!("{} pglz", pair.peer.psql(DB, lz4).await);
    assert_eq!(pair.peer.psql(DB, methods).await, expected);
}

#[tokio::test]
async fn what_the_peer_has_set_decides_how_values_are_compressed() {
    let pair = Pair::start(TABLES).await;
    pair.peer.psql(DB, &format!("ALTER DATABASE {DB} SET default_toast_compression = 'pglz'")).await;
    pair.start_task(r#"{"stages": ["schema", "copy"]}"#).await;
    pair.wait_for_state("finished", MINUTE).await;
    assert_eq!(pair.peer.psql(DB, "SELECT DISTINCT pg_column_compression(v) FROM long WHERE id < 300").await, "pglz");
}
