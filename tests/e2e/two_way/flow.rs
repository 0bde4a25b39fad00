//! What goes which way, how often, and that nothing goes round.

use std::time::Duration;

use pgrelay_tests::{pair::DB, wait::run_for};

use crate::sides::{MINUTE, Sides};

const OBJECTS: &str = "
    CREATE TABLE plain (id int PRIMARY KEY, v text);
    INSERT INTO plain SELECT n, 'copied' FROM generate_series(1000, 6000) n;
    CREATE TABLE one (id int PRIMARY KEY, v text);
    INSERT INTO one VALUES (1, 'copied');
    CREATE TABLE twins (n int, v text);
    ALTER TABLE twins REPLICA IDENTITY FULL;
    CREATE TABLE a (id int PRIMARY KEY, v text);
    CREATE TABLE b (id int PRIMARY KEY, v text);
    CREATE SEQUENCE numbers;
    CREATE TABLE large (id int PRIMARY KEY, v text);
    DO $$ BEGIN FOR n IN 1..50 LOOP EXECUTE format('CREATE TABLE many_%s (id int PRIMARY KEY)', n); END LOOP; END $$;";

/// How long nothing may flow.
pub fn quiet() -> Duration {
    Duration::from_secs(if nightly() { 30 } else { 4 })
}

fn nightly() -> bool {
    std::env::var("PGRELAY_NIGHTLY").is_ok_and(|v| v == "1")
}

#[tokio::test]
async fn each_change_goes_once_to_the_other_side_and_nothing_comes_back() {
    let sides = Sides::start(OBJECTS, "").await;
    the_copy_is_not_sent_back(&sides).await;
    both_sides_insert(&sides).await;
    edits_in_turn(&sides).await;
    deleted_on_both_sides(&sides).await;
    fifty_tables_on_each_side(&sides).await;
    rows_without_a_key(&sides).await;
    a_third_server(&sides).await;
    a_trigger_that_fires_always(&sides).await;
    large_transactions(&sides).await;
    sequences_never_go_back(&sides).await;
    run_for(quiet()).await;
    sides.applied([0, 0]).await;
    assert_eq!(sides.source("SELECT count(*) FROM pgrelay.conflict").await, "2", "only the deletes have met nothing");
    sides.source("SELECT pgrelay.drop_task('move'); SELECT pgrelay.wait_for_state('move', 'dropped')").await;
    let own = "DROP TRIGGER follow ON a; SELECT pg_replication_origin_drop('third')";
    sides.peer(own).await;
    sides.source("SELECT pg_replication_origin_drop('third')").await;
    pgrelay_tests::left::assert_nothing_left(&sides.pair).await;
}

async fn the_copy_is_not_sent_back(sides: &Sides) {
    sides.wait().await;
    sides.applied([0, 0]).await;
    sides.both("SELECT count(*) FROM plain", "5001").await;
}

async fn both_sides_insert(sides: &Sides) {
    sides.source("INSERT INTO plain VALUES (1, 's')").await;
    sides.peer("INSERT INTO plain VALUES (2, 'd')").await;
    sides.wait().await;
    sides.both("SELECT string_agg(v, ' ' ORDER BY id) FROM plain WHERE id < 10", "s d").await;
    sides.applied([1, 1]).await;
}

/// The other side had seen each row when it changed it: no conflict.
async fn edits_in_turn(sides: &Sides) {
    let rounds = if nightly() { 100 } else { 10 };
    for n in 0..rounds {
        sides.source(&format!("UPDATE one SET v = 's{n}'")).await;
        sides.pair.wait_for_catchup(MINUTE).await;
        sides.peer(&format!("UPDATE one SET v = v || ' d{n}'")).await;
        sides.pair.wait_for_catchup(MINUTE).await;
    }
    let last = rounds - 1;
    sides.both("SELECT v FROM one", &format!("s{last} d{last}")).await;
    sides.applied([rounds, rounds]).await;
    sides.recorded("one", "").await;
}

async fn deleted_on_both_sides(sides: &Sides) {
    sides.pause().await;
    sides.source("DELETE FROM plain WHERE id = 1000").await;
    sides.peer("DELETE FROM plain WHERE id = 1000").await;
    sides.resume().await;
    sides.run().await;
    sides.wait().await;
    sides.both("SELECT count(*) FROM plain WHERE id = 1000", "0").await;
    sides.recorded("plain", "forward delete_missing ignored, reverse delete_missing ignored").await;
}

async fn fifty_tables_on_each_side(sides: &Sides) {
    let write =
        |id: u8| format!("DO $$ BEGIN FOR n IN 1..50 LOOP EXECUTE format('INSERT INTO many_%s VALUES ({id})', n); END LOOP; END $$");
    let (on_source, on_peer) = (write(1), write(2));
    tokio::join!(sides.source(&on_source), sides.peer(&on_peer));
    sides.wait().await;
    sides.both("SELECT sum(n) FROM (SELECT count(*) AS n FROM many_1 UNION ALL SELECT count(*) FROM many_50) x", "4").await;
    sides.applied([50, 50]).await;
}

async fn rows_without_a_key(sides: &Sides) {
    sides.peer("INSERT INTO twins SELECT 1, 'same' FROM generate_series(1, 3)").await;
    sides.wait().await;
    sides.source("DELETE FROM twins WHERE ctid = (SELECT min(ctid) FROM twins)").await;
    sides.wait().await;
    sides.both("SELECT count(*) FROM twins", "2").await;
    sides.applied([1, 3]).await;
}

/// What comes to either side by another replication is carried to the other one.
async fn a_third_server(sides: &Sides) {
    let third = |id: u8| {
        format!(
            "SELECT pg_replication_origin_create('third'), pg_replication_origin_session_setup('third'); INSERT INTO plain VALUES ({id}, 'third')"
        )
    };
    sides.source(&third(11)).await;
    sides.peer(&third(12)).await;
    sides.wait().await;
    sides.both("SELECT count(*) FROM plain WHERE v = 'third'", "2").await;
    sides.applied([1, 1]).await;
    let told = "SELECT DISTINCT message FROM pgrelay.precheck('move') WHERE item = 'reverse_origins'";
    assert!(sides.source(told).await.contains("\"third\""), "the precheck tells of it");
}

/// What it writes while pgrelay applies belongs to that transaction, and is not sent back; what it writes for the peer's own rows is.
async fn a_trigger_that_fires_always(sides: &Sides) {
    sides
        .peer(
            "CREATE FUNCTION follow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.b VALUES (NEW.id, NEW.v); RETURN NEW; END $$;
             CREATE TRIGGER follow AFTER INSERT ON a FOR EACH ROW EXECUTE FUNCTION follow();
             ALTER TABLE a ENABLE ALWAYS TRIGGER follow",
        )
        .await;
    sides.source("INSERT INTO a VALUES (1, 's')").await;
    sides.wait().await;
    sides.peer("INSERT INTO a VALUES (2, 'd')").await;
    sides.wait().await;
    assert_eq!(sides.source("SELECT string_agg(id::text, ' ' ORDER BY id) FROM b").await, "2");
    assert_eq!(sides.peer("SELECT string_agg(id::text, ' ' ORDER BY id) FROM b").await, "1 2");
    sides.applied([1, 2]).await;
}

/// So large that they come while they are in progress: the peer's settings make it send them so.
async fn large_transactions(sides: &Sides) {
    sides.source("INSERT INTO large SELECT n, repeat('s', 100) FROM generate_series(1, 3000) n").await;
    sides.wait().await;
    sides.peer("INSERT INTO large SELECT -n, repeat('d', 100) FROM generate_series(1, 3000) n").await;
    sides.wait().await;
    sides.both("SELECT count(*) FROM large", "6000").await;
    sides.applied([3000, 3000]).await;
    // A row of a transaction that came back in blocks was seen.
    sides.peer("UPDATE large SET v = 'mine' WHERE id = 5").await;
    sides.wait().await;
    sides.applied([0, 1]).await;
    sides.recorded("large", "").await;
    assert_eq!(sides.pair.source.psql(DB, "SELECT v FROM large WHERE id = 5").await, "mine");
}

/// Both sides take numbers from their own.
async fn sequences_never_go_back(sides: &Sides) {
    sides.peer("SELECT setval('numbers', 500)").await;
    sides.source("SELECT nextval('numbers')").await;
    sides.wait().await;
    assert_eq!(sides.peer("SELECT nextval('numbers')").await, "501");
    sides.source("SELECT setval('numbers', 900)").await;
    sides.wait().await;
    assert_eq!(sides.peer("SELECT nextval('numbers')").await, "901");
}
