//! Writers touch every table during the copy, in every way, and the applier dies now and then: both sides end equal.

use std::time::Duration;

use pgrelay_tests::pair::DB;
use pgrelay_tests::wait::{run_for, wait_for_value};
use pgrelay_tests::{Pair, Seed, Writers};

const MINUTE: Duration = Duration::from_secs(60);

/// One table for each way to be cut, and each way to find a row.
const OBJECTS: &str = "
    CREATE SEQUENCE counter;
    CREATE TABLE proof (n bigint, filler text DEFAULT repeat('p', 300));
    INSERT INTO proof SELECT -n FROM generate_series(1, 8000) n;
    CREATE TABLE by_int (id int PRIMARY KEY, n int NOT NULL, note text UNIQUE, filler text);
    INSERT INTO by_int SELECT n, 0, 'n' || n, repeat(md5(n::text), 20) FROM generate_series(1, 8000) n;
    CREATE TABLE by_big (a bigint, b int, n int DEFAULT 0, big text, PRIMARY KEY (a, b));
    ALTER TABLE by_big ALTER big SET STORAGE EXTERNAL;
    INSERT INTO by_big SELECT n / 3, n, 0, CASE WHEN n % 9 = 0 THEN repeat(md5(n::text), 200) ELSE repeat('b', 200) END FROM generate_series(1, 8000) n;
    CREATE TABLE by_uuid (id uuid PRIMARY KEY, n int DEFAULT 0, filler text DEFAULT repeat('u', 500));
    INSERT INTO by_uuid (id) SELECT md5(n::text)::uuid FROM generate_series(1, 8000) n;
    CREATE TABLE by_time (at timestamptz PRIMARY KEY, n int DEFAULT 0, filler text DEFAULT repeat('t', 500));
    INSERT INTO by_time (at) SELECT timestamptz '2020-01-01 00:00:00+00' + n * interval '37 minutes 0.25 s' FROM generate_series(-4000, 4000) n;
    INSERT INTO by_time VALUES ('infinity'), ('-infinity'), ('0044-03-15 BC');
    CREATE TABLE by_text (id text PRIMARY KEY, n int DEFAULT 0, filler text DEFAULT repeat('x', 500));
    INSERT INTO by_text (id) SELECT 'k' || n FROM generate_series(1, 6000) n;
    CREATE TABLE in_full (n int, v int, filler text DEFAULT repeat('f', 500));
    INSERT INTO in_full SELECT n / 2, 0 FROM generate_series(1, 6000) n;
    ALTER TABLE in_full REPLICA IDENTITY FULL;
    CREATE TABLE full_key (id int PRIMARY KEY, n int DEFAULT 0, filler text DEFAULT repeat('f', 500));
    INSERT INTO full_key SELECT n FROM generate_series(1, 6000) n;
    ALTER TABLE full_key REPLICA IDENTITY FULL;
    CREATE TABLE part (id int, n int DEFAULT 0, filler text DEFAULT repeat('q', 500), PRIMARY KEY (id)) PARTITION BY RANGE (id);
    CREATE TABLE part_low PARTITION OF part FOR VALUES FROM (MINVALUE) TO (4000);
    CREATE TABLE part_high PARTITION OF part FOR VALUES FROM (4000) TO (MAXVALUE);
    INSERT INTO part SELECT n FROM generate_series(1, 8000) n;
    CREATE TABLE parent (id int PRIMARY KEY, n int DEFAULT 0, filler text DEFAULT repeat('i', 500));
    CREATE TABLE child (extra int DEFAULT 7, PRIMARY KEY (id)) INHERITS (parent);
    INSERT INTO parent SELECT n FROM generate_series(1, 3000) n;
    INSERT INTO child SELECT n FROM generate_series(10001, 14000) n;
    CREATE TABLE emptied (id int PRIMARY KEY, filler text DEFAULT repeat('e', 500));
    INSERT INTO emptied SELECT n FROM generate_series(1, 6000) n;
    CREATE TABLE empty (id int PRIMARY KEY);
    CREATE TABLE generated_only (g int GENERATED ALWAYS AS (1) STORED);
    INSERT INTO generated_only SELECT FROM generate_series(1, 10);
    ANALYZE;";

/// One transaction of an application. `r` numbers, each below 8,000.
fn transaction(seed: &mut Seed) -> String {
    let r = |seed: &mut Seed| seed.below(8000);
    let mut sql = String::from("BEGIN; INSERT INTO proof VALUES (nextval('counter'));");
    for _ in 0..=seed.below(4) {
        let (a, b) = (r(seed), r(seed));
        sql += &match seed.below(30) {
            0 => format!("UPDATE by_int SET n = n + 1 WHERE id = {a};"),
            1 => format!("DELETE FROM by_int WHERE id = {a};"),
            2 => format!("UPDATE by_int SET id = id + 20000 WHERE id = {a} AND NOT EXISTS (SELECT FROM by_int WHERE id = {a} + 20000);"),
            3 => format!("UPDATE by_int SET id = id - 30000 WHERE id = {a} AND NOT EXISTS (SELECT FROM by_int WHERE id = {a} - 30000);"),
            4 => format!(
                "UPDATE by_int SET note = 'gone' || nextval('counter') WHERE id = {a}; UPDATE by_int SET note = 'n{a}' WHERE id = {b} AND NOT EXISTS (SELECT FROM by_int WHERE note = 'n{a}');"
            ),
            5 => format!("INSERT INTO by_int SELECT {a} + 100000, 1, 'new' || {a}, repeat('z', 300) WHERE true ON CONFLICT DO NOTHING;"),
            6 => format!("UPDATE by_big SET n = n + 1 WHERE b = {a};"),
            7 => format!("UPDATE by_big SET a = a + {b} WHERE b = {a};"),
            8 => format!("UPDATE by_big SET a = a - {b} WHERE b = {a};"),
            9 => format!("DELETE FROM by_big WHERE b = {a};"),
            10 => format!("UPDATE by_big SET big = repeat('changed', {b} % 700) WHERE b = {a};"),
            11 => format!("UPDATE by_uuid SET n = n + 1 WHERE id = md5('{a}')::uuid;"),
            12 => format!(
                "UPDATE by_uuid SET id = md5('{a}-{b}')::uuid WHERE id = md5('{a}')::uuid AND NOT EXISTS (SELECT FROM by_uuid WHERE id = md5('{a}-{b}')::uuid);"
            ),
            13 => format!("DELETE FROM by_uuid WHERE id = md5('{a}')::uuid;"),
            14 => format!(
                "UPDATE by_time SET n = n + 1 WHERE at = timestamptz '2020-01-01 00:00:00+00' + ({a} - 4000) * interval '37 minutes 0.25 s';"
            ),
            15 => format!(
                "UPDATE by_time SET at = at + interval '{b} days 0.1 s' WHERE at = timestamptz '2020-01-01 00:00:00+00' + ({a} - 4000) * interval '37 minutes 0.25 s';"
            ),
            16 => {
                format!("INSERT INTO by_time SELECT timestamptz '1990-01-01 00:00:00+00' + {a} * interval '1 hour' ON CONFLICT DO NOTHING;")
            }
            17 => format!("UPDATE by_text SET n = n + 1 WHERE id = 'k{a}';"),
            18 => format!("UPDATE by_text SET id = id || '-' || nextval('counter') WHERE id = 'k{a}';"),
            19 => format!("DELETE FROM by_text WHERE id = 'k{a}';"),
            20 => format!("UPDATE in_full SET v = v + 1 WHERE ctid = (SELECT ctid FROM in_full WHERE n = {a} / 2 LIMIT 1);"),
            21 => format!("DELETE FROM in_full WHERE ctid = (SELECT ctid FROM in_full WHERE n = {a} / 2 LIMIT 1);"),
            22 => {
                format!("UPDATE full_key SET id = id + 10000 WHERE id = {a} AND NOT EXISTS (SELECT FROM full_key WHERE id = {a} + 10000);")
            }
            23 => format!("UPDATE full_key SET n = n + 1 WHERE id = {a};"),
            24 => format!("UPDATE part SET id = {b} WHERE id = {a} AND NOT EXISTS (SELECT FROM part WHERE id = {b});"),
            25 => format!("UPDATE part SET n = n + 1 WHERE id = {a};"),
            26 => format!("UPDATE parent SET n = n + 1 WHERE id IN ({a} % 3000, 10001 + {b} % 4000);"),
            27 => format!("UPDATE child SET id = id + 50000 WHERE id = 10001 + {a} % 4000;"),
            28 if a < 400 => "TRUNCATE emptied; INSERT INTO emptied SELECT n FROM generate_series(1, 50) n;".to_owned(),
            28 => format!("INSERT INTO emptied SELECT {a} + 100000 ON CONFLICT DO NOTHING;"),
            _ => format!(
                "INSERT INTO empty SELECT {a} ON CONFLICT DO NOTHING; SAVEPOINT s; DELETE FROM by_int WHERE id = {b}; ROLLBACK TO s;"
            ),
        };
    }
    if seed.below(20) == 0 {
        // Some span the copy of a table or two.
        sql += &format!("SELECT pg_sleep({});", 0.2 + seed.below(15) as f64 / 10.0);
    }
    sql + if seed.below(12) == 0 { "ROLLBACK;" } else { "COMMIT;" }
}

async fn one(number: u64) {
    let mut seed = Seed::new(number);
    let mut pair = Pair::start(OBJECTS).await;
    let scripts: Vec<Vec<String>> = (0..4).map(|_| (0..500).map(|_| transaction(&mut seed)).collect()).collect();
    let load = Writers::start_each(&pair.source.dsn(DB), Duration::from_millis(5), scripts);
    let (jobs, chunk) = (1 + seed.below(4), 1 + seed.below(3));
    let options = format!(r#"{{"keyless": "insert_only", "acknowledge_warnings": true, "copy_jobs": {jobs}, "copy_chunk_mb": {chunk}}}"#);
    println!("seed {number}: {options}");
    pair.start_task(&options).await;
    // A peer that is away while it is prechecked is an error of the precheck.
    let begun = "SELECT (count(*) > 0)::text FROM pgrelay.event WHERE message = 'the task is schema'";
    wait_for_value(&pair.source_client().await, begun, "true", MINUTE).await;
    for _ in 0..seed.below(6) {
        run_for(seed.between(Duration::from_millis(200), Duration::from_millis(2000))).await;
        match seed.below(5) {
            // What it had not flushed is gone.
            4 => pair.peer.restart_immediate().await,
            0 | 1 => pair.applier.restart(),
            // What is copied or built is tried again by the same applier.
            2 => drop(
                pair.peer.psql(DB, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pgrelay%copy'").await,
            ),
            _ => drop(
                pair.source
                    .psql(DB, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pgrelay%copy'")
                    .await,
            ),
        }
    }
    pair.wait_for_state("running", 3 * MINUTE).await;
    load.stop().await;
    pair.assert_equal_after_catchup(2 * MINUTE).await;
    let twice = pair.peer.psql(DB, "SELECT count(*) - count(DISTINCT n) FROM proof").await;
    assert_eq!(twice, "0", "transactions applied twice");
}

#[tokio::test]
async fn whatever_is_written_during_the_copy_arrives_once() {
    let nightly = std::env::var_os("PGRELAY_NIGHTLY").is_some();
    let given: Option<u64> = std::env::var("PGRELAY_SEED").ok().map(|v| v.parse().expect("PGRELAY_SEED is a number"));
    let first = given.unwrap_or_else(|| Seed::from_env().number() % 1_000_000);
    let runs = if given.is_some() {
        1
    } else if nightly {
        50
    } else {
        3
    };
    for number in first..first + runs {
        println!("PGRELAY_SEED={number}");
        one(number).await;
    }
}
