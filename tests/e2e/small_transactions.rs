//! Transactions of a few changes, each of which is one statement on the peer, sent without waiting for the one before.

use std::time::Duration;

use pgrelay_tests::Pair;
use pgrelay_tests::pair::DB;
use pgrelay_tests::wait::wait_for_value;

const MINUTE: Duration = Duration::from_secs(60);

const OBJECTS: &str = r#"
    CREATE TABLE orders (id int PRIMARY KEY, state text, note text);
    INSERT INTO orders SELECT n, 'new', NULL FROM generate_series(1, 300) n;
    CREATE TABLE lines (order_id int, n int, "what $1" text, PRIMARY KEY (order_id, n));
    CREATE TABLE basket (id int PRIMARY KEY, v text);
    INSERT INTO basket SELECT n, repeat('x', 10) FROM generate_series(1, 300) n;
    CREATE TABLE long (id int PRIMARY KEY, n int, v text);
    ALTER TABLE long ALTER v SET STORAGE EXTERNAL;
    INSERT INTO long SELECT n, 0, repeat(n::text, 3000) FROM generate_series(1, 5) n;
    CREATE TABLE log (n bigint, at timestamptz DEFAULT clock_timestamp());"#;

/// So many orders, each a transaction, from one session.
fn orders(numbers: std::ops::RangeInclusive<u32>) -> String {
    let (first, last) = (numbers.start(), numbers.end());
    format!(
        r#"DO $$ BEGIN
            FOR i IN {first}..{last} LOOP
                UPDATE orders SET state = 'it''s \ "done"', note = CASE WHEN i % 2 = 0 THEN 'n' || i END WHERE id = i;
                INSERT INTO lines VALUES (i, 1, 'one'), (i, 2, NULL), (i, 3, '');
                DELETE FROM basket WHERE id = i;
                UPDATE long SET n = n + 1 WHERE id = i % 5 + 1;
                INSERT INTO log VALUES (i);
                COMMIT;
            END LOOP;
        END $$"#
    )
}

/// Transactions that change a row of a table twice.
const TWICE: &str = r#"
    DO $$ BEGIN
        FOR i IN 1..100 LOOP
            UPDATE orders SET state = 'a' WHERE id = i;
            UPDATE orders SET state = 'b' WHERE id = i;
            INSERT INTO lines VALUES (i, 4, 'four');
            DELETE FROM lines WHERE order_id = i AND n = 4;
            COMMIT;
        END LOOP;
    END $$"#;

/// Orders one at a time: what comes often is worth a statement.
async fn order_slowly(pair: &Pair, numbers: std::ops::RangeInclusive<u32>) {
    for n in numbers {
        pair.source.psql(DB, &orders(n..=n)).await;
        pair.source.psql(DB, "SELECT pgrelay.wait_for_catchup('move', '1 minute')").await;
    }
}

#[tokio::test]
async fn what_they_change_in_several_tables_arrives_as_it_was_made() {
    let pair = Pair::start(OBJECTS).await;
    // Its log shows each statement.
    pair.peer.psql(DB, &format!("ALTER DATABASE {DB} SET log_min_duration_statement = 0")).await;
    pair.start_task(r#"{"keyless": "insert_only", "acknowledge_warnings": true}"#).await;
    pair.wait_for_state("running", MINUTE).await;
    order_slowly(&pair, 1..=10).await;
    pair.source.psql(DB, &orders(11..=300)).await;
    pair.source.psql(DB, TWICE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
    assert_eq!(pair.peer.psql(DB, "SELECT count(*), count(DISTINCT n) FROM log").await, "300|300");
    // Five changes of rows of four tables, of which one gets several rows, and the position.
    assert!(pair.peer.log_text().contains("part_8 AS (UPDATE pgrelay_peer.task"), "none was one statement");
}

/// What was sent after it is not there either, and all of it comes in its order.
#[tokio::test]
async fn one_that_meets_a_conflict_takes_those_after_it_along_and_each_is_applied_once() {
    let pair = Pair::start(OBJECTS).await;
    pair.start_task(r#"{"keyless": "insert_only", "acknowledge_warnings": true, "conflict_policy": "ignore"}"#).await;
    pair.wait_for_state("running", MINUTE).await;
    let taken = "DELETE FROM orders WHERE id % 10 = 7";
    pair.peer.psql(DB, taken).await;
    for round in 0..5 {
        // After a conflict all begins anew.
        order_slowly(&pair, round * 10 + 1..=round * 10 + 5).await;
        pair.source.psql(DB, &orders(round * 10 + 6..=round * 10 + 10)).await;
    }
    // On the source too, so that what is there can be compared.
    pair.source.psql(DB, taken).await;
    pair.assert_equal_after_catchup(MINUTE).await;
    assert_eq!(pair.peer.psql(DB, "SELECT count(*), count(DISTINCT n) FROM log").await, "50|50");
    assert_eq!(pair.peer.psql(DB, "SELECT array_agg(n) = array_agg(n ORDER BY n) FROM (SELECT n FROM log ORDER BY ctid) l").await, "t");
    let met = "SELECT count(*)::text FROM pgrelay.conflict WHERE kind = 'update_missing'";
    wait_for_value(&pair.source_client().await, met, "5", MINUTE).await;
    assert!(pair.peer.log_text().contains("pgrelay: a change did not meet one row"), "none of them was one statement");
}
