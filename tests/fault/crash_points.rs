//! The applier ends itself at each of its named points, under load: afterwards both sides are equal, and each row is there once.
//! A release build has no points, so there is nothing to test with one.
#![cfg(debug_assertions)]

use std::time::Duration;

use pgrelay_applier::crash::Point;
use pgrelay_tests::left::assert_nothing_left;
use pgrelay_tests::pair::DB;
use pgrelay_tests::wait::wait_until;
use pgrelay_tests::{Pair, Seed, Writers};

const MINUTE: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(180);
const OPTIONS: &str = r#"{"keyless": "insert_only", "acknowledge_warnings": true, "copy_chunk_mb": 1}"#;

/// Something for every step: a table in chunks by key and one by pages, small ones, one whose index takes so long that changes wait,
/// a foreign key and a view for after the rows, and a table without a key whose rows show what comes twice.
const OBJECTS: &str = "
    CREATE SEQUENCE counter;
    CREATE TABLE proof (n bigint NOT NULL);
    CREATE TABLE total (id int PRIMARY KEY, n bigint NOT NULL);
    INSERT INTO total SELECT n, 0 FROM generate_series(1, 20) n;
    CREATE TABLE big (id bigserial PRIMARY KEY, filler text, parent int REFERENCES total);
    INSERT INTO big (filler, parent) SELECT repeat(md5(n::text), 8), n % 20 + 1 FROM generate_series(1, 12000) n;
    CREATE INDEX ON big (parent);
    CREATE TABLE pages (filler text);
    INSERT INTO pages SELECT repeat(md5(n::text), 8) FROM generate_series(1, 12000) n;
    CREATE FUNCTION slowly(x int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.02); RETURN x; END';
    CREATE TABLE slow (id int PRIMARY KEY, n bigint NOT NULL, v int);
    INSERT INTO slow SELECT n, 0, n FROM generate_series(1, 20) n;
    CREATE VIEW sums AS SELECT sum(n) AS n FROM total;";

/// Made when the rows are there: on the source it shall not cost the time.
const SLOW_INDEX: &str = "CREATE INDEX ON slow (slowly(v))";

const WRITE: &str = "INSERT INTO proof VALUES (nextval('counter'));
    UPDATE total SET n = n + 1 WHERE id = 1 + (random() * 19)::int;
    UPDATE slow SET n = n + 1 WHERE id = 1 + (random() * 19)::int;
    INSERT INTO pages VALUES ('new');
    UPDATE big SET filler = 'changed' WHERE id = 1 + (random() * 10000)::int;
    INSERT INTO big (filler, parent) VALUES ('new', 1);";

/// Large for the source, which sends them while they are in progress: with a part that is rolled back, and rolled back as a whole.
const WRITE_LARGE: [&str; 2] = [
    "BEGIN; INSERT INTO pages SELECT repeat('large', 60) FROM generate_series(1, 1000); SAVEPOINT s; \
     UPDATE big SET filler = repeat('gone', 60) WHERE id <= 400; ROLLBACK TO s; \
     INSERT INTO proof SELECT nextval('counter') FROM generate_series(1, 400); COMMIT",
    "BEGIN; INSERT INTO pages SELECT repeat('never', 60) FROM generate_series(1, 1500); ROLLBACK",
];

/// Nothing of it is rolled back.
const WRITE_WHOLE: &str = "BEGIN; INSERT INTO pages SELECT repeat('whole', 60) FROM generate_series(1, 1000); \
     INSERT INTO proof SELECT nextval('counter') FROM generate_series(1, 400); COMMIT";

/// By one writer: one of them is prepared at a time.
const WRITE_PREPARED: [&str; 6] = [
    "BEGIN; INSERT INTO proof VALUES (nextval('counter')); UPDATE big SET filler = 'prepared' WHERE id = 7; PREPARE TRANSACTION 'w'",
    "COMMIT PREPARED 'w'",
    "BEGIN; INSERT INTO pages SELECT repeat('never', 60) FROM generate_series(1, 600); PREPARE TRANSACTION 'w'",
    "ROLLBACK PREPARED 'w'",
    "BEGIN; INSERT INTO proof SELECT nextval('counter') FROM generate_series(1, 1500); PREPARE TRANSACTION 'w'",
    "COMMIT PREPARED 'w'",
];

/// The points whose names begin with one of these.
fn points(prefixes: &[&str]) -> Vec<Point> {
    Point::ALL.iter().copied().filter(|p| prefixes.iter().any(|prefix| p.name().starts_with(prefix))).collect()
}

/// The tests below, by what the points they take begin with.
const TESTED: [&[&str]; 8] = [
    &["schema.", "slot."],
    &["copy."],
    &["waiting.", "one_position.", "clean."],
    &["stream."],
    &["large."],
    &["two_phase."],
    &["reverse."],
    &["weighed."],
];

/// The applier may come by a point several times before it matters: at which of so many it ends.
fn most(point: Point) -> u64 {
    match point {
        Point::SchemaMaking | Point::SchemaMade | Point::ChunkWritten | Point::ChunkCommitted => 3,
        Point::SequencesSet => 1,
        _ if point.name().starts_with("stream.") => 8,
        _ if ["large.", "two_phase.", "weighed."].iter().any(|prefix| point.name().starts_with(prefix)) => 3,
        _ => 1,
    }
}

fn writers(pair: &Pair) -> Writers {
    Writers::start(&pair.source.dsn(DB), 4, Duration::from_millis(80), WRITE)
}

async fn assert_equal_and_once(pair: &Pair, point: Point) {
    println!("equal after {}?", point.name());
    pair.assert_equal_after_catchup(LONG).await;
    let twice = pair.peer.psql(DB, "SELECT count(*) - count(DISTINCT n) FROM proof").await;
    assert_eq!(twice, "0", "rows applied twice after a crash at {}", point.name());
}

async fn pair() -> Pair {
    let pair = Pair::start(OBJECTS).await;
    pair.source.psql(DB, SLOW_INDEX).await;
    pair
}

/// Each point in a task of its own, which begins with it.
async fn from_the_start(points: Vec<Point>) {
    let mut seed = Seed::from_env();
    let mut pair = pair().await;
    for (at, point) in points.into_iter().enumerate() {
        if at > 0 {
            pair.renew().await;
        }
        pair.applier.restart_to_crash_at(point, 1 + seed.below(most(point)));
        let writers = writers(&pair);
        pair.start_task(OPTIONS).await;
        pair.applier.wait_for_crash(point, LONG).await;
        go_on(&mut pair, writers).await;
        assert_equal_and_once(&pair, point).await;
    }
}

/// An applier that ends at this point, at one of the first times that it comes by.
async fn crash_at(pair: &mut Pair, point: Point, seed: &mut Seed) {
    pair.applier.restart_to_crash_at(point, 1 + seed.below(most(point)));
    pair.applier.wait_for_crash(point, LONG).await;
}

/// The next applier begins while the load goes on.
async fn go_on(pair: &mut Pair, writers: Writers) {
    pair.applier.restart();
    let at = writers.committed();
    wait_until("the application to go on", MINUTE, async || {
        if writers.committed() > at + 20 { Ok(()) } else { Err(writers.committed().to_string()) }
    })
    .await;
    writers.stop().await;
}

#[test]
fn no_point_is_left_out() {
    let tested: Vec<Point> = TESTED.iter().flat_map(|prefixes| points(prefixes)).collect();
    let forgotten: Vec<&Point> = Point::ALL.iter().filter(|p| !tested.contains(p)).collect();
    assert!(forgotten.is_empty() && tested.len() == Point::ALL.len(), "{forgotten:?}");
}

#[tokio::test]
async fn while_the_schema_and_the_slot_are_made() {
    from_the_start(points(TESTED[0])).await;
}

#[tokio::test]
async fn while_rows_are_copied_and_indexes_built() {
    from_the_start(points(TESTED[1])).await;
}

#[tokio::test]
async fn while_tables_come_to_one_position() {
    from_the_start(points(&["waiting.", "one_position."])).await;
}

#[tokio::test]
async fn while_streaming() {
    let mut seed = Seed::from_env();
    let mut pair = pair().await;
    pair.start_task(OPTIONS).await;
    pair.wait_for_state("running", LONG).await;
    for point in points(TESTED[3]) {
        let writers = writers(&pair);
        crash_at(&mut pair, point, &mut seed).await;
        go_on(&mut pair, writers).await;
        assert_equal_and_once(&pair, point).await;
    }
}

#[tokio::test]
async fn while_large_transactions_are_in_progress() {
    let mut seed = Seed::from_env();
    let mut pair = pair().await;
    pair.start_task(OPTIONS).await;
    pair.wait_for_state("running", LONG).await;
    for point in points(TESTED[4]) {
        // One that stands there whole has met no other, and nothing of it was rolled back: both take it back.
        let is_whole = point == Point::AheadThere;
        let pause = if is_whole { 500 } else { 120 };
        let small = Writers::start(&pair.source.dsn(DB), 1, Duration::from_millis(pause), WRITE);
        let large = if is_whole { vec![WRITE_WHOLE.to_owned()] } else { WRITE_LARGE.map(|sql| sql.to_owned()).to_vec() };
        let large = Writers::start_each(&pair.source.dsn(DB), Duration::from_millis(150), vec![large]);
        crash_at(&mut pair, point, &mut seed).await;
        large.stop().await;
        go_on(&mut pair, small).await;
        assert_equal_and_once(&pair, point).await;
    }
}

#[tokio::test]
async fn while_transactions_are_prepared_and_ended() {
    let mut seed = Seed::from_env();
    let mut pair = pair().await;
    pair.start_task(OPTIONS).await;
    pair.wait_for_state("running", LONG).await;
    for point in points(TESTED[5]) {
        let small = Writers::start(&pair.source.dsn(DB), 1, Duration::from_millis(120), WRITE);
        let prepared = WRITE_PREPARED.map(|sql| sql.to_owned()).to_vec();
        let prepared = Writers::start_each(&pair.source.dsn(DB), Duration::from_millis(60), vec![prepared]);
        crash_at(&mut pair, point, &mut seed).await;
        prepared.stop().await;
        // It may have ended in between.
        let ended = pair.source.try_psql(DB, "COMMIT PREPARED 'w'").await;
        assert!(ended.as_ref().map_or_else(|e| e.contains("does not exist"), |_| true), "{ended:?}");
        go_on(&mut pair, small).await;
        assert_equal_and_once(&pair, point).await;
        assert_eq!(pair.peer.psql(DB, "SELECT count(*) FROM pg_prepared_xacts").await, "0", "after {}", point.name());
    }
}

#[tokio::test]
async fn while_cleaning_up_after_stop() {
    let mut pair = pair().await;
    for (at, point) in points(&["clean."]).into_iter().enumerate() {
        if at > 0 {
            pair.renew().await;
        }
        pair.applier.restart_to_crash_at(point, 1);
        pair.start_task(OPTIONS).await;
        pair.source.psql(DB, WRITE).await;
        pair.wait_for_catchup(LONG).await;
        pair.source.psql(DB, "SELECT pgrelay.stop_task('move')").await;
        pair.applier.wait_for_crash(point, LONG).await;
        pair.applier.restart();
        pair.wait_for_state("stopped", LONG).await;
        assert_nothing_left(&pair).await;
        pgrelay_tests::assert_equal(&pair.source_client().await, &pair.peer_client().await).await;
    }
}

#[tokio::test]
async fn while_a_task_without_a_stream_cleans_up() {
    let mut pair = pair().await;
    for (at, point) in points(&["clean."]).into_iter().enumerate() {
        if at > 0 {
            pair.renew().await;
        }
        pair.applier.restart_to_crash_at(point, 1);
        pair.start_task(r#"{"stages": ["schema", "copy"]}"#).await;
        pair.applier.wait_for_crash(point, LONG).await;
        pair.applier.restart();
        pair.wait_for_state("finished", LONG).await;
        assert_nothing_left(&pair).await;
        pgrelay_tests::assert_equal(&pair.source_client().await, &pair.peer_client().await).await;
    }
}

/// Both directions run, and a row goes each way.
async fn goes_both_ways(pair: &Pair, id: u32) {
    pair.wait_for_state("running", LONG).await;
    pair.source.psql(DB, "SELECT pgrelay.wait_for_state('move', 'running', '3 min', 'reverse')").await;
    pair.source.psql(DB, &format!("INSERT INTO t VALUES ({id})")).await;
    pair.peer.psql(DB, &format!("INSERT INTO t VALUES (-{id})")).await;
    pair.assert_equal_after_catchup(LONG).await;
}

#[tokio::test]
async fn while_the_reverse_direction_is_made_and_taken_away() {
    let mut pair = Pair::start("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1000, 1100)").await;
    let (removing, making): (Vec<Point>, Vec<Point>) = points(&["reverse."]).into_iter().partition(|p| p.name().contains("removed"));
    for (point, id) in making.into_iter().zip(1..) {
        if id > 1 {
            pair.renew().await;
        }
        pair.applier.restart_to_crash_at(point, 1);
        pair.start_task(r#"{"topology": "two_way"}"#).await;
        pair.applier.wait_for_crash(point, LONG).await;
        pair.applier.restart();
        goes_both_ways(&pair, id).await;
    }
    for (point, id) in removing.into_iter().zip(11..) {
        pair.applier.restart_to_crash_at(point, 1);
        pair.source.psql(DB, r#"SELECT pgrelay.alter_task('move', '{"topology": "one_way"}')"#).await;
        pair.applier.wait_for_crash(point, LONG).await;
        pair.applier.restart();
        let gone = "SELECT count(*)::text FROM pgrelay.task_status WHERE direction = 'reverse'";
        pgrelay_tests::wait_for_value(&pair.source_client().await, gone, "0", LONG).await;
        let left = pair.peer.psql(DB, pgrelay_tests::left::LEFT).await + &pair.source.psql(DB, pgrelay_tests::left::LEFT).await;
        assert!(!left.contains("_reverse"), "after a crash at {}: {left}", point.name());
        pair.source.psql(DB, r#"SELECT pgrelay.alter_task('move', '{"topology": "two_way"}')"#).await;
        goes_both_ways(&pair, id).await;
    }
}

#[tokio::test]
async fn while_updates_that_meet_each_other_are_weighed() {
    let mut seed = Seed::from_env();
    let objects = "CREATE TABLE hot (id int PRIMARY KEY, v text); INSERT INTO hot SELECT n, '' FROM generate_series(1, 10) n; \
                   CREATE TABLE proof (side text, n bigint); CREATE SEQUENCE counter;";
    let mut pair = Pair::start(objects).await;
    pair.start_task(r#"{"topology": "two_way", "conflict_policy": "latest_wins", "keyless": "insert_only", "acknowledge_warnings": true}"#)
        .await;
    let write = |side: &str| {
        format!(
            "INSERT INTO proof VALUES ('{side}', nextval('counter')); UPDATE hot SET v = '{side}' || now() WHERE id = (SELECT 1 + (random() * 9)::int)"
        )
    };
    for point in points(&["weighed."]) {
        pair.wait_for_state("running", LONG).await;
        pair.source.psql(DB, "SELECT pgrelay.wait_for_state('move', 'running', '3 min', 'reverse')").await;
        let [on_source, on_peer] = [(&pair.source, "s"), (&pair.peer, "d")]
            .map(|(server, side)| Writers::start(&server.dsn(DB), 3, Duration::from_millis(20), &write(side)));
        crash_at(&mut pair, point, &mut seed).await;
        go_on(&mut pair, on_source).await;
        on_peer.stop().await;
        pair.source.psql(DB, "SELECT pgrelay.wait_for_state('move', 'running', '3 min', 'reverse')").await;
        pair.wait_for_catchup(LONG).await;
        pgrelay_tests::assert_tables_equal(&pair.source_client().await, &pair.peer_client().await, &["public.hot", "public.proof"]).await;
        let twice = pair.peer.psql(DB, "SELECT count(*) - count(DISTINCT (side, n)) FROM proof").await;
        assert_eq!(twice, "0", "rows applied twice after a crash at {}", point.name());
        let same = "SELECT count(*) - count(DISTINCT (direction, source_commit_lsn, change_no)) FROM pgrelay_peer.conflict";
        let at_home = same.replace("pgrelay_peer", "pgrelay");
        assert_eq!([pair.source.psql(DB, &at_home).await, pair.peer.psql(DB, same).await], ["0", "0"], "conflicts that are recorded twice");
    }
    let met = "SELECT count(*) > 0 FROM pgrelay_peer.conflict";
    let at_home = "SELECT count(*) > 0 FROM pgrelay.conflict WHERE direction = 'reverse'";
    assert_eq!([pair.source.psql(DB, at_home).await, pair.peer.psql(DB, met).await], ["t", "t"], "conflicts on both sides");
}

/// Both are large and come in progress: one stays open, the other is found prepared by the next applier.
#[tokio::test]
async fn what_is_applied_ahead_is_not_committed_by_the_way_of_a_transaction_that_is_there() {
    let mut pair = pair().await;
    pair.start_task(OPTIONS).await;
    pair.wait_for_state("running", LONG).await;
    let on = "SELECT (bool_and(two_phase AND active))::text FROM pg_replication_slots";
    pgrelay_tests::wait_for_value(&pair.source_client().await, on, "true", LONG).await;
    let open = pair.source_client().await;
    open.batch_execute("BEGIN; INSERT INTO pages SELECT repeat('open', 60) FROM generate_series(1, 1000)").await.expect("open");
    pair.applier.restart_to_crash_at(Point::Prepared, 1);
    let held = "BEGIN; INSERT INTO pages SELECT repeat('held', 60) FROM generate_series(1, 1000); PREPARE TRANSACTION 'held'";
    pair.source.psql(DB, held).await;
    pair.applier.wait_for_crash(Point::Prepared, LONG).await;
    pair.applier.restart();
    pair.source.psql(DB, "INSERT INTO proof VALUES (nextval('counter'))").await;
    pair.wait_for_catchup(LONG).await;
    open.batch_execute("ROLLBACK").await.expect("rolled back");
    pair.source.psql(DB, "COMMIT PREPARED 'held'").await;
    assert_equal_and_once(&pair, Point::Prepared).await;
}
