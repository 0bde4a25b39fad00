//! What the peer has already: kept as it is, rows included, where the task is told so.

use std::time::Duration;

use pgrelay_tests::pair::DB;
use pgrelay_tests::{Pair, Writers, wait_for_value};

const MINUTE: Duration = Duration::from_secs(60);

/// A table for each way in which rows can collide; of each the peer has rows of its own.
const SCHEMA: &str = "CREATE SCHEMA shop;
    CREATE TABLE shop.pk (id int PRIMARY KEY, v text);
    CREATE TABLE shop.second (id int PRIMARY KEY, email text UNIQUE, page int, \"came\" text);
    CREATE UNIQUE INDEX ON shop.second (lower(\"came\")) WHERE page > 0;
    CREATE TABLE shop.slot (id int PRIMARY KEY, during int4range, EXCLUDE USING gist (during WITH &&));
    CREATE TABLE shop.\"late'r $$ {table}\" (id int PRIMARY KEY, rank int, page text, twice int GENERATED ALWAYS AS (rank * 2) STORED,
        UNIQUE (rank) DEFERRABLE INITIALLY DEFERRED, EXCLUDE USING btree (lower(page) WITH =) WHERE (id > 0) DEFERRABLE);
    CREATE TABLE shop.none (v text);
    CREATE TABLE shop.auto (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)";

const SOURCE_ROWS: &str = "INSERT INTO shop.pk SELECT n, 'source ' || n FROM generate_series(1, 5000) n;
    INSERT INTO shop.second SELECT n, n || '@x', n % 3, 'Name ' || n FROM generate_series(1, 5000) n;
    INSERT INTO shop.slot SELECT n, int4range(n * 10, n * 10 + 9) FROM generate_series(1, 500) n;
    INSERT INTO shop.\"late'r $$ {table}\" SELECT n, n, 'Page ' || n FROM generate_series(1, 5000) n;
    INSERT INTO shop.none VALUES ('source');
    INSERT INTO shop.auto (v) SELECT 'source ' || n FROM generate_series(1, 100) n;
    CREATE TABLE shop.new (id int PRIMARY KEY, v text); CREATE INDEX new_v ON shop.new (v);
    INSERT INTO shop.new SELECT n, 'source ' || n FROM generate_series(1, 3000) n;
    CREATE VIEW shop.v AS SELECT count(*) FROM shop.new";

/// 5, 2, 2, 3 and 2 rows of the source collide with these.
const PEER_ROWS: &str = "INSERT INTO shop.pk SELECT n, 'peer' FROM generate_series(4996, 5010) n;
    INSERT INTO shop.second VALUES (-1, '7@x', 0, 'other'), (-2, 'mine', 1, 'nAME 10'), (-3, 'mine too', 0, 'nAME 11');
    INSERT INTO shop.slot VALUES (-1, '[25,31)');
    INSERT INTO shop.\"late'r $$ {table}\" VALUES (-1, 7, 'x'), (70000, 70000, 'pAGE 4000'), (5000, -1, 'y'), (-2, -2, 'page 9');
    INSERT INTO shop.none VALUES ('peer');
    INSERT INTO shop.auto (v) SELECT 'peer' FROM generate_series(1, 2) n; SELECT setval('shop.auto_id_seq', 900)";

const LATER: &str = "shop.\"late'r $$ {table}\"";

async fn pair() -> Pair {
    let pair = Pair::start(SCHEMA).await;
    pair.source.psql(DB, SOURCE_ROWS).await;
    pair.peer.psql(DB, SCHEMA).await;
    pair.peer.psql(DB, PEER_ROWS).await;
    pair
}

async fn kept(pair: &Pair) -> String {
    let sql =
        "SELECT string_agg(concat_ws(' ', table_name, rows, rows_kept), ', ' ORDER BY table_name COLLATE \"C\") FROM pgrelay.table_status";
    pair.source.psql(DB, sql).await.trim().to_owned()
}

const KEPT: &str = "auto 98 2, late'r $$ {table} 4997 3, new 3000 0, none 1 0, pk 4995 5, second 4998 2, slot 498 2";

/// The peer's rows are there as they were, the source's that collide with none too, and nothing else.
async fn assert_kept(pair: &Pair) {
    let counts = format!(
        "SELECT concat_ws(' ', (SELECT count(*) || '/' || count(*) FILTER (WHERE v = 'peer') FROM shop.pk),
             (SELECT count(*) || '/' || count(*) FILTER (WHERE id < 0) || '/' || bool_or(id IN (7, 10)) || '/' || count(DISTINCT id) FROM shop.second),
             (SELECT count(*) || '/' || bool_or(id IN (2, 3)) FROM shop.slot),
             (SELECT concat_ws('/', count(*), count(DISTINCT rank), count(*) FILTER (WHERE id IN (7, 4000)), count(*) FILTER (WHERE id = 9),
                  bool_and(twice = rank * 2)) FROM {LATER}),
             (SELECT string_agg(v, '+' ORDER BY v) FROM shop.none), (SELECT count(*) || '/' || count(*) FILTER (WHERE v = 'peer') FROM shop.auto),
             (SELECT count FROM shop.v))"
    );
    assert_eq!(pair.peer.psql(DB, &counts).await.trim(), "5010/15 5001/3/false/5001 499/false 5001/5001/0/1/t peer+source 100/2 3000");
}

#[tokio::test]
async fn rows_of_the_peer_stay_on_any_collision_and_all_others_arrive() {
    let pair = pair().await;
    pair.start_task(r#"{"existing_objects": "keep", "stages": ["schema", "copy"]}"#).await;
    pair.wait_for_state("finished", MINUTE).await;
    assert_kept(&pair).await;
    assert_eq!(kept(&pair).await, KEPT);
    assert_eq!(pair.peer.psql(DB, "SELECT last_value FROM shop.auto_id_seq").await.trim(), "900", "a sequence went back");
    pair.source.psql(DB, "SELECT pgrelay.drop_task('move')").await;
    let gone = "SELECT (count(*) = 0)::text FROM pgrelay.task";
    wait_for_value(&pair.source_client().await, gone, "true", MINUTE).await;
    assert_eq!(pair.peer.psql(DB, "SELECT to_regnamespace('pgrelay_peer') IS NULL").await.trim(), "t");
    assert_kept(&pair).await;
}

#[tokio::test]
async fn after_a_kill_in_the_copy_nothing_is_doubled_or_lost_and_the_stream_goes_on() {
    let sql = "CREATE TABLE pk (id int PRIMARY KEY, v text, w int UNIQUE DEFERRABLE)";
    let mut pair = Pair::start(sql).await;
    let rows = "INSERT INTO pk SELECT n, 'source', n FROM generate_series(1, 30000) n; CREATE TABLE new (id int PRIMARY KEY); INSERT INTO new VALUES (1)";
    pair.source.psql(DB, rows).await;
    pair.peer.psql(DB, sql).await;
    pair.peer
        .psql(DB, "INSERT INTO pk SELECT n, 'peer', -n FROM generate_series(29001, 30100) n; INSERT INTO pk VALUES (0, 'peer', 5)")
        .await;
    pair.start_task(r#"{"existing_objects": "keep", "conflict_policy": "overwrite", "throttle": {"copy_rows_per_s": 10000}}"#).await;
    // Not row 5: it is not there, and the peer's row 0 has its value of w, so its update would be a conflict that stops the task.
    let writes = "INSERT INTO pk SELECT coalesce(max(id), 0) + 1000, 'new' FROM pk;
        UPDATE pk SET v = 'changed' WHERE id IN (SELECT 6 + (random() * 29994)::int FROM generate_series(1, 5)); DELETE FROM pk WHERE id = (random() * 28000)::int + 10";
    let writers = Writers::start(&pair.source.dsn(DB), 1, Duration::from_millis(5), writes);
    let source = pair.source_client().await;
    for round in 1..=2 {
        let under_way = "SELECT (state = 'datasync' AND bytes > 100000)::text FROM pgrelay.table_status WHERE table_name = 'pk'";
        wait_for_value(&source, under_way, "true", MINUTE).await;
        pair.applier.kill9();
        assert_eq!(pair.peer.psql(DB, "SELECT count(*) FROM pk").await.trim(), "1101", "round {round}: part of a copy is there");
        pair.applier.restart();
    }
    pair.wait_for_state("running", 2 * MINUTE).await;
    assert!(writers.stop().await > 100);
    pair.wait_for_catchup(MINUTE).await;

    // What collides was the peer's or has been overwritten by the stream; everything else is the source's.
    let here =
        "SELECT string_agg(concat_ws(' ', id, v, w), ',' ORDER BY id) FROM pk WHERE id NOT BETWEEN 29001 AND 30100 AND id NOT IN (0, 5)";
    assert_eq!(pair.source.psql(DB, here).await, pair.peer.psql(DB, here).await);
    let own = "SELECT concat_ws(' ', count(*) FILTER (WHERE id = 0 AND v = 'peer' AND w = 5), count(*) FILTER (WHERE id > 30000 AND v = 'peer'),
        bool_and(v = 'changed' OR w < 0) FILTER (WHERE id BETWEEN 29001 AND 30000), count(*) FILTER (WHERE id BETWEEN 29001 AND 30000)) FROM pk";
    assert_eq!(pair.peer.psql(DB, own).await.trim(), "1 100 t 1000");
    let counted = "SELECT concat_ws(' ', rows_kept, rows > 27000) FROM pgrelay.table_status WHERE table_name = 'pk'";
    assert_eq!(pair.source.psql(DB, counted).await.trim(), "1001 t");

    // An insert meets a row of the peer, an update one that was kept, others none; a change of key too.
    pair.peer.psql(DB, "DELETE FROM pk WHERE id IN (20, 21)").await;
    let changes = "DELETE FROM pk WHERE id IN (20, 21, 30050, 22); INSERT INTO pk VALUES (20, 'back', -20), (21, 'back', -21)";
    pair.source.psql(DB, changes).await;
    pair.wait_for_catchup(MINUTE).await;
    pair.peer.psql(DB, "DELETE FROM pk WHERE id IN (20, 21)").await;
    let changes = "INSERT INTO pk VALUES (30050, 'streamed', -1000000); UPDATE pk SET v = 'streamed' WHERE id IN (20, 29500);
        UPDATE pk SET id = 22, v = 'streamed' WHERE id = 21";
    pair.source.psql(DB, changes).await;
    pair.wait_for_catchup(MINUTE).await;
    let streamed = "SELECT string_agg(concat_ws(' ', id, w), ', ' ORDER BY id) FROM pk WHERE v = 'streamed'";
    assert_eq!(pair.peer.psql(DB, streamed).await.trim(), "20 -20, 22 -21, 29500 29500, 30050 -1000000");
    assert_eq!(pair.peer.psql(DB, "SELECT count(*) FROM new").await.trim(), "1");
}

#[tokio::test]
async fn what_the_stream_meets_of_the_peer_s_own_rows_is_decided_by_the_policy() {
    let sql = "CREATE TABLE t (id int PRIMARY KEY, v text)";
    let pair = Pair::start(sql).await;
    pair.source.psql(DB, "INSERT INTO t VALUES (1, 'source')").await;
    pair.peer.psql(DB, &format!("{sql}; INSERT INTO t SELECT n, 'peer' FROM generate_series(1, 3) n")).await;
    pair.start_task(r#"{"existing_objects": "keep", "conflict_policy": "ignore", "update_missing": "skip"}"#).await;
    pair.wait_for_state("running", MINUTE).await;
    for sql in ["UPDATE t SET v = 'changed' WHERE id = 1", "INSERT INTO t VALUES (2, 'source'), (9, 'source')"] {
        pair.source.psql(DB, sql).await;
        pair.wait_for_catchup(MINUTE).await;
    }
    pair.peer.psql(DB, "DELETE FROM t WHERE id = 9").await;
    pair.source.psql(DB, "UPDATE t SET v = 'changed' WHERE id = 9").await;
    pair.wait_for_catchup(MINUTE).await;
    let rows = "SELECT string_agg(concat_ws(' ', id, v), ', ' ORDER BY id) FROM t";
    assert_eq!(pair.peer.psql(DB, rows).await, "1 changed, 2 peer, 3 peer");
    let met = "SELECT string_agg(concat_ws(' ', kind, resolution), ', ' ORDER BY id) FROM pgrelay.conflict";
    let expected = "insert_exists ignored, update_missing ignored";
    wait_for_value(&pair.source_client().await, met, expected, MINUTE).await;
    // What is decided about is noticed, from the next transaction on.
    pair.source.psql(DB, "SELECT pgrelay.set_conflict_option('move', 'strict', 'true')").await;
    pair.peer.psql(DB, "UPDATE t SET v = 'mine' WHERE id = 1").await;
    pair.source.psql(DB, "UPDATE t SET v = 'again' WHERE id = 1").await;
    pair.wait_for_catchup(MINUTE).await;
    assert_eq!(pair.peer.psql(DB, rows).await, "1 mine, 2 peer, 3 peer");
    pair.source.psql(DB, "SELECT pgrelay.set_conflict_option('move', 'strict', 'default')").await;
    // By `fail` nothing of it is written.
    pair.source.psql(DB, "SELECT pgrelay.set_conflict_policy('move', 'fail')").await;
    pair.source.psql(DB, "INSERT INTO t VALUES (10, 'source'), (3, 'source')").await;
    pair.wait_for_state("failed", MINUTE).await;
    assert_eq!(pair.peer.psql(DB, rows).await, "1 mine, 2 peer, 3 peer");
}

#[tokio::test]
async fn a_difference_is_a_finding_that_names_the_column_and_what_cannot_work_stops_the_task() {
    let pair = Pair::start(
        "CREATE TABLE t (id int PRIMARY KEY, a int, b text, c text); CREATE INDEX t_b ON t (b); INSERT INTO t VALUES (1, 2, 'b', 'c')",
    )
    .await;
    let other = "CREATE TABLE t (id int PRIMARY KEY, a bigint, c text NOT NULL, d text, e int NOT NULL); CREATE UNIQUE INDEX t_d ON t (d); GRANT SELECT ON t TO PUBLIC";
    pair.peer.psql(DB, other).await;
    pair.start_task(r#"{"existing_objects": "keep"}"#).await;
    pair.wait_for_state("precheck_failed", MINUTE).await;
    let findings = "SELECT string_agg(concat_ws(' ', severity, object, message), chr(10) ORDER BY ordinal) FROM pgrelay.finding WHERE item = 'existing_objects'";
    let findings = pair.source.psql(DB, findings).await;
    for expected in [
        "error public.t column \"a\" has type bigint on the peer and integer on the source",
        "error public.t the peer's table has no column \"b\"",
        "warning public.t column \"c\" is NOT NULL on the peer",
        "warning public.t column \"d\" is written on the peer only",
        "error public.t column \"e\" is not written by the task",
        "warning index public.t_b the peer lacks it",
        "warning index public.t_d only the peer has it",
        "warning grants on TABLE public.t only the peer has it",
        "warning table public.t the peer has it, and not as the source has it",
    ] {
        assert!(findings.contains(expected), "{expected} is not in\n{findings}");
    }
    let mend = "ALTER TABLE t ALTER COLUMN a TYPE int, ADD COLUMN b text, ALTER COLUMN e DROP NOT NULL, ALTER COLUMN c DROP NOT NULL";
    pair.peer.psql(DB, mend).await;
    pair.source.psql(DB, "SELECT pgrelay.resume_task('move')").await;
    pair.wait_for_state("running", MINUTE).await;
    pair.source.psql(DB, "UPDATE t SET b = 'x'; INSERT INTO t VALUES (2, 3, 'y', NULL)").await;
    pair.wait_for_catchup(MINUTE).await;
    assert_eq!(
        pair.peer.psql(DB, "SELECT string_agg(concat_ws(' ', id, a, b, c, d, e), ', ' ORDER BY id) FROM t").await.trim(),
        "1 2 x c, 2 3 y"
    );
    assert_eq!(pair.peer.psql(DB, "SELECT to_regclass('t_b') IS NULL AND to_regclass('t_d') IS NOT NULL").await.trim(), "t", "not touched");
}

#[tokio::test]
async fn without_the_schema_stage_the_rows_of_the_peer_stay_too() {
    let pair = pair().await;
    pair.peer.psql(DB, "CREATE TABLE shop.new (id int PRIMARY KEY, v text); CREATE VIEW shop.v AS SELECT count(*) FROM shop.new").await;
    pair.start_task(r#"{"existing_objects": "keep", "stages": ["copy", "stream"], "keyless": "full"}"#).await;
    pair.wait_for_state("running", MINUTE).await;
    pair.source
        .psql(DB, "TRUNCATE shop.auto RESTART IDENTITY; INSERT INTO shop.auto (v) SELECT 'source' FROM generate_series(1, 100)")
        .await;
    pair.peer.psql(DB, "SELECT count(*) FROM shop.auto").await;
    pair.wait_for_catchup(MINUTE).await;
    assert_eq!(kept(&pair).await, KEPT);
    assert_eq!(pair.peer.psql(DB, "SELECT last_value FROM shop.auto_id_seq").await.trim(), "900", "a sequence went back");
    pair.source.psql(DB, "SELECT nextval('shop.auto_id_seq') FROM generate_series(1, 1000)").await;
    pair.wait_for_catchup(MINUTE).await;
    assert_eq!(pair.peer.psql(DB, "SELECT last_value FROM shop.auto_id_seq").await.trim(), "1100");
}
