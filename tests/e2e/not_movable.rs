//! What the peer lacks is found before anything is written there; a task then stops, or leaves it out with what depends on it.
//!
//! The peer has the same programs as the source: what it lacks is a function's symbol or library that is there on neither.

use std::time::Duration;

use pgrelay_tests::Pair;
use pgrelay_tests::pair::DB;
use pgrelay_tests::wait::{wait_for_value, wait_until};

const MINUTE: Duration = Duration::from_secs(60);

/// Functions that every server has, one whose library is gone, and what hangs on each; all under odd names too.
const OBJECTS: &str = r#"
    CREATE SCHEMA s; CREATE SCHEMA "Odd ""S.";
    CREATE FUNCTION s.plus(int, int) RETURNS int LANGUAGE internal IMMUTABLE STRICT AS 'int4pl';
    CREATE FUNCTION s.mark() RETURNS trigger LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';
    CREATE TYPE s.kilo;
    CREATE FUNCTION s.kilo_in(cstring) RETURNS s.kilo LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
    CREATE FUNCTION s.kilo_out(s.kilo) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
    CREATE TYPE s.kilo (INPUT = s.kilo_in, OUTPUT = s.kilo_out, LIKE = int4);
    CREATE TABLE s.good (id int PRIMARY KEY, weight s.kilo, n int DEFAULT s.plus(1, 2));
    INSERT INTO s.good (id, weight) VALUES (1, '5'), (2, '6');
    SET check_function_bodies = off;
    CREATE FUNCTION "Odd ""S."."Gone é"(int) RETURNS int LANGUAGE c IMMUTABLE STRICT AS '$libdir/plpgsql', 'plpgsql_call_handler';
    UPDATE pg_proc SET probin = '$libdir/no_such_library' WHERE proname = 'Gone é';
    CREATE TABLE "Odd ""S."."T 1" (id int PRIMARY KEY, n int DEFAULT 1);
    CREATE VIEW s.reads AS SELECT id FROM "Odd ""S."."T 1";
    INSERT INTO "Odd ""S."."T 1" VALUES (1);
    ALTER TABLE "Odd ""S."."T 1" ALTER n SET DEFAULT 1;
    CREATE TABLE s.parts (id int PRIMARY KEY) PARTITION BY RANGE (id);
    CREATE TABLE s.low PARTITION OF s.parts FOR VALUES FROM (0) TO (10);
    INSERT INTO s.parts VALUES (1);
"#;

/// The default calls the function only when the rows are there: the source could not run it either.
const HANGS_ON_IT: &str = r#"
    ALTER TABLE "Odd ""S."."T 1" ADD CONSTRAINT "by it" CHECK ("Odd ""S."."Gone é"(n) > 0) NOT VALID;
    CREATE VIEW s.calls AS SELECT "Odd ""S."."Gone é"(id) AS n FROM s.good;
    CREATE TABLE s.high PARTITION OF s.parts (id DEFAULT "Odd ""S."."Gone é"(1)) FOR VALUES FROM (10) TO (20);
"#;

async fn findings(pair: &Pair) -> String {
    let sql = "SELECT coalesce(string_agg(concat_ws(' | ', severity, item, object, message), E'\\n' ORDER BY ordinal), '')
               FROM pgrelay.finding WHERE severity <> 'ok'";
    pair.source.psql(DB, sql).await
}

async fn wait_for_precheck_failed(pair: &Pair) {
    let client = pair.source_client().await;
    wait_for_value(&client, "SELECT state FROM pgrelay.task_status WHERE NOT pending", "precheck_failed", MINUTE).await;
}

#[tokio::test]
async fn functions_whose_library_the_peer_has_are_carried_with_their_types() {
    let pair = Pair::start(OBJECTS).await;
    pair.source.psql(DB, r#"DROP FUNCTION "Odd ""S."."Gone é""#).await;
    pair.start_task("{}").await;
    pair.wait_for_state("running", MINUTE).await;
    pair.source.psql(DB, "INSERT INTO s.good (id, weight) VALUES (3, '7')").await;
    pair.assert_equal_after_catchup(MINUTE).await;
    assert_eq!(pair.peer.psql(DB, "SELECT s.plus(1, 2)").await, "3");
}

#[tokio::test]
async fn a_function_that_the_peer_refuses_stops_the_task_before_anything_is_written() {
    let pair = Pair::start(&format!("{OBJECTS}{HANGS_ON_IT}")).await;
    pair.start_task("{}").await;
    wait_for_precheck_failed(&pair).await;
    let found = findings(&pair).await;
    let named = found.lines().find(|l| l.contains("not_movable")).expect("a finding");
    for word in ["error", "Gone é(integer)", "no_such_library", "view s.calls", "table s.high", "\"by it\"", "T 1"] {
        let word = word.trim_matches('"');
        assert!(named.contains(word), "{word}: {found}");
    }
    assert!(!named.contains("kilo") && !named.contains("plus"), "{found}");
    let written = "SELECT count(*) FROM pg_namespace WHERE nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema', 'public')";
    assert_eq!(pair.peer.psql(DB, written).await, "0");
    assert_eq!(pair.source.psql(DB, "SELECT count(*) FROM pg_replication_slots").await, "0");
}

#[tokio::test]
async fn skip_leaves_it_out_with_what_depends_on_it_and_lists_both() {
    let mut pair = Pair::start(&format!("{OBJECTS}{HANGS_ON_IT}")).await;
    pair.start_task(r#"{"not_movable": "skip", "acknowledge_warnings": true}"#).await;
    pair.wait_for_state("running", MINUTE).await;
    let found = findings(&pair).await;
    let named = found.lines().find(|l| l.starts_with("warning | not_movable")).unwrap_or_else(|| panic!("{found}"));
    assert!(named.contains("Gone é") && named.contains("view s.calls") && named.contains("table s.high"), "{named}");
    let there = "SELECT coalesce(string_agg(c.relname, ',' ORDER BY c.relname), '') FROM pg_class c
                 WHERE c.relnamespace::regnamespace::text <> 'pgrelay_peer' AND c.relkind IN ('r', 'p', 'v') AND c.oid >= 16384";
    assert_eq!(pair.peer.psql(DB, there).await, "T 1,good,low,parts,reads");
    let published = "SELECT string_agg(tablename, ',' ORDER BY tablename) FROM pg_publication_tables";
    assert_eq!(pair.source.psql(DB, published).await, "T 1,good,low");
    // Rows for what is left out disturb nothing; those of the others go on, after a restart of the applier too.
    pair.source.psql(DB, "INSERT INTO s.high VALUES (11); INSERT INTO s.parts VALUES (2)").await;
    pair.applier.restart();
    pair.wait_for_catchup(MINUTE).await;
    assert_eq!(pair.peer.psql(DB, "SELECT string_agg(id::text, ',' ORDER BY id) FROM s.parts").await, "1,2");
    let errors = "SELECT count(*) FROM pgrelay.event WHERE event IN ('new_table', 'error')";
    assert_eq!(pair.source.psql(DB, errors).await, "0", "{}", findings(&pair).await);
}

#[tokio::test]
async fn an_extension_that_the_peer_cannot_have_is_named_with_its_dependents() {
    let pair =
        Pair::start("CREATE EXTENSION citext; CREATE TABLE c (id int PRIMARY KEY, v citext); CREATE TABLE d (id int PRIMARY KEY)").await;
    // No server offers this version, as if the peer's were older.
    pair.source.psql(DB, "UPDATE pg_extension SET extversion = '99.0' WHERE extname = 'citext'").await;
    pair.start_task("{}").await;
    wait_for_precheck_failed(&pair).await;
    let found = findings(&pair).await;
    let named = found.lines().find(|l| l.contains("not_movable")).unwrap_or_else(|| panic!("{found}"));
    assert!(named.contains("error") && named.contains("extension citext") && named.contains("table public.c"), "{named}");
    pair.source.psql(DB, "SELECT pgrelay.drop_task('move')").await;
    let client = pair.source_client().await;
    wait_for_value(&client, "SELECT count(*)::text FROM pgrelay.task_status", "0", MINUTE).await;
    pair.start_task(r#"{"not_movable": "skip"}"#).await;
    pair.wait_for_state("running", MINUTE).await;
    assert_eq!(pair.peer.psql(DB, "SELECT to_regclass('c') IS NULL AND to_regclass('d') IS NOT NULL").await, "t");
}

#[tokio::test]
async fn every_role_that_the_plan_names_must_be_there() {
    let sql =
        "CREATE TABLE t (id int PRIMARY KEY); CREATE ROLE grantee; CREATE ROLE in_policy; CREATE ROLE of_schema; CREATE ROLE of_default;
        GRANT SELECT ON t TO grantee; CREATE POLICY p ON t TO in_policy USING (true); CREATE SCHEMA o AUTHORIZATION of_schema;
        ALTER DEFAULT PRIVILEGES FOR ROLE of_default GRANT SELECT ON TABLES TO grantee";
    let pair = Pair::start(sql).await;
    pair.start_task("{}").await;
    wait_for_precheck_failed(&pair).await;
    let fixes = "SELECT string_agg(fix, ' ' ORDER BY object) FROM pgrelay.finding WHERE item = 'peer_roles' AND severity = 'error'";
    let fixes = pair.source.psql(DB, fixes).await;
    assert_eq!(
        fixes,
        "CREATE ROLE \"grantee\"; CREATE ROLE \"in_policy\"; CREATE ROLE \"of_default\"; CREATE ROLE \"of_schema\";",
        "{}",
        findings(&pair).await
    );
    pair.peer.psql(DB, &fixes).await;
    pair.source.psql(DB, "SELECT pgrelay.resume_task('move')").await;
    pair.wait_for_state("running", MINUTE).await;
}

#[tokio::test]
async fn a_failure_of_the_schema_stage_says_what_was_made_and_what_failed() {
    // Nothing on the peer is in the way, but its event trigger refuses one table of them.
    let pair = Pair::start("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int); CREATE SCHEMA refused").await;
    pair.peer
        .psql(
            DB,
            "CREATE FUNCTION public.refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF EXISTS (SELECT FROM pg_catalog.pg_event_trigger_ddl_commands() WHERE object_identity = 'refused') THEN
                     RAISE EXCEPTION 'not here' USING ERRCODE = '42501'; END IF; END $$;
             CREATE EVENT TRIGGER refuse ON ddl_command_end EXECUTE FUNCTION public.refuse(); ALTER EVENT TRIGGER refuse ENABLE ALWAYS",
        )
        .await;
    pair.start_task(r#"{"keyless": "full"}"#).await;
    let client = pair.source_client().await;
    let event = wait_until("an event of the failed stage", MINUTE, async || {
        let sql = "SELECT concat_ws(' | ', level, object, message, detail, sqlstate) FROM pgrelay.event WHERE event = 'schema_failed'";
        let row = client.query(sql, &[]).await.map_err(|e| format!("{e:?}"))?;
        row.first().map(|r| r.get::<_, String>(0)).ok_or_else(|| "none".to_string())
    })
    .await;
    assert!(event.contains("schema refused") && event.contains(" of ") && event.contains("42501"), "{event}");
    pair.peer.psql(DB, "DROP EVENT TRIGGER refuse").await;
    pair.wait_for_state("running", MINUTE).await;
    let objects = "SELECT (objects_done = objects_total AND objects_total > 3)::text FROM pgrelay.task_status";
    wait_for_value(&client, objects, "true", MINUTE).await;
}
