//! `verify_schema` says how the peer's structure differs from the source's, and the DDL it gives mends the peer.

use std::time::Duration;

use pgrelay_tests::Pair;
use pgrelay_tests::pair::DB;
use pgrelay_tests::wait::wait_for_value;

const MINUTE: Duration = Duration::from_secs(60);

const OBJECTS: &str = r#"
    CREATE ROLE reader; CREATE ROLE other;
    CREATE SCHEMA shop; CREATE SCHEMA "Odd ""S.";
    CREATE TYPE shop.state AS ENUM ('new', 'done');
    CREATE SEQUENCE shop.numbers INCREMENT 2;
    CREATE TABLE shop.customer (id int PRIMARY KEY, name varchar(20) NOT NULL DEFAULT 'nobody', note text, CHECK (id > 0));
    CREATE TABLE shop.orders (id bigserial PRIMARY KEY, customer int REFERENCES shop.customer, at shop.state);
    CREATE TABLE "Odd ""S."."T É" ("C 1" int PRIMARY KEY, "d" text);
    CREATE TABLE shop.keyless (n int);
    CREATE INDEX orders_at ON shop.orders (at);
    CREATE VIEW shop.v AS SELECT id, name FROM shop.customer;
    CREATE MATERIALIZED VIEW shop.m AS SELECT count(*) FROM shop.orders;
    CREATE FUNCTION shop.f(int) RETURNS int LANGUAGE sql AS 'SELECT $1 + 1';
    CREATE FUNCTION shop.t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TRIGGER tr BEFORE INSERT ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.t();
    CREATE POLICY p ON shop.customer TO reader USING (true);
    COMMENT ON TABLE shop.customer IS 'who buys; and when'; COMMENT ON COLUMN "Odd ""S."."T É"."C 1" IS 'one';
    GRANT SELECT ON shop.customer TO reader;
    INSERT INTO shop.customer VALUES (1, 'a', 'b'), (2, 'c', 'd');"#;

/// What somebody does on the peer that he should not have done.
const HARM: &str = r#"
    DROP INDEX shop.orders_at; DROP VIEW shop.v; DROP TRIGGER tr ON shop.orders; DROP POLICY p ON shop.customer;
    ALTER TABLE shop.customer ALTER name TYPE text, ALTER name DROP NOT NULL, ALTER name SET DEFAULT 'me', DROP COLUMN note,
        ADD COLUMN more int, SET (fillfactor = 50);
    ALTER TABLE shop.orders DROP CONSTRAINT orders_customer_fkey;
    ALTER TABLE shop.orders OWNER TO other;
    COMMENT ON TABLE shop.customer IS NULL; COMMENT ON COLUMN shop.customer.more IS 'more';
    COMMENT ON SCHEMA shop IS 'extra'; REVOKE ALL ON shop.customer FROM reader; GRANT UPDATE ON shop.customer TO other;
    ALTER SEQUENCE shop.numbers INCREMENT 3; ALTER TYPE shop.state ADD VALUE 'extra';
    CREATE OR REPLACE FUNCTION shop.f(int) RETURNS int LANGUAGE sql AS 'SELECT $1 + 2';
    CREATE TABLE "Odd ""S."."Only here" (id int PRIMARY KEY, v text DEFAULT 'x', CHECK (id > 1));
    CREATE INDEX "I 1" ON "Odd ""S."."Only here" (v); CREATE FUNCTION "Odd ""S."."F"("A b" int DEFAULT 1) RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE SEQUENCE "Odd ""S."."S"; CREATE VIEW "Odd ""S."."V" AS SELECT * FROM "Odd ""S."."Only here"; CREATE TYPE shop.extra AS (a int);"#;

async fn differences(pair: &Pair) -> String {
    pair.source.psql(DB, "SELECT kind, identity, difference, fix FROM pgrelay.verify_schema('move')").await
}

async fn count(pair: &Pair, of: &str) -> String {
    pair.source.psql(DB, &format!("SELECT count(*) FROM pgrelay.verify_schema('move') WHERE difference = '{of}'")).await
}

/// Runs every fix on the peer, in the order given.
async fn mend(pair: &Pair) {
    let fixes = "SELECT string_agg(fix, E'\\n') FROM pgrelay.verify_schema('move')";
    let fixes = pair.source.psql(DB, fixes).await;
    if let Err(error) = pair.peer.try_psql(DB, &format!("SET session_replication_role = replica;\n{fixes}")).await {
        panic!("{error}\n{fixes}");
    }
}

async fn start(sql: &str, options: &str, state: &str) -> Pair {
    let pair = Pair::start(sql).await;
    pair.peer.psql(DB, "CREATE ROLE reader; CREATE ROLE other").await;
    pair.start_task(options).await;
    pair.wait_for_state(state, MINUTE).await;
    pair
}

#[tokio::test]
async fn a_moved_database_has_no_difference_in_any_state() {
    let pair = Pair::start(include_str!("../fixtures/schema_rich.sql")).await;
    // Roles belong to the server.
    let roles = "SELECT string_agg(format('CREATE ROLE %I;', rolname), ' ') FROM pg_roles WHERE rolname !~ '^pg' AND rolname <> 'postgres'";
    let roles = pair.source.psql(DB, roles).await;
    pair.peer.psql(DB, &roles).await;
    pair.start_task(r#"{"keyless": "full"}"#).await;
    pair.wait_for_state("running", MINUTE).await;
    assert_eq!(differences(&pair).await, "", "running");
    pair.source.psql(DB, "SELECT pgrelay.pause_task('move')").await;
    pair.wait_for_state("paused", MINUTE).await;
    assert_eq!(differences(&pair).await, "", "paused");
    pair.source.psql(DB, "SELECT pgrelay.stop_task('move')").await;
    pair.wait_for_state("stopped", MINUTE).await;
    assert_eq!(differences(&pair).await, "", "stopped");
}

#[tokio::test]
async fn each_difference_is_named_and_its_ddl_mends_the_peer() {
    let pair = start(OBJECTS, r#"{"stages": ["schema", "copy"], "keyless": "full"}"#, "finished").await;
    assert_eq!(differences(&pair).await, "");
    pair.peer.psql(DB, HARM).await;
    let found = pair.source.psql(DB, "SELECT difference || ' ' || identity FROM pgrelay.verify_schema('move')").await;
    for expected in [
        "missing index shop.orders_at",
        "missing view shop.v",
        "missing trigger tr on shop.orders",
        "missing policy p on shop.customer",
        "missing constraint orders_customer_fkey on shop.orders",
        "different table shop.customer",
        "different table shop.orders",
        "different schema shop",
        "different grants on TABLE shop.customer",
        "different sequence shop.numbers",
        "different type shop.state",
        "different function shop.f(integer)",
        "extra table Odd \"S..Only here",
        "extra index Odd \"S..I 1",
        "extra sequence Odd \"S..S",
        "extra view Odd \"S..V",
        "extra type shop.extra",
    ] {
        assert!(found.lines().any(|l| l == expected), "{expected}\n{found}");
    }
    assert!(found.contains("extra function Odd \"S..F("), "{found}");
    let fix = "SELECT fix FROM pgrelay.verify_schema('move') WHERE identity = 'table shop.customer'";
    let fix = pair.source.psql(DB, fix).await;
    assert!(fix.contains("TYPE character varying(20)") && !fix.contains("CREATE TABLE"), "{fix}");
    // An enum takes a value away only by being made anew, which the table that uses it forbids: said, and left to a person.
    let said = "SELECT count(*) FROM pgrelay.verify_schema('move') WHERE identity = 'type shop.state' AND fix LIKE '-- no simple ALTER%'";
    assert_eq!(pair.source.psql(DB, said).await, "1");
    pair.source.psql(DB, "ALTER TYPE shop.state ADD VALUE 'extra'").await;
    mend(&pair).await;
    assert_eq!(differences(&pair).await, "");
}

#[tokio::test]
async fn a_column_in_the_middle_takes_a_new_table_and_that_is_said() {
    let pair = start("CREATE TABLE t (a int PRIMARY KEY, b int, c int)", r#"{"stages": ["schema"]}"#, "finished").await;
    pair.peer.psql(DB, "ALTER TABLE t DROP COLUMN b, ADD COLUMN d int").await;
    let fix = pair.source.psql(DB, "SELECT fix FROM pgrelay.verify_schema('move') WHERE identity = 'table public.t'").await;
    assert!(fix.starts_with("-- no simple ALTER") && fix.contains("DROP TABLE \"public\".\"t\"") && fix.contains("CREATE TABLE"), "{fix}");
}

#[tokio::test]
async fn only_what_the_selection_takes_is_compared() {
    let pair = Pair::start(OBJECTS).await;
    pair.peer
        .psql(DB, "CREATE ROLE reader; CREATE ROLE other; CREATE TABLE own (id int); CREATE SCHEMA mine; CREATE TABLE mine.t (id int)")
        .await;
    let start =
        format!("SELECT pgrelay.start_task('move', '{}', '{{shop.*}}', options => '{{\"stages\": [\"schema\"]}}')", pair.peer.dsn(DB));
    pair.source.psql(DB, &start).await;
    pair.wait_for_state("finished", MINUTE).await;
    assert_eq!(differences(&pair).await, "");
    pair.peer.psql(DB, "CREATE TABLE mine.more (id int); CREATE VIEW shop.looks AS SELECT * FROM mine.t").await;
    let found =
        pair.source.psql(DB, "SELECT string_agg(identity, ',') FROM pgrelay.verify_schema('move') WHERE difference = 'extra'").await;
    assert!(found.starts_with("view shop.looks") && !found.contains("mine.more"), "{found}");
}

#[tokio::test]
async fn what_the_task_has_not_come_to_is_later_and_no_difference() {
    let pair = Pair::start(OBJECTS).await;
    pair.peer.psql(DB, "CREATE ROLE reader; CREATE ROLE other").await;
    // A transaction that holds a transaction id keeps the slot, and with it everything after the rows, waiting.
    let holds = pair.source_client().await;
    holds.batch_execute("BEGIN; SELECT pg_current_xact_id()").await.expect("begin");
    pair.start_task(r#"{"keyless": "full"}"#).await;
    pair.wait_for_state("copying", MINUTE).await;
    let client = pair.peer_client().await;
    wait_for_value(&client, "SELECT pre_data_done::text FROM pgrelay_peer.task", "true", MINUTE).await;
    for (difference, expected) in [("missing", "0"), ("different", "0"), ("extra", "0")] {
        assert_eq!(count(&pair, difference).await, expected, "{difference}: {}", differences(&pair).await);
    }
    let later = "SELECT bool_and(fix IS NULL) AND bool_or(identity = 'index shop.orders_at') FROM pgrelay.verify_schema('move')";
    assert_eq!(pair.source.psql(DB, later).await, "t", "{}", differences(&pair).await);
    holds.batch_execute("COMMIT").await.expect("commit");
    pair.wait_for_state("running", MINUTE).await;
    assert_eq!(differences(&pair).await, "");
}

#[tokio::test]
async fn rows_of_an_answer_go_away_with_the_request() {
    let pair = start("CREATE TABLE t (a int PRIMARY KEY)", r#"{"stages": ["schema"]}"#, "finished").await;
    pair.peer.psql(DB, "DROP TABLE t").await;
    assert_eq!(count(&pair, "missing").await, "2");
    pair.source.psql(DB, "UPDATE pgrelay.request SET answered_at = now() - interval '2 hours'").await;
    differences(&pair).await;
    assert_eq!(pair.source.psql(DB, "SELECT count(DISTINCT request_id) FROM pgrelay.schema_difference").await, "1");
}
