//! What runs on the peer while changes are applied, and constraints that do not.

use std::time::Duration;

use pgrelay_tests::pair::DB;
use pgrelay_tests::ways::{as_backlog, both_ways, one_by_one, running};
use pgrelay_tests::{Pair, wait_for_value};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn deferrable_constraints_are_met_in_the_order_of_the_source() {
    both_ways(
        "CREATE TABLE t (id int PRIMARY KEY, u int UNIQUE DEFERRABLE INITIALLY DEFERRED, v int, UNIQUE (v) DEFERRABLE);
         INSERT INTO t SELECT n, n, n FROM generate_series(1, 60) n;
         CREATE TABLE late_key (id int PRIMARY KEY DEFERRABLE, v text); ALTER TABLE late_key REPLICA IDENTITY FULL;
         INSERT INTO late_key SELECT n, 'v' FROM generate_series(1, 60) n;
         CREATE TABLE up (id int PRIMARY KEY); INSERT INTO up SELECT generate_series(1, 60);
         CREATE TABLE down (id int PRIMARY KEY, up int REFERENCES up DEFERRABLE INITIALLY DEFERRED); INSERT INTO down SELECT n, n FROM generate_series(1, 60) n;
         CREATE EXTENSION btree_gist;
         CREATE TABLE slot (id int PRIMARY KEY, during int4range, EXCLUDE USING gist (during WITH &&) DEFERRABLE INITIALLY DEFERRED);
         INSERT INTO slot SELECT n, int4range(n * 10, n * 10 + 10) FROM generate_series(1, 60) n;",
        &[
            "BEGIN; UPDATE t SET u = u + 1 WHERE id BETWEEN :lo AND :hi; UPDATE t SET u = :lo WHERE u = :hi + 1 AND id = :hi; COMMIT",
            "UPDATE t SET v = :lo + :hi - v WHERE id BETWEEN :lo AND :hi",
            "UPDATE late_key SET id = :lo + :hi - id WHERE id BETWEEN :lo AND :hi",
            "BEGIN; INSERT INTO down VALUES (:lo + 1000, :lo + 1000); INSERT INTO up VALUES (:lo + 1000); COMMIT",
            "BEGIN; DELETE FROM up WHERE id BETWEEN :lo AND :hi; DELETE FROM down WHERE up BETWEEN :lo AND :hi; COMMIT",
            "BEGIN; UPDATE slot SET during = int4range(lower(during) + 10, upper(during) + 10) WHERE id BETWEEN :lo AND :hi;
                    UPDATE slot SET during = int4range(:lo * 10, :lo * 10 + 10) WHERE id = :hi; COMMIT",
        ],
        "{}",
    )
    .await;
}

const WATCHED: &str = "
    CREATE TABLE hears (id int PRIMARY KEY, v text, n int); INSERT INTO hears SELECT n, 'v', n FROM generate_series(1, 60) n;
    CREATE TABLE drops (id int PRIMARY KEY, v text, n int); INSERT INTO drops SELECT n, 'v', n FROM generate_series(1, 60) n;
    CREATE TABLE no_key (id int, v text); ALTER TABLE no_key REPLICA IDENTITY FULL; INSERT INTO no_key SELECT n, 'v' FROM generate_series(1, 60) n;
    CREATE TABLE auto (id int PRIMARY KEY, i int GENERATED ALWAYS AS IDENTITY, v text); INSERT INTO auto (id, v) SELECT n, 'v' FROM generate_series(1, 60) n;
    CREATE TABLE ruled (id int PRIMARY KEY, v text); INSERT INTO ruled SELECT n, 'v' FROM generate_series(1, 60) n;";

/// The peer's own: each trigger lets pass what is not divisible by three.
const TRIGGERS: &str = "
    CREATE TABLE heard (what text);
    CREATE FUNCTION hear() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.heard VALUES (TG_NAME || ' ' || TG_OP); RETURN NULL; END $$;
    CREATE TRIGGER always AFTER INSERT OR UPDATE OR DELETE ON hears FOR EACH ROW EXECUTE FUNCTION hear();
    CREATE TRIGGER replica AFTER INSERT OR UPDATE OR DELETE ON hears FOR EACH ROW EXECUTE FUNCTION hear();
    CREATE TRIGGER origin AFTER INSERT OR UPDATE OR DELETE ON hears FOR EACH ROW EXECUTE FUNCTION hear();
    ALTER TABLE hears ENABLE ALWAYS TRIGGER always, ENABLE REPLICA TRIGGER replica;
    CREATE FUNCTION thirds() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF coalesce(NEW.id, OLD.id) % 3 = 0 THEN RETURN NULL; END IF;
        IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER thirds BEFORE INSERT OR UPDATE OR DELETE ON drops FOR EACH ROW EXECUTE FUNCTION thirds();
    CREATE TRIGGER thirds BEFORE INSERT OR UPDATE OR DELETE ON no_key FOR EACH ROW EXECUTE FUNCTION thirds();
    CREATE TRIGGER thirds BEFORE INSERT OR UPDATE OR DELETE ON auto FOR EACH ROW EXECUTE FUNCTION thirds();
    ALTER TABLE drops ENABLE ALWAYS TRIGGER thirds; ALTER TABLE no_key ENABLE REPLICA TRIGGER thirds; ALTER TABLE auto ENABLE ALWAYS TRIGGER thirds;
    CREATE RULE keep AS ON DELETE TO ruled WHERE OLD.id % 3 = 0 DO INSTEAD NOTHING; ALTER TABLE ruled ENABLE ALWAYS RULE keep;
    CREATE RULE never AS ON UPDATE TO ruled DO INSTEAD NOTHING; ALTER TABLE ruled ENABLE REPLICA RULE never;";

/// A task on watched tables, begun anew after the peer got its triggers, since a table's shape is read when its first change comes.
async fn watched() -> Pair {
    let pair = running(Pair::start(WATCHED).await, "{}").await;
    pair.peer.psql(DB, TRIGGERS).await;
    pair.source.psql(DB, "SELECT pgrelay.pause_task('move')").await;
    pair.wait_for_state("paused", MINUTE).await;
    pair.source.psql(DB, "SELECT pgrelay.resume_task('move')").await;
    pair.wait_for_state("running", MINUTE).await;
    pair
}

#[tokio::test]
async fn what_a_trigger_or_rule_of_the_peer_keeps_away_is_neither_missing_nor_an_error() {
    let pair = watched().await;
    let statements = [
        "INSERT INTO hears SELECT n + 1000, 'new', n FROM generate_series(:lo, :hi) n",
        "UPDATE hears SET v = 'changed' WHERE id BETWEEN :lo AND :hi",
        "DELETE FROM hears WHERE id = :lo",
        "INSERT INTO drops SELECT n + 999, 'new', n FROM generate_series(:lo, :hi) n",
        "UPDATE drops SET v = 'changed' WHERE id BETWEEN :lo AND :hi",
        "DELETE FROM drops WHERE id BETWEEN :lo AND :lo + 5",
        "INSERT INTO no_key SELECT n + 999, 'new' FROM generate_series(:lo, :hi) n",
        "UPDATE no_key SET v = 'changed' WHERE id BETWEEN :lo AND :hi",
        "UPDATE auto SET v = 'changed' WHERE id BETWEEN :lo AND :hi",
        "DELETE FROM ruled WHERE id BETWEEN :lo AND :lo + 5",
        "UPDATE ruled SET v = 'changed' WHERE id BETWEEN :lo AND :hi",
    ];
    one_by_one(&pair, &statements).await;
    as_backlog(&pair, &statements).await;
    let peer = "SELECT concat_ws(' ', (SELECT count(*) || '/' || count(DISTINCT what) FROM heard),
        (SELECT concat_ws('/', count(*) FILTER (WHERE id > 990), count(*) FILTER (WHERE v = 'changed'), count(*) FILTER (WHERE id <= 60)) FROM drops),
        (SELECT concat_ws('/', count(*) FILTER (WHERE id > 990), count(*) FILTER (WHERE v = 'changed')) FROM no_key),
        (SELECT concat_ws('/', count(*), count(*) FILTER (WHERE v = 'changed')) FROM auto),
        (SELECT concat_ws('/', count(*), count(*) FILTER (WHERE v = 'changed')) FROM ruled))";
    // 59 rows were inserted and updated, of which 19 or 20 are divisible by three.
    let seen = pair.peer.psql(DB, peer).await;
    assert_eq!(seen, "240/6 39/31/52 39/39 60/39 52/0");
    let missing = "SELECT count(*) FROM pgrelay.event WHERE event = 'delete_missing'";
    assert_eq!(pair.source.psql(DB, missing).await, "0");
    // Once before the pause and once after it.
    let told = "SELECT (count(*) = 2)::text FROM pgrelay.event WHERE event = 'changes_suppressed'";
    wait_for_value(&pair.source_client().await, told, "true", MINUTE).await;
}

#[tokio::test]
async fn a_row_that_is_not_there_is_missing_though_a_trigger_could_have_kept_it_away() {
    let pair = watched().await;
    pair.peer.psql(DB, "SET session_replication_role = origin; ALTER TABLE drops DISABLE TRIGGER thirds; DELETE FROM drops WHERE id IN (3, 4); ALTER TABLE drops ENABLE ALWAYS TRIGGER thirds").await;
    pair.source.psql(DB, "DELETE FROM drops WHERE id = 4").await;
    pair.wait_for_catchup(MINUTE).await;
    let missing = "SELECT (count(*) = 1)::text FROM pgrelay.event WHERE event = 'delete_missing'";
    wait_for_value(&pair.source_client().await, missing, "true", MINUTE).await;
    pair.source.psql(DB, "SELECT pgrelay.alter_task('move', '{\"update_missing\": \"fail\"}')").await;
    pair.source.psql(DB, "UPDATE drops SET v = 'x' WHERE id = 3").await;
    let stopped = "SELECT (error_detail LIKE '%update_missing%' AND error_object = 'public.drops')::text FROM pgrelay.task_status";
    wait_for_value(&pair.source_client().await, stopped, "true", MINUTE).await;
}
