//! The main job: a database in use moves, and every table is equal afterwards.

use std::time::Duration;

use pgrelay_tests::pair::DB;
use pgrelay_tests::wait::run_for;
use pgrelay_tests::{Pair, Pgbench};

const MINUTE: Duration = Duration::from_secs(60);

/// Beside pgbench's own tables: serial and identity columns whose sequences have to follow.
const NUMBERED: &str = "
    CREATE SCHEMA \"Odd Schema\";
    CREATE TABLE \"Odd Schema\".\"Numbered\" (id serial PRIMARY KEY, \"Other Id\" bigint GENERATED ALWAYS AS IDENTITY, note text);
    CREATE SEQUENCE alone INCREMENT -3;
    CREATE TABLE counter (id int PRIMARY KEY, n bigint NOT NULL);
    INSERT INTO counter SELECT n, 0 FROM generate_series(1, 20) n;
    INSERT INTO \"Odd Schema\".\"Numbered\" (note) SELECT repeat('x', n % 200) FROM generate_series(1, 50000) n;";

const WRITE_NUMBERED: &str = "\\set k random(1, 20)
BEGIN;
INSERT INTO \"Odd Schema\".\"Numbered\" (note) VALUES ('load'), ('load');
UPDATE counter SET n = n + 1 WHERE id = :k;
DELETE FROM \"Odd Schema\".\"Numbered\" WHERE id = (SELECT min(id) FROM \"Odd Schema\".\"Numbered\" WHERE id > :k * 1000);
SELECT nextval('alone');
END;
";

#[tokio::test]
async fn a_database_under_load_moves_and_is_equal() {
    let pair = Pair::start(NUMBERED).await;
    pair.source.pgbench(DB, &["-i", "-q", "-s", "4", "--foreign-keys"]).finish(MINUTE).await;
    let (_folder, script) = Pgbench::script(WRITE_NUMBERED);
    let tpcb = pair.source.pgbench(DB, &["-n", "-c", "4", "-R", "200", "-T", "600"]);
    let numbered = pair.source.pgbench(DB, &["-n", "-c", "2", "-R", "100", "-T", "600", "--max-tries", "50", "-f", &script]);

    // pgbench_history has no key and is only added to.
    pair.start_task(r#"{"keyless": "insert_only", "acknowledge_warnings": true}"#).await;
    pair.wait_for_state("running", 2 * MINUTE).await;
    run_for(Duration::from_secs(5)).await;
    tpcb.stop().await;
    numbered.stop().await;

    pair.assert_equal_after_catchup(MINUTE).await;
    let moved = pair.peer.psql(DB, "SELECT count(*) FROM pgbench_history").await;
    assert_ne!(moved, "0", "the load has written");
}
