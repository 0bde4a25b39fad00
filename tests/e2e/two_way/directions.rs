//! What the reverse direction has of its own: the tables that it carries, and how fast it goes.

use std::time::Instant;

use pgrelay_tests::wait::wait_for_value;

use crate::sides::{MINUTE, Sides};

const OBJECTS: &str = "
    CREATE TABLE both_ways (id int PRIMARY KEY, v text);
    CREATE TABLE forward_only (id int PRIMARY KEY, v text); INSERT INTO forward_only VALUES (1, 'copied');
    CREATE TABLE by_year (id int, year int, PRIMARY KEY (id, year)) PARTITION BY LIST (year);
    CREATE TABLE year_1 PARTITION OF by_year FOR VALUES IN (1);
    CREATE TABLE year_2 PARTITION OF by_year FOR VALUES IN (2);";

/// Changes per second.
const RATE: f64 = 500.0;

#[tokio::test]
async fn each_direction_carries_its_own_tables_at_its_own_speed() {
    let options = r#""reverse": {"exclude": ["public.forward_only", "public.by_year"], "throttle": {"stream_rows_per_s": 500}}"#;
    let sides = Sides::start(OBJECTS, options).await;
    let write = |id: u8, v: &str| {
        format!(
            "INSERT INTO both_ways VALUES ({id}, '{v}'); INSERT INTO forward_only VALUES (10 + {id}, '{v}'); \
             INSERT INTO by_year VALUES ({id}, 1), ({id}, 2)"
        )
    };
    sides.source(&write(1, "s")).await;
    // Before something that goes back: what tells the source of that one says nothing of this one.
    sides.peer("UPDATE forward_only SET v = 'd' WHERE id = 1").await;
    sides.peer(&write(2, "d")).await;
    sides.wait().await;
    sides.both("SELECT string_agg(v, ' ' ORDER BY id) FROM both_ways", "s d").await;
    let own = "SELECT string_agg(v, ' ' ORDER BY id) || ' ' || (SELECT count(*) FROM by_year) FROM forward_only";
    assert_eq!([sides.source(own).await, sides.peer(own).await], ["copied s 2", "d s d 4"]);
    sides.applied([4, 1]).await;
    // The source has not seen what the peer wrote to a table that does not go back, whatever has gone back since.
    sides.source("SELECT pgrelay.set_conflict_policy('move', 'ignore', 'public.forward_only')").await;
    sides.source("SELECT pgrelay.set_conflict_option('move', 'strict', 'true', 'public.forward_only')").await;
    sides.source("UPDATE forward_only SET v = 's' WHERE id = 1").await;
    sides.wait().await;
    assert_eq!(sides.peer("SELECT v FROM forward_only WHERE id = 1").await, "d");
    sides.recorded("forward_only", "forward update_origin_differs ignored").await;
    sides.peer("TRUNCATE forward_only").await;
    sides.source("DELETE FROM forward_only WHERE id = 1; INSERT INTO forward_only VALUES (3, 's')").await;
    sides.wait().await;
    assert_eq!([sides.source(own).await, sides.peer(own).await], ["s s 2", "s 4"]);

    the_reverse_direction_has_a_limit_of_its_own(&sides).await;
    what_it_carries_comes_and_goes_with_it(&sides).await;
}

async fn the_reverse_direction_has_a_limit_of_its_own(sides: &Sides) {
    let limits = "SELECT string_agg(coalesce(throttle::text, 'none'), ' ' ORDER BY direction) FROM pgrelay.task_status";
    wait_for_value(&sides.pair.source_client().await, limits, "none {\"stream_rows_per_s\": 500}", MINUTE).await;
    let rows = |first: u32, n: u32| format!("INSERT INTO both_ways SELECT n, 'x' FROM generate_series({first}, {first} + {n} - 1) n");
    let begun = Instant::now();
    sides.peer(&rows(10_000, 2000)).await;
    sides.source(&rows(20_000, 2000)).await;
    sides.source("SELECT pgrelay.wait_for_catchup('move', '1 min', 'forward')").await;
    let forward = begun.elapsed().as_secs_f64();
    sides.source("SELECT pgrelay.wait_for_catchup('move', '1 min', 'reverse')").await;
    let reverse = begun.elapsed().as_secs_f64();
    assert!(2000.0 / reverse <= 1.1 * RATE, "2,000 rows at {RATE} a second took {reverse} s");
    assert!(forward < reverse, "the forward direction has no limit: {forward} s, {reverse} s");
    // It counts at once, and null is the limit of the forward direction.
    sides.source(r#"SELECT pgrelay.alter_task('move', '{"reverse": {"exclude": ["public.forward_only", "public.by_year"]}}')"#).await;
    wait_for_value(&sides.pair.source_client().await, limits, "none none", MINUTE).await;
    sides.wait().await;
    sides.both("SELECT count(*) FROM both_ways", "4002").await;
}

async fn what_it_carries_comes_and_goes_with_it(sides: &Sides) {
    let refused = async |options: &str, why: &str| {
        let said = sides.pair.source.try_psql(pgrelay_tests::pair::DB, &format!("SELECT pgrelay.alter_task('move', '{options}')")).await;
        assert!(said.as_ref().is_err_and(|e| e.contains(why)), "{options}: {said:?}");
    };
    refused(r#"{"reverse": null}"#, "cannot carry other tables now").await;
    refused(r#"{"topology": "one_way"}"#, "has no reverse direction").await;
    sides.source(r#"SELECT pgrelay.alter_task('move', '{"topology": "one_way", "reverse": null}')"#).await;
    let gone = "SELECT count(*)::text FROM pgrelay.task_status WHERE direction = 'reverse'";
    wait_for_value(&sides.pair.source_client().await, gone, "0", MINUTE).await;
    sides.source(r#"SELECT pgrelay.alter_task('move', '{"topology": "two_way", "reverse": {"include": ["public.by_year"]}}')"#).await;
    sides.run().await;
    sides.peer("INSERT INTO by_year VALUES (5, 1); INSERT INTO both_ways VALUES (5, 'd')").await;
    sides.wait().await;
    let here = "SELECT count(*) FILTER (WHERE id = 5) || ' ' || (SELECT count(*) FROM by_year WHERE id = 5) FROM both_ways";
    assert_eq!([sides.source(here).await, sides.peer(here).await], ["0 1", "1 1"]);
}
