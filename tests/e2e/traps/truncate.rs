//! TRUNCATE of several tables that refer to each other, with sequences that begin again.

use pgrelay_tests::pair::DB;
use pgrelay_tests::ways::both_ways;

#[tokio::test]
async fn truncate_cascade_restart_identity_over_several_tables() {
    let pair = both_ways(
        "CREATE TABLE grandparent (id serial PRIMARY KEY, v text);
         CREATE TABLE parent (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, up int REFERENCES grandparent);
         CREATE TABLE child (id serial PRIMARY KEY, up int REFERENCES parent DEFERRABLE INITIALLY DEFERRED, self int REFERENCES child);
         CREATE TABLE part (id bigserial, up int REFERENCES grandparent, PRIMARY KEY (id, up)) PARTITION BY HASH (up);
         CREATE TABLE part_0 PARTITION OF part FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE TABLE part_1 PARTITION OF part FOR VALUES WITH (MODULUS 2, REMAINDER 1);
         INSERT INTO grandparent (v) SELECT 'v' FROM generate_series(1, 100) n;
         INSERT INTO parent (up) SELECT n FROM generate_series(1, 100) n;
         INSERT INTO child (up, self) SELECT n, n FROM generate_series(1, 100) n;
         INSERT INTO part (up) SELECT n FROM generate_series(1, 100) n;",
        &[
            "INSERT INTO grandparent (v) SELECT 'before' FROM generate_series(:lo, :hi)",
            "TRUNCATE grandparent RESTART IDENTITY CASCADE",
            "INSERT INTO grandparent (v) SELECT 'after' FROM generate_series(:lo, :hi)",
            "INSERT INTO parent (up) SELECT id FROM grandparent WHERE id < 15; INSERT INTO child (up) SELECT id FROM parent; INSERT INTO part (up) SELECT id FROM parent",
            "BEGIN; UPDATE child SET self = id; TRUNCATE child, part CONTINUE IDENTITY; INSERT INTO child (up) SELECT min(id) FROM parent; COMMIT",
            "BEGIN; TRUNCATE child; SAVEPOINT s; TRUNCATE grandparent CASCADE; ROLLBACK TO s; COMMIT",
            "TRUNCATE part_1; TRUNCATE ONLY parent, child",
        ],
        "{}",
    )
    .await;
    pair.source.psql(DB, "SELECT pgrelay.stop_task('move'); SELECT pgrelay.wait_for_state('move', 'stopped', '1 minute')").await;
    pair.peer
        .psql(
            DB,
            "INSERT INTO grandparent (v) VALUES ('the peer goes on'); INSERT INTO parent (up) VALUES (1); INSERT INTO part (up) VALUES (1)",
        )
        .await;
}
