//! Partitions: rows that move from leaf to leaf, and a publication of somebody else's that names the root.

use pgrelay_tests::ways::both_ways;

#[tokio::test]
async fn rows_that_change_their_partition_arrive_in_the_other_whoever_publishes_the_root() {
    both_ways(
        "CREATE TABLE part (id int, r text, v text, PRIMARY KEY (id, r)) PARTITION BY LIST (r);
         CREATE TABLE part_a PARTITION OF part FOR VALUES IN ('a');
         CREATE TABLE part_b (v text, dropped int, r text NOT NULL, id int NOT NULL); ALTER TABLE part_b DROP COLUMN dropped;
         ALTER TABLE part ATTACH PARTITION part_b FOR VALUES IN ('b');
         CREATE TABLE part_c PARTITION OF part FOR VALUES IN ('c', 'd') PARTITION BY RANGE (id);
         CREATE TABLE part_c_1 PARTITION OF part_c FOR VALUES FROM (MINVALUE) TO (30);
         CREATE TABLE part_c_2 PARTITION OF part_c DEFAULT;
         INSERT INTO part SELECT n, 'a', 'v' FROM generate_series(1, 60) n;
         CREATE TABLE log (at timestamptz, v text) PARTITION BY RANGE (at);
         CREATE TABLE log_1 PARTITION OF log FOR VALUES FROM (MINVALUE) TO ('2026-02-01');
         CREATE TABLE log_2 PARTITION OF log FOR VALUES FROM ('2026-02-01') TO (MAXVALUE);
         INSERT INTO log SELECT '2026-01-01', 'v' || n FROM generate_series(1, 60) n;
         CREATE PUBLICATION by_root FOR TABLE part WITH (publish_via_partition_root = true);
         CREATE PUBLICATION by_leaf FOR TABLE part WITH (publish_via_partition_root = false);",
        &[
            "INSERT INTO part SELECT n + 1000, (ARRAY['a', 'b', 'c', 'd'])[1 + n % 4], 'new' FROM generate_series(:lo, :hi) n",
            "UPDATE part SET r = 'b' WHERE id BETWEEN :lo AND :hi",
            "UPDATE part SET r = 'c', v = 'moved' WHERE id BETWEEN :lo AND :hi AND id % 2 = 0",
            "UPDATE part SET id = 3000 - id WHERE id BETWEEN :lo AND :hi AND r = 'c'",
            "BEGIN; UPDATE part SET r = 'a' WHERE r = 'b' AND id BETWEEN :lo AND :hi AND id % 3 = 0; UPDATE part SET r = 'd' WHERE r = 'a' AND id BETWEEN :lo AND :hi AND id % 3 = 0; COMMIT",
            "DELETE FROM part WHERE id BETWEEN :lo AND :lo + 1",
            "UPDATE log SET at = '2026-03-01' WHERE v IN (SELECT 'v' || 2 * n FROM generate_series(:lo / 2 + 1, :hi / 2) n)",
            "DELETE FROM log WHERE v = 'v' || :lo; INSERT INTO log VALUES ('infinity', 'last')",
            "TRUNCATE part_c; INSERT INTO part VALUES (5000 + :lo, 'c', 'after')",
        ],
        r#"{"keyless": "full", "acknowledge_warnings": true}"#,
    )
    .await;
}
