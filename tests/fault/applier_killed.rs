//! kill -9 of the applier at any moment: afterwards both sides are equal, each transaction applied once.

use std::collections::BTreeMap;
use std::time::Duration;

use pgrelay_tests::pair::DB;
use pgrelay_tests::wait::{run_for, wait_for_value};
use pgrelay_tests::{Pair, Pgbench, Seed};

const MINUTE: Duration = Duration::from_secs(60);

/// `proof` has no key: a transaction applied twice leaves its row twice, one left out leaves a gap.
const OBJECTS: &str = "
    CREATE SEQUENCE counter;
    CREATE TABLE proof (n bigint NOT NULL, filler text);
    CREATE TABLE total (id int PRIMARY KEY, n bigint NOT NULL);
    INSERT INTO total SELECT n, 0 FROM generate_series(1, 10) n;
    CREATE TYPE colour AS ENUM ('red', 'blue');
    CREATE VIEW sums AS SELECT sum(n) AS n FROM total;
    DO $$ BEGIN
        FOR t IN 1..8 LOOP
            EXECUTE format('CREATE TABLE big_%s (id serial PRIMARY KEY, c colour DEFAULT ''red'', filler text)', t);
            EXECUTE format('INSERT INTO big_%s (filler) SELECT repeat(md5(n::text), 6) FROM generate_series(1, 15000) n', t);
            EXECUTE format('CREATE INDEX ON big_%s (filler)', t);
        END LOOP;
    END $$;";

const WRITE: &str = "\\set k random(1, 10)
\\set t random(1, 8)
\\set r random(1, 15000)
BEGIN;
INSERT INTO proof VALUES (nextval('counter'), 'x');
UPDATE total SET n = n + 1 WHERE id = :k;
INSERT INTO big_1 (filler) VALUES ('new');
UPDATE big_:t SET filler = 'changed ' || :k WHERE id = :r;
DELETE FROM big_2 WHERE id = :r;
END;
";

/// Of the kills of one move: how many, and the stage that the task has come to by then.
const KILLS: [(&str, u32); 3] = [("", 2), ("copy", 4), ("stream", 4)];

/// Moves the database again and again, with ten kills each time; `PGRELAY_NIGHTLY=1`: 20 times.
#[tokio::test]
async fn at_random_moments_from_precheck_to_stream() {
    let mut seed = Seed::from_env();
    let moves = if std::env::var("PGRELAY_NIGHTLY").is_ok_and(|v| v == "1") { 20 } else { 2 };
    let mut pair = Pair::start(OBJECTS).await;
    let mut moments = BTreeMap::new();
    for number in 0..moves {
        if number > 0 {
            pair.renew().await;
        }
        let (_folder, script) = Pgbench::script(WRITE);
        let load = pair.source.pgbench(DB, &["-n", "-c", "4", "-R", "100", "-T", "3600", "--max-tries", "50", "-f", &script]);
        pair.start_task(r#"{"keyless": "insert_only", "acknowledge_warnings": true, "copy_chunk_mb": 1}"#).await;
        for (stage, kills) in KILLS {
            for _ in 0..kills {
                let come = format!(
                    "SELECT (array_position(ARRAY['', 'schema', 'copy', 'stream'], coalesce(stage, '')) >= array_position(ARRAY['', 'schema', 'copy', 'stream'], '{stage}'))::text FROM pgrelay.task_status"
                );
                wait_for_value(&pair.source_client().await, &come, "true", 2 * MINUTE).await;
                let most = Duration::from_millis(if stage.is_empty() { 400 } else { 900 });
                run_for(seed.between(Duration::from_millis(5), most)).await;
                pair.applier.kill9();
                let moment = "SELECT state || '/' || coalesce(stage, '') FROM pgrelay.task_status";
                *moments.entry(pair.source.psql(DB, moment).await).or_insert(0) += 1;
                pair.applier.restart();
            }
        }
        load.stop().await;
        pair.assert_equal_after_catchup(3 * MINUTE).await;
        let twice = pair.peer.psql(DB, "SELECT count(*) - count(DISTINCT n) FROM proof").await;
        assert_eq!(twice, "0", "transactions applied twice");
        println!("equal after {} kills, in: {moments:?}", (number + 1) * 10);
    }
    for stage in ["/copy", "/stream"] {
        assert!(moments.keys().any(|moment| moment.ends_with(stage)), "no kill in {stage}: {moments:?}");
    }
}

#[tokio::test]
async fn while_streaming_again_and_again() {
    let mut seed = Seed::from_env();
    let mut pair = Pair::start(
        "CREATE SEQUENCE counter; CREATE TABLE proof (n bigint); CREATE TABLE total (id int PRIMARY KEY, n int);
                                INSERT INTO total SELECT n, 0 FROM generate_series(1, 10) n",
    )
    .await;
    let (_folder, script) = Pgbench::script(
        "\\set k random(1, 10)\nBEGIN;\nINSERT INTO proof SELECT nextval('counter') FROM generate_series(1, 20);\nUPDATE total SET n = n + 1 WHERE id = :k;\nEND;\n",
    );
    pair.start_task(r#"{"keyless": "insert_only", "acknowledge_warnings": true}"#).await;
    pair.wait_for_state("running", MINUTE).await;
    let load = pair.source.pgbench(DB, &["-n", "-c", "4", "-R", "300", "-T", "600", "--max-tries", "50", "-f", &script]);
    for _ in 0..15 {
        run_for(seed.between(Duration::from_millis(50), Duration::from_millis(900))).await;
        pair.applier.restart();
    }
    load.stop().await;
    pair.wait_for_state("running", MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
}

#[tokio::test]
async fn tables_that_are_ahead_of_the_stream_are_not_applied_twice() {
    // The index of `slow` takes long, so its one change waits and holds the slot while `log` is applied further.
    let objects = "
        CREATE FUNCTION slowly(x int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.5); RETURN x; END';
        CREATE TABLE slow (id int PRIMARY KEY, v int);
        INSERT INTO slow SELECT n, 0 FROM generate_series(1, 20) n;
        CREATE TABLE log (n int);";
    let mut pair = Pair::start(objects).await;
    pair.source.psql(DB, "CREATE INDEX slow_v ON slow (slowly(v))").await;
    pair.start_task(r#"{"keyless": "insert_only", "acknowledge_warnings": true}"#).await;
    let source = pair.source_client().await;
    wait_for_value(&source, "SELECT state FROM pgrelay.table_status WHERE table_name = 'slow'", "finishedcopy", MINUTE).await;
    pair.source.psql(DB, "UPDATE slow SET id = id + 100 WHERE id = 1").await;
    for n in 1..=100 {
        source.execute("INSERT INTO log VALUES ($1)", &[&n]).await.expect("insert");
    }
    let peer = pair.peer_client().await;
    wait_for_value(&peer, "SELECT count(*)::text FROM log", "100", MINUTE).await;
    let state = pair.source.psql(DB, "SELECT state FROM pgrelay.table_status WHERE table_name = 'slow'").await;
    assert_eq!(state, "finishedcopy", "its index is still being built");
    pair.applier.restart();
    pair.wait_for_state("running", 2 * MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
}
