//! An application's UPDATE and DELETE on the source never fail because of a task, whatever the table's identity.

use std::time::Duration;

use pgrelay_tests::pair::DB;
use pgrelay_tests::wait::wait_until;
use pgrelay_tests::{Pair, Writers};

const MINUTE: Duration = Duration::from_secs(60);

/// Tables of every kind of identity, each with `id` and `v`.
const OBJECTS: &str = "
    CREATE SEQUENCE ids START 1000000;
    CREATE TABLE keyed (id int PRIMARY KEY, v int);
    CREATE TABLE keyless (id int, v int);
    CREATE TABLE nothing (id int PRIMARY KEY, v int);
    ALTER TABLE nothing REPLICA IDENTITY NOTHING;
    CREATE TABLE full_without_key (id int, v int);
    ALTER TABLE full_without_key REPLICA IDENTITY FULL;
    CREATE TABLE deferrable_key (id int PRIMARY KEY DEFERRABLE, v int);
    CREATE TABLE unique_but_null (id int UNIQUE, v int);
    CREATE TABLE lost_index (id int NOT NULL UNIQUE, v int);
    ALTER TABLE lost_index REPLICA IDENTITY USING INDEX lost_index_id_key;
    ALTER TABLE lost_index DROP CONSTRAINT lost_index_id_key;
    CREATE TABLE part (id int, v int) PARTITION BY RANGE (id);
    CREATE TABLE part_keyed PARTITION OF part (PRIMARY KEY (id)) FOR VALUES FROM (0) TO (50);
    CREATE TABLE part_keyless PARTITION OF part FOR VALUES FROM (50) TO (1000000000);
    CREATE TABLE keyed_part (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
    CREATE TABLE keyed_part_nothing PARTITION OF keyed_part FOR VALUES FROM (0) TO (50);
    ALTER TABLE keyed_part_nothing REPLICA IDENTITY NOTHING;
    CREATE TABLE keyed_part_rest PARTITION OF keyed_part DEFAULT;
    CREATE TABLE ancestor (id int PRIMARY KEY, v int);
    CREATE TABLE heir () INHERITS (ancestor);
    CREATE UNLOGGED TABLE unlogged_keyless (id int, v int);";

const TABLES: [&str; 12] = [
    "keyed",
    "keyless",
    "nothing",
    "full_without_key",
    "deferrable_key",
    "unique_but_null",
    "lost_index",
    "part",
    "keyed_part",
    "ancestor",
    "heir",
    "unlogged_keyless",
];

fn filled() -> String {
    let fill = |t: &&str| format!("INSERT INTO {t} SELECT n + 1000 * ('{t}' = 'heir')::int, 0 FROM generate_series(1, 100) n;");
    OBJECTS.to_string() + &TABLES.iter().map(fill).collect::<String>()
}

/// One transaction that updates, inserts and deletes in every table. No id comes twice: a row of an `insert_only` table stays on the peer.
fn application() -> String {
    let change = |t: &&str| {
        format!(
            "UPDATE {t} SET v = v + 1 WHERE id % 100 = 7; INSERT INTO {t} VALUES (nextval('ids'), 0); DELETE FROM {t} WHERE id = currval('ids');"
        )
    };
    TABLES.iter().map(change).collect()
}

async fn undisturbed(options: &str, expect: &str) -> Pair {
    let pair = Pair::start(&filled()).await;
    let writers = Writers::start(&pair.source.dsn(DB), 1, Duration::from_millis(10), &application());
    pair.start_task(options).await;
    pair.wait_for_state(expect, MINUTE).await;
    let so_far = writers.committed();
    wait_until("the application to go on", MINUTE, async || {
        let now = writers.committed();
        if now > so_far + 20 { Ok(()) } else { Err(now.to_string()) }
    })
    .await;
    writers.stop().await;
    pair
}

#[tokio::test]
async fn with_keyless_tables_inserted_only() {
    let pair = undisturbed(r#"{"keyless": "insert_only", "acknowledge_warnings": true}"#, "running").await;
    pair.wait_for_catchup(MINUTE).await;
    let status = pair.source.psql(DB, "SELECT table_name FROM pgrelay.table_status WHERE note LIKE 'only INSERT%' ORDER BY 1").await;
    for table in ["keyless", "nothing", "deferrable_key", "lost_index", "part_keyless", "keyed_part_nothing", "heir"] {
        assert!(status.lines().any(|l| l == table), "{table} is shown as insert_only: {status}");
    }
    let (source, peer) = (pair.source_client().await, pair.peer_client().await);
    let tables = ["public.keyed", "public.full_without_key", "public.part_keyed", "public.keyed_part_rest", "public.ancestor"];
    pgrelay_tests::assert_tables_equal(&source, &peer, &tables).await;
}

#[tokio::test]
async fn with_keyless_tables_in_full() {
    let pair = undisturbed(r#"{"keyless": "full", "acknowledge_warnings": true}"#, "running").await;
    pair.assert_equal_after_catchup(MINUTE).await;
}

#[tokio::test]
async fn with_keyless_tables_an_error_of_the_precheck() {
    let pair = undisturbed(r#"{"keyless": "error"}"#, "precheck_failed").await;
    let findings = pair.source.psql(DB, "SELECT object FROM pgrelay.finding WHERE severity = 'error' ORDER BY 1").await;
    assert!(findings.contains("keyless"), "{findings}");
    assert_eq!(pair.peer.psql(DB, "SELECT count(*) FROM pg_class WHERE relname = 'keyed'").await, "0", "nothing is written on the peer");
}

/// Takes the identity away from a table of a running task: the application goes on, its changes are carried, and what was
/// there is put back at stop.
async fn goes_on_without_identity(command: &str, identity_after_stop: &str) {
    let pair = Pair::start("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT n, 0 FROM generate_series(1, 10) n").await;
    pair.start_task("{}").await;
    pair.wait_for_state("running", MINUTE).await;
    pair.source.psql(DB, command).await;
    pair.source.psql(DB, "UPDATE t SET v = 1 WHERE id = 3").await;
    pair.source.psql(DB, "DELETE FROM t WHERE id = 4").await;
    pair.assert_equal_after_catchup(MINUTE).await;
    assert_eq!(pair.source.psql(DB, "SELECT object FROM pgrelay.event WHERE event = 'replica_identity'").await, "public.t");
    pair.source.psql(DB, "SELECT pgrelay.stop_task('move')").await;
    pair.wait_for_state("stopped", MINUTE).await;
    let identity = pair.source.psql(DB, "SELECT relreplident FROM pg_class WHERE relname = 't'").await;
    assert_eq!(identity, identity_after_stop, "put back");
}

#[tokio::test]
async fn with_a_key_dropped_while_the_task_runs() {
    goes_on_without_identity("ALTER TABLE t DROP CONSTRAINT t_pkey", "d").await;
}

#[tokio::test]
async fn with_the_identity_taken_away_while_the_task_runs() {
    goes_on_without_identity("ALTER TABLE t REPLICA IDENTITY NOTHING", "n").await;
}

#[tokio::test]
async fn with_a_keyless_partition_attached_while_the_task_runs() {
    let objects = "CREATE TABLE part (id int, v int) PARTITION BY RANGE (id);
                   CREATE TABLE part_1 PARTITION OF part (PRIMARY KEY (id)) FOR VALUES FROM (0) TO (50);
                   INSERT INTO part SELECT n, 0 FROM generate_series(1, 49) n";
    let pair = Pair::start(objects).await;
    pair.start_task("{}").await;
    pair.wait_for_state("running", MINUTE).await;
    pair.source.psql(DB, "CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (50) TO (100)").await;
    pair.source.psql(DB, "INSERT INTO part VALUES (60, 0)").await;
    pair.source.psql(DB, "UPDATE part SET v = 1 WHERE id IN (3, 60)").await;
    pair.source.psql(DB, "DELETE FROM part WHERE id IN (4, 60)").await;
}
