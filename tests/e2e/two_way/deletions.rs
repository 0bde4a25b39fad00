//! Rows that one side deletes while the other writes them, and rows that give way: both sides end alike.

use crate::sides::Sides;

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
