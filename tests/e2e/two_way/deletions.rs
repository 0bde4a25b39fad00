//! Rows that one side deletes while the other writes them, and rows that give way: both sides end alike.

use pgrelay_tests::wait::wait_for_value;

use crate::sides::{MINUTE, Sides};

const ROWS: &str = "SELECT coalesce(string_agg(t::text, ' ' ORDER BY id), '') FROM t";

/// What both sides do while neither hears of the other; then both hear, and what comes back is through too.
async fn meanwhile(sides: &Sides, writes: &[(bool, &str)]) {
    sides.wait().await;
    sides.pause().await;
    for (on_source, sql) in writes {
        if *on_source {
            sides.source(sql).await
        } else {
            sides.peer(sql).await
        };
    }
    sides.resume().await;
    sides.run().await;
    for _ in 0..3 {
        sides.wait().await;
    }
}

/// A two-way task of these objects under a policy: what both sides write meanwhile ends with these rows on both.
async fn ends(objects: &str, policy: &str, writes: &[(bool, &str)], rows: &str) -> Sides {
    let sides = Sides::start(objects, &format!(r#""conflict_policy": "{policy}""#)).await;
    meanwhile(&sides, writes).await;
    sides.both(ROWS, rows).await;
    sides
}

#[tokio::test]
async fn latest_wins_ends_with_the_later_of_a_deletion_and_a_write() {
    let objects = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT n, 'old' FROM generate_series(1, 6) n";
    let writes = [
        (true, "UPDATE t SET v = 's' WHERE id = 1"),
        (false, "DELETE FROM t WHERE id = 1"),
        (false, "DELETE FROM t WHERE id = 2"),
        (true, "UPDATE t SET v = 's' WHERE id = 2"),
        (false, "UPDATE t SET v = 'd' WHERE id = 3"),
        (true, "DELETE FROM t WHERE id = 3"),
        (true, "DELETE FROM t WHERE id = 4"),
        (false, "UPDATE t SET v = 'd' WHERE id = 4"),
        (true, "DELETE FROM t WHERE id = 5"),
        (false, "DELETE FROM t WHERE id = 5"),
        // The insert is older than what the peer has deleted under its key.
        (true, "INSERT INTO t VALUES (7, 's')"),
        (false, "INSERT INTO t VALUES (7, 'd')"),
        (false, "DELETE FROM t WHERE id = 7"),
        // A key that is given away is a deletion.
        (true, "UPDATE t SET v = 's' WHERE id = 6"),
        (false, "UPDATE t SET id = 60 WHERE id = 6"),
    ];
    ends(objects, "latest_wins", &writes, "(2,s) (4,d) (60,old)").await;
}

#[tokio::test]
async fn source_priority_ends_with_what_the_source_did() {
    let objects = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT n, 'old' FROM generate_series(1, 4) n";
    let writes = [
        (true, "UPDATE t SET v = 's' WHERE id = 1"),
        (false, "DELETE FROM t WHERE id = 1"),
        (true, "DELETE FROM t WHERE id = 2"),
        (false, "UPDATE t SET v = 'd' WHERE id = 2"),
        (false, "UPDATE t SET v = 'd' WHERE id = 3"),
        (true, "UPDATE t SET v = 's' WHERE id = 3"),
    ];
    let sides = ends(objects, "source_priority", &writes, "(1,s) (3,s) (4,old)").await;
    // What was seen before may be written by either side.
    sides.peer("UPDATE t SET v = 'd' WHERE id = 1; DELETE FROM t WHERE id = 4").await;
    sides.wait().await;
    sides.both(ROWS, "(1,d) (3,s)").await;
}

#[tokio::test]
async fn a_truncate_removes_what_was_written_before_and_leaves_what_was_written_later() {
    let objects = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT n, 'old' FROM generate_series(1, 4) n";
    let writes = [
        (false, "INSERT INTO t VALUES (11, 'before')"),
        (false, "UPDATE t SET v = 'before' WHERE id = 1"),
        (true, "TRUNCATE t"),
        (true, "INSERT INTO t VALUES (20, 's')"),
        (false, "UPDATE t SET v = 'after' WHERE id = 2"),
        (false, "INSERT INTO t VALUES (12, 'after')"),
    ];
    let sides = ends(objects, "latest_wins", &writes, "(2,after) (12,after) (20,s)").await;
    // The other way, and nothing that stays.
    let writes = [(true, "INSERT INTO t VALUES (13, 'before')"), (true, "UPDATE t SET v = 'before'"), (false, "TRUNCATE t")];
    meanwhile(&sides, &writes).await;
    sides.both(ROWS, "").await;
    // What one side has seen goes, whoever wrote it, and what comes after that stays.
    sides.source("INSERT INTO t VALUES (1, 's')").await;
    sides.peer("INSERT INTO t VALUES (2, 'd')").await;
    sides.wait().await;
    sides.peer("TRUNCATE t; INSERT INTO t VALUES (3, 'd')").await;
    sides.wait().await;
    sides.both(ROWS, "(3,d)").await;
}

#[tokio::test]
async fn a_truncate_of_a_table_whose_key_is_a_domain_that_forbids_null_is_remembered() {
    let objects = "CREATE DOMAIN number AS int NOT NULL CHECK (VALUE > 0); CREATE TABLE t (id number PRIMARY KEY, v text); \
                   INSERT INTO t SELECT n, 'old' FROM generate_series(1, 3) n";
    let writes = [
        (false, "INSERT INTO t VALUES (11, 'before')"),
        (true, "TRUNCATE t; INSERT INTO t VALUES (20, 's')"),
        (false, "UPDATE t SET v = 'after' WHERE id = 2"),
    ];
    ends(objects, "latest_wins", &writes, "(2,after) (20,s)").await;
}

/// What could stay on one side could not be told on the other.
#[tokio::test]
async fn a_truncate_of_a_table_without_a_key_removes_all_rows_on_both_sides() {
    let objects =
        "CREATE TABLE t (id int, v text); ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t SELECT n, 'old' FROM generate_series(1, 3) n";
    let writes = [(false, "INSERT INTO t VALUES (11, 'before')"), (true, "TRUNCATE t"), (false, "INSERT INTO t VALUES (12, 'after')")];
    ends(objects, "latest_wins", &writes, "").await;
}

/// The deletion is remembered and cannot be committed on the other side, so what comes from there meanwhile does not know of it.
#[tokio::test]
async fn a_deletion_that_is_remembered_makes_nobody_read_the_whole_table() {
    let objects = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT n, 'old' FROM generate_series(1, 5000) n;
        CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$";
    let sides = Sides::start(objects, r#""conflict_policy": "latest_wins""#).await;
    let at_commit = "CREATE CONSTRAINT TRIGGER hold AFTER DELETE ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hold(); \
        ALTER TABLE t ENABLE ALWAYS TRIGGER hold";
    sides.source(at_commit).await;
    sides.wait().await;
    let holder = sides.pair.source_client().await;
    holder.batch_execute("SELECT pg_advisory_lock(1)").await.expect("a lock");
    sides.peer("SELECT pg_stat_reset(); DELETE FROM t WHERE id = 1").await;
    let client = sides.pair.peer_client().await;
    wait_for_value(&client, "SELECT count(*)::text FROM pgrelay_peer.tombstone", "1", MINUTE).await;
    sides.source("INSERT INTO t SELECT n, 's' FROM generate_series(6001, 6100) n").await;
    // By an index too, all of it: a session that applies reads no table in its order where it can do otherwise.
    let read = "SELECT (seq_tup_read + idx_tup_fetch < 1000)::text FROM pg_stat_user_tables WHERE relname = 't' AND n_tup_ins = 100";
    wait_for_value(&client, read, "true", MINUTE).await;
    holder.batch_execute("SELECT pg_advisory_unlock(1)").await.expect("no lock");
    sides.wait().await;
    sides.both("SELECT count(*) FROM t", "5099").await;
}

#[tokio::test]
async fn source_priority_lets_a_truncate_of_the_peer_leave_what_the_source_wrote_meanwhile() {
    let objects = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT n, 'old' FROM generate_series(1, 4) n";
    let writes = [
        (true, "INSERT INTO t VALUES (11, 's')"),
        (true, "UPDATE t SET v = 's' WHERE id = 1"),
        (false, "TRUNCATE t; INSERT INTO t VALUES (12, 'd')"),
    ];
    let sides = ends(objects, "source_priority", &writes, "(1,s) (11,s) (12,d)").await;
    let writes = [(false, "INSERT INTO t VALUES (13, 'd')"), (true, "TRUNCATE t"), (false, "UPDATE t SET v = 'd'")];
    meanwhile(&sides, &writes).await;
    sides.both(ROWS, "").await;
}

#[tokio::test]
async fn rows_of_nothing_but_their_key_that_go_and_come_again_win_over_an_earlier_deletion() {
    let objects = "CREATE TABLE t (id int, b int, PRIMARY KEY (id, b)); INSERT INTO t SELECT n, n FROM generate_series(1, 30) n";
    let writes = [
        (false, "DELETE FROM t WHERE id = 1"),
        (true, "BEGIN; DELETE FROM t; INSERT INTO t SELECT n, n FROM generate_series(1, 30) n; COMMIT"),
    ];
    let all: Vec<String> = (1..=30).map(|n| format!("({n},{n})")).collect();
    ends(objects, "latest_wins", &writes, &all.join(" ")).await;
}

#[tokio::test]
async fn many_rows_that_one_transaction_deletes_are_remembered_in_parts() {
    let objects = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT n, 'old' FROM generate_series(1, 12000) n";
    let writes = [
        (true, "UPDATE t SET v = 's' WHERE id % 1000 = 0"),
        (false, "DELETE FROM t WHERE id > 1"),
        (true, "UPDATE t SET v = 'later' WHERE id IN (5, 11999)"),
    ];
    ends(objects, "latest_wins", &writes, "(1,old) (5,later) (11999,later)").await;
}

#[tokio::test]
async fn a_row_that_gives_way_on_one_side_goes_on_the_other_unless_it_was_written_later_there() {
    let objects = "CREATE TABLE t (id int PRIMARY KEY, u int UNIQUE, v text); INSERT INTO t VALUES (1, 1, 'old'), (2, 2, 'old')";
    let writes = [
        (false, "UPDATE t SET u = 5 WHERE id = 1"),
        (true, "INSERT INTO t VALUES (11, 5, 's')"),
        (false, "UPDATE t SET u = 6 WHERE id = 2"),
        (true, "INSERT INTO t VALUES (12, 6, 's')"),
        (true, "UPDATE t SET v = 'later' WHERE id = 2"),
    ];
    ends(objects, "latest_wins", &writes, "(2,2,later) (11,5,s) (12,6,s)").await;
}

#[tokio::test]
async fn a_change_of_the_key_is_a_deletion_and_an_insert_each_as_late_as_it_was() {
    let objects = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT n, 'old' FROM generate_series(1, 7) n";
    let writes = [
        // Both give the row away: it is there by both new keys.
        (true, "UPDATE t SET id = 11 WHERE id = 1"),
        (false, "UPDATE t SET id = 21 WHERE id = 1"),
        // The row is deleted, before and after.
        (false, "DELETE FROM t WHERE id = 2"),
        (true, "UPDATE t SET id = 12 WHERE id = 2"),
        (true, "UPDATE t SET id = 13 WHERE id = 3"),
        (false, "DELETE FROM t WHERE id = 3"),
        // It is written later: by the old key it stays, and comes by the new one too.
        (true, "UPDATE t SET id = 14 WHERE id = 4"),
        (false, "UPDATE t SET v = 'd' WHERE id = 4"),
        // The new key is taken later.
        (true, "UPDATE t SET id = 15 WHERE id = 5"),
        (false, "INSERT INTO t VALUES (15, 'd')"),
        // And earlier.
        (false, "INSERT INTO t VALUES (16, 'd')"),
        (true, "UPDATE t SET id = 16 WHERE id = 6"),
        // The new key is taken and deleted later.
        (true, "UPDATE t SET id = 17 WHERE id = 7"),
        (false, "INSERT INTO t VALUES (17, 'd')"),
        (false, "DELETE FROM t WHERE id = 17"),
    ];
    ends(objects, "latest_wins", &writes, "(4,d) (11,old) (12,old) (13,old) (14,old) (15,d) (16,old) (21,old)").await;
    let at_source = "(11,old) (14,old) (15,old) (16,old) (17,old) (22,old)";
    let writes = [
        (true, "UPDATE t SET id = 11 WHERE id = 1"),
        (false, "UPDATE t SET v = 'd' WHERE id = 1"),
        (false, "UPDATE t SET id = 22 WHERE id = 2"),
        (true, "DELETE FROM t WHERE id IN (2, 3)"),
        (false, "UPDATE t SET v = 'd' WHERE id = 3"),
        (true, "UPDATE t SET id = 10 + id WHERE id IN (4, 5, 6, 7)"),
        (false, "UPDATE t SET v = 'd' WHERE id = 4"),
        (false, "INSERT INTO t VALUES (15, 'd')"),
        (false, "DELETE FROM t WHERE id = 6"),
    ];
    ends(objects, "source_priority", &writes, at_source).await;
}

#[tokio::test]
async fn a_row_that_wins_comes_with_the_long_values_that_its_change_leaves_as_they_were() {
    let objects = "CREATE TABLE t (id int PRIMARY KEY, v text, l text); ALTER TABLE t ALTER l SET STORAGE EXTERNAL; \
                   INSERT INTO t SELECT n, 'old', repeat('old', 1000) FROM generate_series(1, 3) n";
    let writes = [
        (false, "UPDATE t SET l = repeat('d', 3000) WHERE id = 1"),
        (true, "UPDATE t SET v = 's' WHERE id = 1"),
        (true, "UPDATE t SET v = 's' WHERE id = 2"),
        (false, "UPDATE t SET l = repeat('d', 3000) WHERE id = 2"),
        (false, "INSERT INTO t VALUES (13, 'd', repeat('d', 3000))"),
        (true, "UPDATE t SET id = 13 WHERE id = 3"),
    ];
    let sides = Sides::start(objects, r#""conflict_policy": "latest_wins""#).await;
    meanwhile(&sides, &writes).await;
    let rows = "SELECT string_agg(format('%s %s %s', id, v, left(l, 3)), ', ' ORDER BY id) FROM t";
    sides.both(rows, "1 s old, 2 old ddd, 13 old old").await;
}

#[tokio::test]
async fn a_change_that_had_nothing_to_do_is_known_of_by_what_follows() {
    let objects = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'old')";
    let sides = Sides::start(objects, r#""conflict_policy": "source_priority""#).await;
    sides.wait().await;
    // A direction that begins tells how far it is, so only the reverse one does here, and before.
    sides.source("SELECT pgrelay.pause_task('move', 'reverse')").await;
    sides.wait_for_reverse("paused").await;
    sides.peer("DELETE FROM t WHERE id = 1").await;
    sides.source("BEGIN; INSERT INTO t SELECT n FROM generate_series(101, 150) n; DELETE FROM t WHERE id > 100; COMMIT").await;
    sides.source("DELETE FROM t WHERE id = 1").await;
    sides.source("SELECT pgrelay.wait_for_catchup('move', '1 min', 'forward')").await;
    sides.peer("INSERT INTO t VALUES (1, 'd'), (101, 'd')").await;
    sides.source("SELECT pgrelay.resume_task('move', 'reverse')").await;
    sides.run().await;
    sides.wait().await;
    sides.both(ROWS, "(1,d) (101,d)").await;
}

#[tokio::test]
async fn a_row_that_came_and_went_on_one_side_meets_the_row_of_the_other() {
    let objects = "CREATE TABLE t (id int PRIMARY KEY, v text)";
    // In a backlog: nothing is left of the rows but the one of the other side, which is older.
    let came_and_went =
        "INSERT INTO t SELECT n, 's' FROM generate_series(1, 50) n; DELETE FROM t WHERE id <= 50; INSERT INTO t VALUES (99, 's')";
    let writes = [(false, "INSERT INTO t VALUES (1, 'd')"), (true, came_and_went)];
    ends(objects, "latest_wins", &writes, "(99,s)").await;
}
