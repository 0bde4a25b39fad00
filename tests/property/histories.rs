//! Random histories that pile up while the task is paused, then are applied many at once, once more row by row, and once while they are
//! made: both sides end equal each time, so the ways give the same database.

use std::time::Duration;

use pgrelay_tests::pair::DB;
use pgrelay_tests::{Applier, Pair, Seed};

const MINUTE: Duration = Duration::from_secs(60);

/// Histories, each in a schema of its own, so that none hides what another did.
const TOGETHER: usize = 50;

/// Sessions that make histories at the same time.
const SESSIONS: usize = 4;

/// Those of one backlog: a surprise has all of it applied row by row.
const BACKLOG: usize = 5;

/// One table for each thing that applying in sets could get wrong.
fn objects(schema: &str) -> String {
    format!(
        "CREATE SCHEMA {schema};
         CREATE TABLE {schema}.plain (id int PRIMARY KEY, v text, u int UNIQUE, a int[], b bytea);
         CREATE TABLE {schema}.toast (id text PRIMARY KEY, n int, big text);
         ALTER TABLE {schema}.toast ALTER big SET STORAGE EXTERNAL;
         CREATE TABLE {schema}.pair (a uuid, b timestamptz, c \"char\", x numeric, PRIMARY KEY (b, a));
         CREATE TABLE {schema}.odd (id numeric PRIMARY KEY, v box);
         CREATE TABLE {schema}.ident (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int, g int GENERATED ALWAYS AS (n * 2) STORED);
         CREATE TABLE {schema}.twins (n int, v text);
         ALTER TABLE {schema}.twins REPLICA IDENTITY FULL;
         CREATE TABLE {schema}.whole (id int PRIMARY KEY, v text, j json);
         ALTER TABLE {schema}.whole REPLICA IDENTITY FULL;
         CREATE TABLE {schema}.link (a int, b int, PRIMARY KEY (b, a));
         CREATE TABLE {schema}.log (n bigint);
         INSERT INTO {schema}.plain SELECT n, 'v' || n, n, ARRAY[n, NULL], '\\x00ff' FROM generate_series(1, 20) n;
         INSERT INTO {schema}.toast SELECT 't' || n, n, repeat('x', 5000) FROM generate_series(1, 20) n;
         INSERT INTO {schema}.pair SELECT md5(n::text)::uuid, '2026-01-01'::timestamptz + n * interval '1 h', 'c', n FROM generate_series(1, 20) n;
         INSERT INTO {schema}.odd SELECT n, box(point(n, n), point(0, 0)) FROM generate_series(1, 20) n;
         INSERT INTO {schema}.ident (n) SELECT n FROM generate_series(1, 20) n;
         INSERT INTO {schema}.twins SELECT n / 4, 'same' FROM generate_series(1, 20) n;
         INSERT INTO {schema}.whole SELECT n, 'w', '{{\"a\": 1}}' FROM generate_series(1, 20) n;"
    )
}

/// One statement. Keys are few, so that changes meet. `moves`: values of a second unique key may go from row to row, which has all of a group
/// applied row by row.
fn statement(seed: &mut Seed, s: &str, moves: bool) -> String {
    let (a, b) = (seed.below(25), seed.below(25));
    let text = ["''", "NULL", "'a,b{}\"\\c'", "E'tab\\tline\\n'", "'NULL'"][seed.below(5) as usize];
    match seed.below(if moves { 36 } else { 32 }) {
        0..=2 => format!("INSERT INTO {s}.plain VALUES ({a}, {text}, {b} + 100, ARRAY[{b}], '\\x{a:02x}') ON CONFLICT DO NOTHING"),
        3 | 4 => format!("UPDATE {s}.plain SET v = {text}, a = NULL WHERE id = {a}"),
        5 => format!("DELETE FROM {s}.plain WHERE id = {a}"),
        6 => format!("UPDATE {s}.plain SET id = {b} WHERE id = {a} AND NOT EXISTS (SELECT FROM {s}.plain WHERE id = {b})"),
        // A value of the second key goes from row to row.
        7 if moves => format!("UPDATE {s}.plain SET u = NULL WHERE u = {a}; UPDATE {s}.plain SET u = {a} WHERE id = {b}"),
        8 => format!(
            "WITH d AS (DELETE FROM {s}.plain WHERE id = {a} RETURNING *) SELECT; INSERT INTO {s}.plain VALUES ({a}, 'again') ON CONFLICT DO NOTHING"
        ),
        9 => format!("UPDATE {s}.toast SET n = n + 1 WHERE id = 't{a}'"),
        10 => format!("UPDATE {s}.toast SET big = repeat('y', {b} * 300) WHERE id = 't{a}'"),
        11 => format!("UPDATE {s}.toast SET id = 't{b}' WHERE id = 't{a}' AND NOT EXISTS (SELECT FROM {s}.toast WHERE id = 't{b}')"),
        12 => format!(
            "INSERT INTO {s}.toast VALUES ('t{a}', 0, repeat('z', 4000)) ON CONFLICT DO NOTHING; UPDATE {s}.toast SET n = -1 WHERE id = 't{a}'"
        ),
        13 => format!("DELETE FROM {s}.toast WHERE id = 't{a}'"),
        14 => format!("UPDATE {s}.pair SET x = 'NaN', c = '\\\\204' WHERE a = md5('{a}')::uuid"),
        15 => format!("UPDATE {s}.pair SET b = b + interval '1 day' WHERE a = md5('{a}')::uuid"),
        16 => format!("INSERT INTO {s}.pair VALUES (md5('{a}')::uuid, 'infinity', 'x', 1e30) ON CONFLICT DO NOTHING"),
        17 => format!("DELETE FROM {s}.pair WHERE a = md5('{a}')::uuid"),
        18 => format!("INSERT INTO {s}.odd VALUES ({a}.0, '(1,1),(2,2)') ON CONFLICT (id) DO UPDATE SET v = excluded.v"),
        19 => format!("DELETE FROM {s}.odd WHERE id = {a}"),
        20 => format!("INSERT INTO {s}.ident (n) VALUES ({a})"),
        21 => format!("UPDATE {s}.ident SET n = {b} WHERE id = {a}"),
        22 => format!("DELETE FROM {s}.ident WHERE id = {a}"),
        23 => format!("UPDATE {s}.twins SET v = {text} WHERE ctid = (SELECT ctid FROM {s}.twins WHERE n = {a} / 4 LIMIT 1)"),
        24 => format!("DELETE FROM {s}.twins WHERE ctid = (SELECT ctid FROM {s}.twins WHERE n = {a} / 4 LIMIT 1)"),
        25 => format!("INSERT INTO {s}.twins VALUES ({a} / 4, 'same')"),
        26 => format!("UPDATE {s}.whole SET v = {text}, j = '{{\"b\":  {b}}}' WHERE id = {a}"),
        27 => format!(
            "INSERT INTO {s}.whole VALUES ({a}, 'n', NULL) ON CONFLICT (id) DO UPDATE SET v = 'clash'; UPDATE {s}.whole SET id = {b} WHERE id = {a} AND NOT EXISTS (SELECT FROM {s}.whole WHERE id = {b})"
        ),
        28 if a == 0 => format!("TRUNCATE {s}.plain, {s}.odd RESTART IDENTITY"),
        28 => format!("DELETE FROM {s}.whole WHERE id = {a}"),
        29 => format!("DELETE FROM {s}.link WHERE a = {a} % 5; INSERT INTO {s}.link SELECT {a} % 5, n FROM generate_series(0, {b}) n"),
        30 => format!("DELETE FROM {s}.link WHERE b = {a}"),
        31 => format!(
            "UPDATE {s}.link SET a = a + 5 WHERE a = {a} % 5 AND b = {b} AND NOT EXISTS (SELECT FROM {s}.link WHERE a = {a} % 5 + 5 AND b = {b})"
        ),
        32 | 33 => swap(&format!("{s}.plain"), "u", a, b),
        34 => swap(&format!("{s}.plain"), "id", a, b),
        _ => format!("SAVEPOINT p; DELETE FROM {s}.plain WHERE id > {b}; INSERT INTO {s}.log VALUES (-1); ROLLBACK TO p"),
    }
}

/// Two rows exchange their values of a unique key, by way of a third value.
fn swap(table: &str, column: &str, a: u64, b: u64) -> String {
    format!(
        "DO $$ DECLARE x int := (SELECT {column} FROM {table} WHERE id = {a}); y int := (SELECT {column} FROM {table} WHERE id = {b}); BEGIN
             IF x <> y THEN
                 UPDATE {table} SET {column} = -1 WHERE {column} = x;
                 UPDATE {table} SET {column} = x WHERE {column} = y;
                 UPDATE {table} SET {column} = y WHERE {column} = -1;
             END IF;
         END $$"
    )
}

fn history(seed: &mut Seed, schema: &str, moves: bool) -> String {
    let mut sql = String::new();
    for n in 0..30 {
        sql += &format!("BEGIN; INSERT INTO {schema}.log VALUES ({n});");
        for _ in 0..=seed.below(6) {
            sql += &format!("{};", statement(seed, schema, moves));
        }
        sql += if seed.below(10) == 0 { "ROLLBACK;\n" } else { "COMMIT;\n" };
    }
    sql
}

/// How the histories are to be applied.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// As backlogs.
    ManyAtOnce,
    /// Likewise.
    RowByRow,
    /// While sessions make them.
    Live,
}

async fn apply(number: u64, way: Way) {
    let mut seed = Seed::new(number);
    let schemas: Vec<String> = (0..TOGETHER).map(|n| format!("h{n}")).collect();
    let objects: Vec<String> = schemas.iter().map(|s| objects(s)).collect();
    let mut pair = Pair::start_with(&objects.join("\n"), "max_locks_per_transaction = 1000", &[]).await;
    let row_by_row = [("PGRELAY_ROW_BY_ROW", "1")];
    let environment = if way == Way::RowByRow { &row_by_row[..] } else { &[] };
    pair.applier = Applier::start_with(&pair.source, DB, &["--log-level", "info,pgrelay_applier=debug"], environment);
    pair.start_task(r#"{"keyless": "insert_only", "acknowledge_warnings": true}"#).await;
    pair.wait_for_state("running", 3 * MINUTE).await;
    for (n, backlog) in schemas.chunks(if way == Way::Live { SESSIONS } else { BACKLOG }).enumerate() {
        let histories: Vec<String> = backlog.iter().map(|schema| history(&mut seed, schema, n % 2 == 0)).collect();
        if way == Way::Live {
            let (source, histories) = (&pair.source, &histories);
            let session = |n: usize| async move {
                if let Some(history) = histories.get(n) {
                    source.psql(DB, history).await;
                }
            };
            tokio::join!(session(0), session(1), session(2), session(3));
            continue;
        }
        pair.source.psql(DB, "SELECT pgrelay.pause_task('move')").await;
        pair.wait_for_state("paused", MINUTE).await;
        for history in histories {
            pair.source.psql(DB, &history).await;
        }
        pair.source.psql(DB, "SELECT pgrelay.resume_task('move')").await;
        pair.wait_for_state("running", 3 * MINUTE).await;
        pair.wait_for_catchup(MINUTE).await;
    }
    pair.assert_equal_after_catchup(MINUTE).await;
    let log = pair.applier.log_text();
    let many = log.matches("applied many changes at once").count();
    println!("groups applied many at once: {many}, again row by row: {}", log.matches("applied row by row").count());
    match way {
        Way::ManyAtOnce => assert!(many >= 2 * TOGETHER / BACKLOG / 3, "most backlogs were applied row by row"),
        Way::RowByRow => assert_eq!(many, 0, "a backlog was applied the other way"),
        Way::Live => {}
    }
}

#[tokio::test]
async fn random_histories_give_the_same_database_many_at_once_and_row_by_row() {
    let given: Option<u64> = std::env::var("PGRELAY_SEED").ok().map(|v| v.parse().expect("PGRELAY_SEED is a number"));
    let first = given.unwrap_or_else(|| Seed::from_env().number() % 1_000_000);
    let rounds = if std::env::var_os("PGRELAY_NIGHTLY").is_some() { 20 } else { 1 };
    for number in first..first + rounds {
        println!("PGRELAY_SEED={number}");
        tokio::join!(apply(number, Way::ManyAtOnce), apply(number, Way::RowByRow));
        apply(number, Way::Live).await;
    }
}

/// The surprise is told when a table comes for the first time, whose change is then in the middle of what goes row by row.
#[tokio::test]
async fn a_change_at_which_a_surprise_is_told_stays_before_those_that_follow() {
    let objects = "CREATE TABLE t (id int PRIMARY KEY, u int UNIQUE); INSERT INTO t SELECT n, n FROM generate_series(1, 40) n;
         CREATE TABLE other (id int PRIMARY KEY, v text); INSERT INTO other VALUES (1, 'old')";
    let pair = Pair::start_with(objects, "logical_decoding_work_mem = '256MB'", &[]).await;
    pair.start_task("{}").await;
    pair.wait_for_state("running", MINUTE).await;
    pair.source.psql(DB, "SELECT pgrelay.pause_task('move')").await;
    pair.wait_for_state("paused", MINUTE).await;
    let swap = "UPDATE t SET u = -1 WHERE id = 1; UPDATE t SET u = 1 WHERE id = 2; UPDATE t SET u = 2 WHERE id = 1";
    let others = "UPDATE other SET v = 'first'; UPDATE other SET v = 'second'";
    pair.source.psql(DB, &format!("BEGIN; {swap}; UPDATE t SET u = u + 100 WHERE id > 2; {others}; COMMIT")).await;
    pair.source.psql(DB, "SELECT pgrelay.resume_task('move')").await;
    pair.wait_for_state("running", MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
    assert_eq!(pair.source.psql(DB, "SELECT replayed FROM pgrelay.task_status").await, "1", "there was a surprise");
}

/// What a group has done before its surprise is rolled back with it, and read again when it is too much to be kept in memory.
#[tokio::test]
async fn transactions_before_a_surprise_that_is_read_again_are_not_lost() {
    let objects = "CREATE TABLE early (id int PRIMARY KEY);
         CREATE TABLE t (id int PRIMARY KEY, u int UNIQUE, v text);
         INSERT INTO t SELECT n, n, 'v' FROM generate_series(1, 400) n";
    // So that it comes whole, after its commit.
    let pair = Pair::start_with(objects, "logical_decoding_work_mem = '256MB'", &[]).await;
    pair.start_task("{}").await;
    pair.wait_for_state("running", MINUTE).await;
    pair.source.psql(DB, "SELECT pgrelay.pause_task('move')").await;
    pair.wait_for_state("paused", MINUTE).await;
    // More than is kept for doing it again, then a value of the second key that goes from row to row.
    let changes = "INSERT INTO early VALUES (1);
         BEGIN;
         UPDATE t SET v = repeat('x', 100000) WHERE id <= 300;
         UPDATE t SET v = 'y' WHERE id > 300;
         UPDATE t SET u = -1 WHERE id = 301; UPDATE t SET u = 301 WHERE id = 302; UPDATE t SET u = 302 WHERE id = 301;
         COMMIT;
         INSERT INTO early VALUES (2);";
    pair.source.psql(DB, changes).await;
    pair.source.psql(DB, "SELECT pgrelay.resume_task('move')").await;
    pair.wait_for_state("running", 3 * MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
    assert!(pair.applier.log_text().contains("applied row by row"), "there was no surprise");
}
