//! Many transactions of both sides meet each other: they are decided in sets, and each is recorded.

use std::time::Duration;

use pgrelay_tests::{
    Pair, assert_tables_equal,
    pair::DB,
    wait::{run_for, wait_for_value},
};

use crate::sides::{MINUTE, Sides};

const OBJECTS: &str = r#"
    CREATE TYPE colour AS ENUM ('red', 'blue');
    CREATE TYPE place AS (street text, no int);
    CREATE DOMAIN far AS place;
    CREATE TABLE hot (id int PRIMARY KEY, v varchar(10), n numeric(12,4), at timestamptz, list text[], j jsonb, "odd ""name" colour, u float8,
        p place, places place[], f far);
    CREATE TABLE log (id int PRIMARY KEY, v text);
    INSERT INTO hot SELECT n, 'copied', n, now(), ARRAY['a,"', NULL], '{"a": [1.50, null]}', 'red', 0.1, ROW('a', 1)::place, '{}', NULL
        FROM generate_series(1, 300) n;"#;

/// Updates of rows and a new row for each, every one a transaction of its own.
fn updates(from: u32, to: u32, v: &str, log: u32) -> String {
    format!(
        r#"DO $$ BEGIN FOR i IN {from}..{to} LOOP
             UPDATE hot SET v = '{v}', n = n + 1, at = now(), list = list || ARRAY['{{{v}}}'], "odd ""name" = 'blue', j = NULL, u = 'NaN',
                 p = ('{v}', i), places = ARRAY[ROW('{v}', NULL)::place, NULL], f = ('{v}', NULL) WHERE id = i;
             INSERT INTO log VALUES ({log} + i, '{v}');
             COMMIT;
           END LOOP; END $$"#
    )
}

#[tokio::test]
async fn conflicts_of_many_transactions_are_decided_in_few_and_recorded_one_by_one() {
    let sides = Sides::start(OBJECTS, r#""conflict_policy": "latest_wins""#).await;
    sides.pause().await;
    sides.source(&updates(1, 200, "s", 0)).await;
    sides.peer(&updates(101, 300, "d", 1000)).await;
    sides.source(&updates(151, 200, "s again", 2000)).await;
    sides.resume().await;
    sides.run().await;
    for _ in 0..2 {
        sides.wait().await;
    }
    let rows = "SELECT string_agg(v || ' ' || first || '-' || last, ', ' ORDER BY first) FROM \
                (SELECT v, min(id) AS first, max(id) AS last FROM hot GROUP BY v, id < 125) AS r";
    sides.both(rows, "s 1-100, d 101-124, d 125-300, s again 151-200").await;
    assert_tables_equal(&sides.pair.source_client().await, &sides.pair.peer_client().await, &["public.hot", "public.log"]).await;
    sides.both("SELECT count(*) FROM log", "450").await;
    // Each update that has won counts, and no other; new rows all do.
    sides.applied([150 + 250, 150 + 200]).await;
    let transactions = "SELECT count(DISTINCT xmin::text) < 10 FROM hot WHERE id BETWEEN";
    assert_eq!(sides.source(&format!("{transactions} 101 AND 150")).await, "t", "the source's transactions for 50 of the peer");
    assert_eq!(sides.peer(&format!("{transactions} 151 AND 200")).await, "t", "the peer's transactions for 50 of the source");
    let met = "SELECT string_agg(direction || ' ' || resolution || ' ' || n, ', ' ORDER BY 1) FROM \
               (SELECT direction, resolution, count(*) AS n FROM pgrelay.conflict WHERE kind = 'update_origin_differs' AND policy = 'latest_wins' \
                GROUP BY 1, 2) AS c";
    let expected = "forward applied 50, forward ignored 100, reverse applied 50, reverse ignored 50";
    wait_for_value(&sides.pair.source_client().await, met, expected, MINUTE).await;
    each_record_tells_what_it_was(&sides).await;
    one_that_is_alone_is_weighed_too(&sides).await;
    those_that_follow_are_expected(&sides).await;
}

/// What its rows held is read with the owner's rights, and written down with pgrelay's.
#[tokio::test]
async fn conflicts_of_a_table_of_another_role_are_recorded_likewise() {
    let pair =
        Pair::start("CREATE TABLE hot (id int PRIMARY KEY, v text); INSERT INTO hot SELECT n, 'old' FROM generate_series(1, 150) n").await;
    for side in [&pair.source, &pair.peer] {
        side.psql(DB, "CREATE ROLE shop").await;
    }
    pair.source.psql(DB, "ALTER TABLE hot OWNER TO shop").await;
    let sides = Sides::start_between(pair, r#""conflict_policy": "latest_wins""#).await;
    sides.pause().await;
    let update =
        |v: &str| format!("DO $$ BEGIN FOR i IN 1..150 LOOP UPDATE hot SET v = '{v} ' || i WHERE id = i; COMMIT; END LOOP; END $$");
    sides.source(&update("s")).await;
    sides.peer(&update("d")).await;
    sides.resume().await;
    sides.run().await;
    for _ in 0..2 {
        sides.wait().await;
    }
    sides.both("SELECT count(*) FROM hot WHERE v = 'd ' || id", "150").await;
    let transactions = sides.source("SELECT count(DISTINCT xmin::text) FROM hot").await;
    assert!(transactions.parse::<u32>().expect("a number") < 10, "{transactions} transactions of the source for 150 of the peer");
    let told = "SELECT string_agg(concat_ws(' ', direction, resolution, n), ', ' ORDER BY direction) FROM (
        SELECT direction, resolution, count(*) AS n FROM pgrelay.conflict
        WHERE incoming_new->>'v' = CASE direction WHEN 'forward' THEN 's ' ELSE 'd ' END || (key->>'id')
          AND peer_rows->0->>'v' = CASE direction WHEN 'forward' THEN 'd ' ELSE 's ' END || (key->>'id')
        GROUP BY 1, 2) c";
    wait_for_value(&sides.pair.source_client().await, told, "forward ignored 150, reverse applied 150", MINUTE).await;
}

async fn one_that_is_alone_is_weighed_too(sides: &Sides) {
    sides.pause().await;
    sides.source(&updates(1, 1, "alone s", 5000)).await;
    sides.peer(&updates(1, 1, "alone d", 6000)).await;
    sides.resume().await;
    sides.run().await;
    for _ in 0..2 {
        sides.wait().await;
    }
    sides.both("SELECT v || p || places[1] || f FROM hot WHERE id = 1", r#"alone d("alone d",1)("alone d",)("alone d",)"#).await;
    let errors = "SELECT coalesce(string_agg(message, ', '), '') FROM pgrelay.event WHERE level <> 'info' OR event = 'error'";
    assert_eq!(sides.source(errors).await, "", "events that are no part of the normal course");
    let twice =
        "SELECT string_agg(message, ', ') FROM pgrelay.event WHERE event = 'applied_row_by_row' AND message !~ 'met no row|were to change'";
    assert_eq!(sides.source(twice).await, "", "what was weighed went change by change");
}

/// To read the stream again takes a while, so a conflict every other second must not lead to it each time.
async fn those_that_follow_are_expected(sides: &Sides) {
    let replayed = async || {
        sides.pause().await;
        let sum = sides.source("SELECT sum(replayed) FROM pgrelay.task_status").await;
        sides.resume().await;
        sides.run().await;
        sum.parse::<i64>().expect("a number")
    };
    let before = replayed().await;
    let writer = sides.pair.peer_client().await;
    for n in 1..=3 {
        writer.batch_execute(&format!("BEGIN; UPDATE hot SET v = 'd {n}' WHERE id = 2")).await.expect("an update");
        sides.source(&format!("UPDATE hot SET v = 's {n}' WHERE id = 2")).await;
        let held = "SELECT count(*)::text FROM pg_stat_activity WHERE application_name LIKE 'pgrelay% apply' AND wait_event_type = 'Lock'";
        wait_for_value(&sides.pair.peer_client().await, held, "1", MINUTE).await;
        writer.batch_execute("COMMIT").await.expect("a commit");
        for _ in 0..2 {
            sides.wait().await;
        }
        sides.both("SELECT v FROM hot WHERE id = 2", &format!("d {n}")).await;
        run_for(Duration::from_millis(1500)).await;
    }
    let more = replayed().await - before;
    assert!(more <= 2, "{more} times the stream was read again for three conflicts in each direction");
}

async fn each_record_tells_what_it_was(sides: &Sides) {
    // What has won is the row as it is now, in all its columns; what it met is what the other side had written; and the other way round.
    let wrong = "
        SELECT count(*) FROM pgrelay.conflict AS c JOIN hot AS h ON h.id = (c.key->>'id')::int
        WHERE NOT (
            c.key = jsonb_build_object('id', h.id) AND c.incoming_old IS NULL AND jsonb_array_length(c.peer_rows) = 1
            AND c.incoming_new ?& ARRAY['v', 'n', 'at', 'list', 'j', 'odd \"name', 'u'] AND c.peer_rows->0 ?& ARRAY['v', 'n', 'at', 'list', 'j', 'u']
            AND c.incoming_new->>'v' = CASE WHEN c.direction = 'reverse' THEN 'd' WHEN c.resolution = 'applied' THEN 's again' ELSE 's' END
            AND c.peer_rows->0->>'v' = CASE WHEN c.direction = 'forward' THEN 'd' WHEN h.id > 150 THEN 's again' ELSE 's' END
            AND CASE c.resolution WHEN 'applied' THEN c.result_row = c.incoming_new AND jsonb_populate_record(NULL::hot, c.result_row) IS NOT DISTINCT FROM h
                ELSE c.result_row IS NULL AND (c.direction = 'forward' AND h.v = 's again' OR jsonb_populate_record(NULL::hot, c.peer_rows->0) IS NOT DISTINCT FROM h) END
            AND c.operation = 'update' AND c.change_no = 1 AND c.constraints = '{}' AND c.note IS NULL
            AND (c.source_commit_ts > c.peer_commit_ts[1]) = (c.resolution = 'applied') AND cardinality(c.peer_commit_ts) = 1
            AND c.peer_origins = ARRAY[NULL]::text[])";
    assert_eq!(sides.source(wrong).await, "0", "records that tell something else");
    let distinct =
        "SELECT count(DISTINCT (direction, source_xid)) || ' ' || count(DISTINCT (direction, source_commit_lsn)) FROM pgrelay.conflict";
    assert_eq!(sides.source(distinct).await, "250 250", "transactions that the records name");
}

/// Of each the peer's row is a fifth of a megabyte. A row of the list of what has to be carried is carried at once.
#[tokio::test]
async fn records_of_wide_rows_are_carried_a_few_megabytes_at_once() {
    let objects = "CREATE TABLE wide (id int PRIMARY KEY, n int, v text); ALTER TABLE wide ALTER v SET STORAGE EXTERNAL; \
                   INSERT INTO wide SELECT n, 0, '' FROM generate_series(1, 60) n";
    let sides = Sides::start(objects, r#""conflict_policy": "latest_wins""#).await;
    sides.wait().await;
    sides.pause().await;
    sides
        .peer(
            "UPDATE wide SET v = repeat('d', 200000);
             CREATE TABLE listed (records int, bytes bigint);
             CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN INSERT INTO public.listed VALUES (cardinality(NEW.ordinals), NEW.bytes); RETURN NULL; END $$;
             CREATE TRIGGER look AFTER INSERT ON pgrelay_peer.conflict_to_carry FOR EACH ROW EXECUTE FUNCTION look();
             ALTER TABLE pgrelay_peer.conflict_to_carry ENABLE ALWAYS TRIGGER look",
        )
        .await;
    sides.source("DO $$ BEGIN FOR i IN 1..60 LOOP UPDATE wide SET n = i WHERE id = i; COMMIT; END LOOP; END $$").await;
    sides.resume().await;
    sides.run().await;
    sides.wait().await;
    sides.both("SELECT count(*) FROM wide WHERE n = id AND v = ''", "60").await;
    let told = "SELECT count(*)::text FROM pgrelay.conflict WHERE length(peer_rows->0->>'v') = 200000 AND resolution = 'applied'";
    wait_for_value(&sides.pair.source_client().await, told, "60", MINUTE).await;
    let listed = "SELECT concat_ws(' ', sum(records), max(bytes) < 4500000, max(records) > 1) FROM listed";
    assert_eq!(sides.peer(listed).await, "60 t t", "{}", sides.peer("SELECT * FROM listed").await);
}
