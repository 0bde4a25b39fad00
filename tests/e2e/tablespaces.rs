//! Objects that lie in tablespaces of their own.

use std::time::Duration;

use pgrelay_tests::Pair;
use pgrelay_tests::pair::DB;

const MINUTE: Duration = Duration::from_secs(60);

const SPACES: &str = "CREATE TABLESPACE \"Fast Disk\" LOCATION ''";

/// A table, a matview and indexes of every way to be made, in the tablespace and out of it.
const SCHEMA: &str = "CREATE TABLE here (id int PRIMARY KEY);
    CREATE TABLE t (id int, w text, during int4range, CONSTRAINT t_pkey PRIMARY KEY (id) WITH (fillfactor = 70) USING INDEX TABLESPACE \"Fast Disk\" DEFERRABLE) TABLESPACE \"Fast Disk\";
    CREATE INDEX plain ON t (w); CREATE INDEX part ON t (lower(w)) WITH (fillfactor = 80) TABLESPACE \"Fast Disk\" WHERE w <> ' WHERE ';
    ALTER TABLE t ADD CONSTRAINT apart EXCLUDE USING gist (during WITH &&) WITH (fillfactor = 60) USING INDEX TABLESPACE \"Fast Disk\" WHERE (id > 0);
    CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY RANGE (id) TABLESPACE \"Fast Disk\";
    CREATE TABLE p1 PARTITION OF parted FOR VALUES FROM (0) TO (9);
    CREATE MATERIALIZED VIEW m WITH (fillfactor = 50) TABLESPACE \"Fast Disk\" AS SELECT 1 AS one;
    INSERT INTO t VALUES (1, 'a', '[1,2)'); INSERT INTO parted VALUES (1)";

const WHERE: &str =
    "SELECT string_agg(c.relname || ' ' || coalesce(s.spcname, '-') || coalesce(' ' || c.reloptions[1], ''), ', ' ORDER BY c.relname)
    FROM pg_class c LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'i', 'I', 'm')";

async fn pair() -> Pair {
    let pair = Pair::start_with("", "allow_in_place_tablespaces = on", &[]).await;
    pair.source.psql(DB, SPACES).await;
    pair.source.psql(DB, SCHEMA).await;
    pair
}

async fn findings(pair: &Pair) -> String {
    let sql = "SELECT coalesce(string_agg(concat_ws(' ', severity, object), ', '), '') FROM pgrelay.finding
        WHERE item LIKE 'tablespace%' AND severity <> 'ok'";
    pair.source.psql(DB, sql).await.trim().to_string()
}

#[tokio::test]
async fn keep_puts_everything_where_it_was_and_asks_for_the_tablespace_first() {
    let pair = pair().await;
    pair.start_task(r#"{"tablespaces": "keep", "keyless": "full"}"#).await;
    pair.wait_for_state("precheck_failed", MINUTE).await;
    assert_eq!(findings(&pair).await, "error tablespace \"Fast Disk\"");
    assert_eq!(pair.peer.psql(DB, "SELECT to_regclass('t') IS NULL").await.trim(), "t", "nothing is written before");
    pair.peer.psql(DB, &format!("SET allow_in_place_tablespaces = on; {SPACES}")).await;
    pair.source.psql(DB, "SELECT pgrelay.resume_task('move')").await;
    pair.wait_for_state("running", MINUTE).await;
    assert_eq!(findings(&pair).await, "");
    let places = pair.source.psql(DB, WHERE).await;
    assert_eq!(places.matches("Fast Disk").count(), 7, "{places}");
    assert_eq!(pair.peer.psql(DB, WHERE).await, places);
    pair.assert_equal_after_catchup(MINUTE).await;
    let differences = "SELECT string_agg(concat_ws(' ', difference, identity, fix), E'\\n') FROM pgrelay.verify_schema('move')";
    assert_eq!(pair.source.psql(DB, differences).await.trim(), "");
    pair.peer.psql(DB, "ALTER TABLE t SET TABLESPACE pg_default").await;
    let different = pair.source.psql(DB, differences).await;
    assert!(different.contains("ALTER TABLE \"public\".\"t\" SET TABLESPACE \"Fast Disk\";"), "{different}");
}

#[tokio::test]
async fn ignore_is_the_default_and_says_what_comes_to_lie_elsewhere() {
    let pair = pair().await;
    pair.start_task(r#"{"stages": ["schema", "copy"]}"#).await;
    pair.wait_for_state("finished", MINUTE).await;
    assert_eq!(findings(&pair).await, "warning tablespace Fast Disk");
    let elsewhere = pair.source.psql(DB, WHERE).await.replace("Fast Disk", "-");
    assert_eq!(pair.peer.psql(DB, WHERE).await, elsewhere);
}
