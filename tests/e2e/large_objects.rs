//! Large objects: carried when they are chosen, as they are when the copy comes to them.

use std::time::Duration;

use pgrelay_tests::pair::DB;
use pgrelay_tests::{Pair, wait_for_value, wait_until};

const MINUTE: Duration = Duration::from_secs(60);

/// Of every size: more than a batch of small ones, empty ones, some that end at a piece's end, with holes in the middle and at the end.
const OBJECTS: &str = "CREATE ROLE \"Lo Owner\"; CREATE ROLE reader;
    CREATE TABLE picture (id int PRIMARY KEY, lo oid); CREATE TABLE other (id int PRIMARY KEY);
    INSERT INTO picture SELECT n, lo_from_bytea(50000 + n, convert_to(repeat('pixel ' || n, n % 40), 'UTF8')) FROM generate_series(1, 300) n;
    SELECT lo_create(60001), lo_from_bytea(60002, decode(repeat('ab', 65536), 'hex')), lo_from_bytea(60003, decode(repeat('cd', 65535), 'hex')),
        lo_from_bytea(60004, decode(repeat('ef', 9 << 20), 'hex')), lo_from_bytea(60005, decode(repeat('01', (4 << 20) + 65536), 'hex')),
        lo_from_bytea(60006, decode('aa', 'hex'));
    SELECT lo_put(60006, 20 << 20, decode('bb', 'hex')), lo_from_bytea(60007, decode(repeat('ee', 70000), 'hex'));
    SELECT lo_put(60007, 65536 + (8 << 20) - 1, decode('00', 'hex'));
    ALTER LARGE OBJECT 60002 OWNER TO \"Lo Owner\"; GRANT SELECT ON LARGE OBJECT 60002 TO reader WITH GRANT OPTION;
    REVOKE UPDATE ON LARGE OBJECT 60003 FROM CURRENT_USER; COMMENT ON LARGE OBJECT 60004 IS 'it''s large';
    GRANT SELECT ON LARGE OBJECT 60004 TO PUBLIC;
    CREATE MATERIALIZED VIEW seen AS SELECT sum(length(lo_get(lo))) FROM picture";

const CONTENTS: &str =
    "SELECT md5(string_agg(concat_ws(' ', m.oid, md5(lo_get(m.oid)), length(lo_get(m.oid))), ',' ORDER BY m.oid)) || ' ' || count(*)
    FROM pg_largeobject_metadata m";

const METADATA: &str = "SELECT string_agg(concat_ws(' ', m.oid, pg_get_userbyid(m.lomowner), m.lomacl, obj_description(m.oid, 'pg_largeobject')), ',' ORDER BY m.oid)
    FROM pg_largeobject_metadata m";

async fn pair(sql: &str) -> Pair {
    let pair = Pair::start(sql).await;
    pair.peer.psql(DB, "CREATE ROLE \"Lo Owner\"; CREATE ROLE reader").await;
    pair
}

async fn both(pair: &Pair, sql: &str) {
    let (source, peer) = (pair.source.psql(DB, sql).await, pair.peer.psql(DB, sql).await);
    assert_eq!(source, peer, "{sql}");
}

#[tokio::test]
async fn large_objects_arrive_with_what_belongs_to_them() {
    let pair = pair(OBJECTS).await;
    pair.start_task(r#"{"large_objects": true}"#).await;
    pair.wait_for_state("running", MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
    let event = "SELECT coalesce(max(message), '') LIKE '307 large objects, % bytes, are on the peer%' FROM pgrelay.event WHERE event = 'large_objects'";
    wait_for_value(&pair.source_client().await, &format!("SELECT ({event})::text"), "true", MINUTE).await;
    both(&pair, CONTENTS).await;
    both(&pair, METADATA).await;
    let finding = "SELECT string_agg(severity || ' ' || message, '; ') FROM pgrelay.finding WHERE item IN ('large_objects', 'not_carried')";
    let finding = pair.source.psql(DB, finding).await;
    assert!(finding.contains("warning the 307 large objects are carried as they are when"), "{finding}");
}

#[tokio::test]
async fn a_copy_that_was_killed_in_the_middle_of_a_large_object_begins_it_again() {
    let large = "SELECT lo_create(70001); SELECT lo_put(70002 - 1, n << 20, decode(repeat(to_hex(16 + n % 200), 1 << 20), 'hex')) FROM generate_series(0, 149) n;
        SELECT lo_from_bytea(60000, 'first'), lo_from_bytea(70003, 'last'); CREATE TABLE t (id int PRIMARY KEY)";
    let mut pair = pair(large).await;
    pair.start_task(r#"{"large_objects": true, "stages": ["schema", "copy"], "throttle": {"copy_mb_per_s": 50}}"#).await;
    let partial = "SELECT coalesce((SELECT partial::text FROM pgrelay_peer.large_objects), '')";
    let peer = pair.peer_client().await;
    wait_until("a part of a large object", MINUTE, async || {
        let row = peer.query_one(partial, &[]).await.map_err(|e| e.to_string())?;
        let seen: String = row.get(0);
        if seen == "70001" { Ok(()) } else { Err(seen) }
    })
    .await;
    pair.applier.kill9();
    pair.applier.restart();
    pair.wait_for_state("finished", 2 * MINUTE).await;
    both(&pair, CONTENTS).await;
    assert_eq!(pair.peer.psql(DB, "SELECT to_regnamespace('pgrelay_peer') IS NULL").await.trim(), "t");
}

#[tokio::test]
async fn without_the_option_none_is_carried_and_a_peer_with_some_is_refused() {
    let pair = pair("SELECT lo_from_bytea(50001, 'x'); CREATE TABLE t (id int PRIMARY KEY)").await;
    pair.peer.psql(DB, "SELECT lo_from_bytea(50001, 'theirs')").await;
    pair.start_task(r#"{"large_objects": true, "stages": ["schema", "copy"]}"#).await;
    pair.wait_for_state("precheck_failed", MINUTE).await;
    pair.source.psql(DB, "SELECT pgrelay.alter_task('move', '{\"large_objects\": false}')").await;
    pair.source.psql(DB, "SELECT pgrelay.resume_task('move')").await;
    pair.wait_for_state("finished", MINUTE).await;
    assert_eq!(pair.peer.psql(DB, "SELECT convert_from(lo_get(50001), 'UTF8')").await.trim(), "theirs");
}

#[tokio::test]
async fn without_the_copy_large_objects_are_made_empty() {
    let pair = pair(OBJECTS).await;
    pair.start_task(r#"{"large_objects": true, "stages": ["schema"]}"#).await;
    pair.wait_for_state("finished", MINUTE).await;
    both(&pair, METADATA).await;
    assert_eq!(pair.peer.psql(DB, "SELECT count(*) FROM pg_largeobject").await.trim(), "0");
}

#[tokio::test]
async fn a_task_carries_no_large_object_that_its_maker_may_not_read() {
    let sql = "SELECT lo_from_bytea(50001, 'open'), lo_from_bytea(50002, 'secret'); GRANT SELECT ON LARGE OBJECT 50001 TO PUBLIC;
        CREATE ROLE dba; CREATE TABLE t (id int PRIMARY KEY); GRANT SELECT ON t TO dba";
    let pair = pair(sql).await;
    pair.source.psql(DB, "GRANT pgrelay_admin TO dba").await;
    pair.peer.psql(DB, "CREATE ROLE dba").await;
    let start = format!(
        "SET ROLE dba; SELECT pgrelay.start_task('move', '{}', options => '{{\"large_objects\": true, \"stages\": [\"schema\", \"copy\"]}}')",
        pair.peer.dsn(DB)
    );
    pair.source.psql(DB, &start).await;
    pair.wait_for_state("precheck_failed", MINUTE).await;
    let finding = pair.source.psql(DB, "SELECT string_agg(message, '; ') FROM pgrelay.finding WHERE item = 'owner_select'").await;
    assert_eq!(finding.trim(), "role \"dba\", which made the task, may not read 1 large objects");
    pair.source.psql(DB, "GRANT SELECT ON LARGE OBJECT 50002 TO dba; SELECT pgrelay.resume_task('move')").await;
    pair.wait_for_state("finished", MINUTE).await;
    both(&pair, CONTENTS).await;
}
