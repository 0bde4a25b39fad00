//! Every kind of change arrives as it was made.

use std::time::Duration;

use pgrelay_tests::Pair;
use pgrelay_tests::pair::DB;
use pgrelay_tests::wait::{run_for, wait_for_value};

const MINUTE: Duration = Duration::from_secs(60);

/// Starts a task on a database with these objects, waits until it runs, makes the changes, and expects equality.
async fn carries(objects: &str, changes: &str, options: &str) -> Pair {
    let pair = Pair::start(objects).await;
    pair.start_task(options).await;
    pair.wait_for_state("running", MINUTE).await;
    pair.source.psql(DB, changes).await;
    pair.assert_equal_after_catchup(MINUTE).await;
    pair
}

#[tokio::test]
async fn insert_update_and_delete_of_one_and_of_many_rows() {
    carries(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT n, 'old' FROM generate_series(1, 1000) n",
        "INSERT INTO t VALUES (2000, 'one'), (2001, NULL), (2002, '');
         UPDATE t SET v = 'new' WHERE id % 3 = 0;
         DELETE FROM t WHERE id % 7 = 0;
         BEGIN; INSERT INTO t VALUES (3000, 'a'); UPDATE t SET v = 'b' WHERE id = 3000; DELETE FROM t WHERE id = 3000; COMMIT;
         BEGIN; DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (1, 'again'); COMMIT;
         BEGIN; INSERT INTO t VALUES (4000, 'never'); ROLLBACK;
         BEGIN; SAVEPOINT s; INSERT INTO t VALUES (4001, 'never'); ROLLBACK TO s; INSERT INTO t VALUES (4002, 'kept'); COMMIT;
         INSERT INTO t SELECT n, 'many' FROM generate_series(10000, 40000) n;
         UPDATE t SET v = 'changed' WHERE v = 'many';",
        "{}",
    )
    .await;
}

#[tokio::test]
async fn truncate_of_one_table_and_of_tables_bound_by_foreign_keys() {
    carries(
        "CREATE TABLE alone (id serial PRIMARY KEY, v text);
         CREATE TABLE parent (id int PRIMARY KEY);
         CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent);
         CREATE TABLE part (id int PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (100);
         CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (100) TO (200);
         INSERT INTO alone (v) SELECT 'x' FROM generate_series(1, 50);
         INSERT INTO parent SELECT generate_series(1, 50);
         INSERT INTO child SELECT n, n FROM generate_series(1, 50) n;
         INSERT INTO part SELECT generate_series(1, 199);",
        "BEGIN; INSERT INTO alone (v) VALUES ('before'); TRUNCATE alone RESTART IDENTITY; INSERT INTO alone (v) VALUES ('after'); COMMIT;
         TRUNCATE parent CASCADE;
         INSERT INTO parent VALUES (7);
         INSERT INTO child VALUES (1, 7);
         TRUNCATE part_1;
         INSERT INTO part VALUES (5);",
        "{}",
    )
    .await;
}

#[tokio::test]
async fn a_table_without_a_key_is_carried_in_full_and_among_twins_one_row_changes() {
    carries(
        "CREATE TABLE keyless (a int, b text, c jsonb, d json, e xml, f point);
         INSERT INTO keyless SELECT 1, 'twin', '{}', '{\"k\": 1}', '<a/>', '(1,2)' FROM generate_series(1, 10);
         INSERT INTO keyless VALUES (NULL, NULL, NULL, NULL, NULL, NULL), (2, repeat('long', 5000), '[1]', '[ 1 ]', '<b/>', NULL);
         CREATE TABLE nothing (id int PRIMARY KEY, v text);
         ALTER TABLE nothing REPLICA IDENTITY NOTHING;
         INSERT INTO nothing SELECT n, 'v' FROM generate_series(1, 10) n;",
        "UPDATE keyless SET b = 'other' WHERE ctid = (SELECT min(ctid) FROM keyless WHERE a = 1);
         DELETE FROM keyless WHERE ctid = (SELECT max(ctid) FROM keyless WHERE a = 1);
         UPDATE keyless SET a = 3 WHERE a = 2;
         UPDATE keyless SET b = 'no longer null' WHERE a IS NULL;
         UPDATE nothing SET v = 'w' WHERE id = 3;
         DELETE FROM nothing WHERE id = 4;",
        r#"{"keyless": "full", "acknowledge_warnings": true}"#,
    )
    .await;
}

#[tokio::test]
async fn toast_that_an_update_leaves_alone_stays() {
    carries(
        "CREATE FUNCTION noise(n int) RETURNS text LANGUAGE sql AS
             $$ SELECT string_agg(md5((n * 10000 + k)::text), '') FROM generate_series(1, 400) k $$;
         CREATE TABLE doc (id int PRIMARY KEY, title text, body text, other text);
         ALTER TABLE doc ALTER body SET STORAGE EXTERNAL;
         INSERT INTO doc SELECT n, 'title', noise(n), noise(-n) FROM generate_series(1, 200) n;
         CREATE TABLE big_key (k text PRIMARY KEY, v int, body text);
         ALTER TABLE big_key ALTER k SET STORAGE EXTERNAL;
         INSERT INTO big_key SELECT left(noise(n), 2200), n, noise(n) FROM generate_series(1, 10) n;
         CREATE TABLE full_identity (id int, v int, body text);
         ALTER TABLE full_identity REPLICA IDENTITY FULL;
         INSERT INTO full_identity SELECT n, n, noise(n) FROM generate_series(1, 10) n;",
        "UPDATE doc SET title = 'changed' WHERE id % 2 = 0;
         UPDATE doc SET other = 'short' WHERE id % 3 = 0;
         UPDATE doc SET id = id + 1000 WHERE id % 5 = 0;
         BEGIN; UPDATE doc SET title = 'a' WHERE id = 1; UPDATE doc SET body = 'b' WHERE id = 1; UPDATE doc SET title = 'c' WHERE id = 1; COMMIT;
         UPDATE big_key SET v = v + 1;
         UPDATE full_identity SET v = v + 1;",
        "{}",
    )
    .await;
}

#[tokio::test]
async fn updates_that_change_the_key_and_rows_that_swap_places() {
    carries(
        "CREATE TABLE t (id int PRIMARY KEY, v text);
         INSERT INTO t SELECT n, 'row ' || n FROM generate_series(1, 100) n;
         CREATE TABLE pair (a int, b text, v text, PRIMARY KEY (a, b));
         INSERT INTO pair SELECT n, 'b' || n, 'v' FROM generate_series(1, 20) n;
         CREATE TABLE by_index (x int NOT NULL, y int, v text);
         CREATE UNIQUE INDEX by_index_x ON by_index (x);
         ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_x;
         INSERT INTO by_index SELECT n, n, 'v' FROM generate_series(1, 20) n;
         CREATE TABLE part (id int, r text, PRIMARY KEY (id, r)) PARTITION BY LIST (r);
         CREATE TABLE part_a PARTITION OF part FOR VALUES IN ('a');
         CREATE TABLE part_b PARTITION OF part FOR VALUES IN ('b');
         INSERT INTO part SELECT n, 'a' FROM generate_series(1, 20) n;",
        "UPDATE t SET id = -id WHERE id <= 50;
         BEGIN; UPDATE t SET id = 0 WHERE id = 60; UPDATE t SET id = 60 WHERE id = 61; UPDATE t SET id = 61 WHERE id = 0; COMMIT;
         UPDATE pair SET b = 'c' || a WHERE a % 2 = 0;
         UPDATE pair SET v = 'w';
         UPDATE by_index SET x = x + 100, y = NULL WHERE x < 10;
         UPDATE by_index SET v = 'w' WHERE y IS NULL;
         UPDATE part SET r = 'b' WHERE id % 2 = 0;
         UPDATE part SET id = id + 100;",
        "{}",
    )
    .await;
}

#[tokio::test]
async fn generated_and_identity_columns_hold_the_sources_values() {
    let pair = carries(
        "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY (START 10 INCREMENT 5) PRIMARY KEY,
                         other int GENERATED BY DEFAULT AS IDENTITY,
                         a int, twice int GENERATED ALWAYS AS (a * 2) STORED, now timestamptz DEFAULT clock_timestamp());
         INSERT INTO t (a) SELECT generate_series(1, 100);
         CREATE TABLE generated_key (a int, k int GENERATED ALWAYS AS (a + 1) STORED PRIMARY KEY, v text);
         INSERT INTO generated_key (a, v) SELECT n, 'v' FROM generate_series(1, 10) n;",
        "INSERT INTO t (a) SELECT generate_series(1, 100);
         INSERT INTO t (id, a) OVERRIDING SYSTEM VALUE VALUES (100000, 1);
         UPDATE t SET a = a + 1;
         DELETE FROM t WHERE a = 50;
         INSERT INTO generated_key (a, v) VALUES (100, 'v');",
        r#"{"keyless": "full", "acknowledge_warnings": true}"#,
    )
    .await;
    // The sequences follow: the application can go on writing on the peer.
    pair.source.psql(DB, "SELECT pgrelay.stop_task('move'); SELECT pgrelay.wait_for_state('move', 'stopped', '1 minute')").await;
    pair.peer.psql(DB, "INSERT INTO t (a) VALUES (1)").await;
}

#[tokio::test]
async fn triggers_and_cascades_do_not_fire_again_on_the_peer() {
    let pair = carries(
        "CREATE TABLE t (id int PRIMARY KEY, n int);
         CREATE TABLE seen (id bigserial PRIMARY KEY, t int);
         CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO seen (t) VALUES (NEW.id); RETURN NEW; END $$;
         CREATE TRIGGER see AFTER INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION see();
         CREATE TABLE parent (id int PRIMARY KEY);
         CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE);
         INSERT INTO parent SELECT generate_series(1, 20);
         INSERT INTO child SELECT n, n FROM generate_series(1, 20) n;
         INSERT INTO t SELECT n, n FROM generate_series(1, 20) n;",
        "INSERT INTO t VALUES (100, 1); UPDATE t SET n = n + 1;
         DELETE FROM parent WHERE id < 10; UPDATE parent SET id = id + 100;",
        "{}",
    )
    .await;
    let rows = pair.peer.psql(DB, "SELECT count(*) FROM seen").await;
    assert_eq!(rows, "42", "one for each row that the source inserted or updated");
}

#[tokio::test]
async fn prepared_transactions_arrive_when_they_are_committed() {
    carries(
        "CREATE TABLE t (id int PRIMARY KEY, v text)",
        "BEGIN; INSERT INTO t VALUES (1, 'committed'); PREPARE TRANSACTION 'one';
         BEGIN; INSERT INTO t VALUES (2, 'rolled back'); PREPARE TRANSACTION 'two';
         INSERT INTO t VALUES (3, 'between');
         COMMIT PREPARED 'one'; ROLLBACK PREPARED 'two';",
        "{}",
    )
    .await;
}

#[tokio::test]
async fn a_backlog_is_never_called_running() {
    let pair = Pair::start("CREATE TABLE t (id int PRIMARY KEY)").await;
    pair.start_task("{}").await;
    pair.wait_for_state("running", MINUTE).await;
    pair.source.psql(DB, "SELECT pgrelay.pause_task('move')").await;
    pair.wait_for_state("paused", MINUTE).await;
    pair.source.psql(DB, "INSERT INTO t SELECT generate_series(1, 1000)").await;
    let locker = pair.peer_client().await;
    locker.batch_execute("BEGIN; LOCK TABLE t").await.unwrap();
    pair.source.psql(DB, "SELECT pgrelay.resume_task('move')").await;
    let source = pair.source_client().await;
    wait_for_value(&source, "SELECT state FROM pgrelay.task_status", "catching_up", MINUTE).await;
    for _ in 0..8 {
        run_for(Duration::from_millis(250)).await;
        assert_eq!(pair.source.psql(DB, "SELECT state FROM pgrelay.task_status").await, "catching_up");
    }
    locker.batch_execute("COMMIT").await.unwrap();
    pair.wait_for_state("running", MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
}
