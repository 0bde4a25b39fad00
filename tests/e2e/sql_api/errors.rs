//! Every bad input is refused with SQLSTATE and hint, and nothing has changed.

use crate::{error_of, source, value};

/// What pgrelay holds, to compare before and after.
const CONTENTS: &str = "SELECT (SELECT coalesce(jsonb_agg(t), '[]') FROM pgrelay.task t)::text
    || (SELECT coalesce(jsonb_agg(e), '[]') FROM pgrelay.task_event e)::text
    || (SELECT count(*) FROM pgrelay.request)::text";

/// Statement, SQLSTATE, part of the message, part of the hint.
const CASES: &[(&str, &str, &str, &str)] = &[
    // NULL where a value is needed.
    ("start_task(NULL)", "22023", "argument \"name\" is NULL", "Give a value"),
    ("pause_task(NULL)", "22023", "argument \"name\" is NULL", ""),
    ("resume_task(NULL)", "22023", "argument \"name\" is NULL", ""),
    ("stop_task(NULL)", "22023", "argument \"name\" is NULL", ""),
    ("drop_task(NULL)", "22023", "argument \"name\" is NULL", ""),
    ("drop_task('there', NULL)", "22023", "argument \"force\" is NULL", ""),
    ("alter_task('there', NULL)", "22023", "argument \"options\" is NULL", ""),
    ("create_task(NULL, 'host=db2')", "22023", "argument \"name\" is NULL", ""),
    ("create_task('new', NULL)", "22023", "argument \"peer\" is NULL", ""),
    ("create_task('new', 'host=db2', NULL)", "22023", "argument \"include\" is NULL", ""),
    ("create_task('new', 'host=db2', '{shop.*,NULL}')", "22023", "argument \"include\" holds NULL", ""),
    ("create_task('new', 'host=db2', exclude => NULL)", "22023", "argument \"exclude\" is NULL", ""),
    ("create_task('new', 'host=db2', options => NULL)", "22023", "argument \"options\" is NULL", ""),
    ("start_task('new', NULL)", "22023", "argument \"peer\" is NULL", ""),
    ("wait_for_state(NULL, 'running')", "22023", "argument \"name\" is NULL", ""),
    ("wait_for_state('there', NULL)", "22023", "argument \"state\" is NULL", ""),
    ("wait_for_state('there', 'running', NULL)", "22023", "argument \"timeout\" is NULL", ""),
    ("wait_for_catchup(NULL)", "22023", "argument \"name\" is NULL", ""),
    ("precheck(NULL)", "22023", "argument \"name\" is NULL", ""),
    ("set_conflict_policy(NULL, 'fail')", "22023", "argument \"name\" is NULL", ""),
    ("set_conflict_policy('there', NULL)", "22023", "argument \"policy\" is NULL", ""),
    ("skip_transaction(NULL, '0/1')", "22023", "argument \"name\" is NULL", ""),
    ("skip_transaction('there', NULL)", "22023", "argument \"commit_lsn\" is NULL", ""),
    // Names.
    ("create_task('', 'host=db2')", "22023", "name cannot be used", "1 to 63 bytes"),
    ("create_task(repeat('ü', 32), 'host=db2')", "22023", "name cannot be used", "1 to 63 bytes"),
    ("create_task(E'a\\nb', 'host=db2')", "22023", "name cannot be used", "control"),
    ("create_task('there', 'host=db2')", "42710", "task \"there\" exists already", "drop_task"),
    ("start_task('there', 'host=db2')", "42710", "task \"there\" exists already", ""),
    // Unknown tasks.
    ("start_task('nope')", "42704", "task \"nope\" does not exist", "task_status"),
    ("pause_task('nope')", "42704", "task \"nope\" does not exist", ""),
    ("resume_task('nope')", "42704", "task \"nope\" does not exist", ""),
    ("stop_task('nope')", "42704", "task \"nope\" does not exist", ""),
    ("drop_task('nope')", "42704", "task \"nope\" does not exist", ""),
    ("alter_task('nope', '{}')", "42704", "task \"nope\" does not exist", ""),
    ("precheck('nope')", "42704", "task \"nope\" does not exist", ""),
    ("wait_for_state('nope', 'running')", "42704", "task \"nope\" does not exist", ""),
    ("wait_for_catchup('nope')", "42704", "task \"nope\" does not exist", ""),
    ("set_conflict_policy('nope', 'fail')", "42704", "task \"nope\" does not exist", "task_status"),
    ("skip_transaction('nope', '0/1')", "42704", "task \"nope\" does not exist", "task_status"),
    // Peers.
    ("create_task('new', 'host=db2 password=s3cret')", "22023", "password", ".pgpass"),
    ("create_task('new', 'postgresql://joe:s3cret@db2/app')", "22023", "password", ".pgpass"),
    ("create_task('new', 'postgresql://db2/app?password=s3cret')", "22023", "password", ".pgpass"),
    ("create_task('new', 'host=db2 sslkey=/root/key')", "22023", "sslkey", ""),
    ("create_task('new', 'nosuchserver')", "42704", "foreign server \"nosuchserver\" does not exist", "connection string"),
    ("create_task('new', '')", "22023", "neither a connection string", "connection string"),
    // Patterns.
    ("create_task('new', 'host=db2', '{}')", "22023", "include selects nothing", "at least one"),
    ("create_task('new', 'host=db2', '{shop}')", "22023", "\"shop\" is not a pattern", "schema.table"),
    ("create_task('new', 'host=db2', '{shop.*;}')", "22023", "is not a pattern", "schema.table"),
    ("create_task('new', 'host=db2', '{nope.*}')", "42704", "pattern \"nope.*\" matches no table", "schema.table"),
    ("create_task('new', 'host=db2', '{shop.*,shop.nope}')", "42704", "pattern \"shop.nope\" matches no table", ""),
    ("create_task('new', 'host=db2', '{public.Odd}')", "42704", "pattern \"public.Odd\" matches no table", "double-quoted"),
    ("create_task('new', 'host=db2', '{empty.*}')", "42704", "matches no table", ""),
    ("create_task('new', 'host=db2', '{pgrelay.*}')", "42704", "matches no table", ""),
    ("create_task('new', 'host=db2', '{pg_catalog.pg_class}')", "42704", "matches no table", ""),
    ("create_task('new', 'host=db2', '{shop.*}', '{shop.*}')", "22023", "exclude leaves no table", ""),
    ("create_task('new', 'host=db2', exclude => '{shop}')", "22023", "\"shop\" is not a pattern", ""),
    // Options.
    ("create_task('new', 'host=db2', options => '{\"copyjobs\": 1}')", "22023", "unknown option \"copyjobs\"", "copy_jobs"),
    ("create_task('new', 'host=db2', options => '{\"copy_jobs\": 0}')", "22023", "\"copy_jobs\"", "1 to 64"),
    ("create_task('new', 'host=db2', options => '[]')", "22023", "not a JSON object", ""),
    ("create_task('new', 'host=db2', options => '{\"topology\": \"star\"}')", "22023", "\"topology\"", "two_way"),
    (
        "create_task('new', 'host=db2', options => '{\"topology\": \"two_way\", \"stages\": [\"schema\"]}')",
        "22023",
        "without the stage stream",
        "stages",
    ),
    ("pause_task('there', 'both')", "22023", "\"both\" is not a direction", "forward and reverse"),
    ("pause_task('there', 'reverse')", "55000", "has no reverse direction", "two_way"),
    ("resume_task('there', 'reverse')", "55000", "has no reverse direction", "two_way"),
    ("wait_for_catchup('there', direction => 'reverse')", "55000", "has no reverse direction", "two_way"),
    ("skip_transaction('there', '0/1', 'reverse')", "55000", "has no reverse direction", "two_way"),
    ("start_task('new', 'host=db2', options => '{\"alert\": {}}')", "0A000", "\"alert\"", ""),
    ("create_task('new', 'host=db2', options => '{\"throttle\": {\"copy_mb_per_s\": 0}}')", "22023", "\"copy_mb_per_s\"", "positive"),
    ("create_task('new', 'host=db2', options => '{\"throttle\": {\"mb\": 1}}')", "22023", "unknown key \"mb\"", "copy_mb_per_s"),
    ("alter_task('there', '{\"throttle\": 5}')", "22023", "\"throttle\"", "an object"),
    ("alter_task('there', '{\"copyjobs\": null}')", "22023", "unknown option \"copyjobs\"", "copy_jobs"),
    ("alter_task('there', '{\"copyjobs\": 1}')", "22023", "unknown option \"copyjobs\"", "copy_jobs"),
    ("alter_task('there', '[]')", "22023", "not a JSON object", ""),
    ("create_task('new', 'host=db2', options => '{\"conflict_policy\": \"abort\"}')", "22023", "\"conflict_policy\"", "source_priority"),
    ("alter_task('there', '{\"conflict_retention\": 0}')", "22023", "\"conflict_retention\"", "1 to 3650"),
    // Conflicts.
    ("set_conflict_policy('there', 'abort')", "22023", "\"abort\" is not a policy", "latest_wins"),
    ("set_conflict_policy('there', 'fail', 'shop.*')", "22023", "one table or for all", "schema.table"),
    ("set_conflict_policy('there', 'fail', 'orders')", "22023", "\"orders\" is not a pattern", "schema.table"),
    ("set_conflict_policy('there', 'fail', 'shop.nope')", "42704", "table \"shop\".\"nope\" does not exist", "schema.table"),
    ("set_conflict_policy('there', 'fail', 'pgrelay.task')", "22023", "is no table of task", "dependency_order"),
    ("set_conflict_policy('there', 'fail', kind => 'insert')", "22023", "\"insert\" is not a kind", "insert_exists"),
    ("set_conflict_policy('there', 'fail', kind => 'update_missing')", "22023", "update_missing", "set_conflict_option"),
    ("set_conflict_option('there', 'strickt', 'true')", "22023", "\"strickt\" is not an option of conflicts", "strict, update_missing"),
    ("set_conflict_option('there', 'strict', 'skip')", "22023", "\"skip\" is no value of option \"strict\"", "true, false, default"),
    ("set_conflict_option('there', 'strict', NULL)", "22023", "argument \"value\" is NULL", ""),
    ("undo_conflict(NULL)", "22023", "argument \"id\" is NULL", ""),
    ("undo_conflict(7)", "42704", "conflict 7 is not recorded", "pgrelay.conflict"),
    ("interleave_sequences('there')", "55000", "no applier is attached", "pgrelay-applier run --source 'dbname=app'"),
    ("set_conflict_policy('there', 'fail', kind => 'delete_missing')", "22023", "delete_missing", "another"),
    ("set_conflict_policy('there', 'fail', direction => 'both')", "22023", "\"both\" is not a direction", "forward, reverse"),
    ("skip_transaction('there', '0/1')", "55000", "neither paused nor failed", "pause_task"),
    // States.
    ("pause_task('there')", "55000", "task \"there\" cannot be paused", "start_task"),
    ("resume_task('there')", "55000", "task \"there\" cannot be resumed", "start_task"),
    ("stop_task('there')", "55000", "task \"there\" cannot be stopped", "drop_task"),
    // Plans.
    ("dependency_order(NULL)", "22023", "argument \"include\" is NULL", ""),
    ("dependency_order('{shop}')", "22023", "\"shop\" is not a pattern", "schema.table"),
    ("dependency_order('{nope.*}')", "42704", "pattern \"nope.*\" matches no object", "schema.table"),
    ("schema_ddl('{shop.nope}')", "42704", "pattern \"shop.nope\" matches no object", ""),
    ("schema_ddl('{pgrelay.*}')", "42704", "matches no object", ""),
    ("schema_ddl(exclude => NULL)", "22023", "argument \"exclude\" is NULL", ""),
    ("schema_ddl(section => 'predata')", "22023", "\"predata\" is not a section", "pre_data"),
    // Waiting.
    ("wait_for_state('there', 'Running')", "22023", "\"Running\" is not a state", "catching_up"),
    ("wait_for_state('there', 'running')", "55000", "without another command", "start_task"),
    ("wait_for_state('there', 'dropped')", "55000", "without another command", ""),
    ("wait_for_state('there', 'created', '-1 s')", "22023", "timeout", ""),
    ("wait_for_catchup('there')", "55000", "without another command", ""),
    ("precheck('there')", "55000", "no applier is attached", "pgrelay-applier run --source 'dbname=app'"),
];

#[tokio::test]
async fn bad_input_is_refused_with_sqlstate_and_hint_and_changes_nothing() {
    let (_cluster, client) = source().await;
    client.batch_execute("SELECT pgrelay.create_task('there', 'host=db2 dbname=app')").await.unwrap();
    let before = value(&client, CONTENTS).await;
    for (call, sqlstate, message, hint) in CASES {
        let error = error_of(&client, &format!("SELECT * FROM pgrelay.{call}")).await;
        assert_eq!(error.code().code(), *sqlstate, "{call}: {error:?}");
        assert!(error.message().contains(message), "{call}: {error:?}");
        assert!(error.hint().is_some_and(|h| h.contains(hint)) || hint.is_empty(), "{call}: {error:?}");
        assert!(!format!("{error:?}").contains("s3cret"), "{call} shows a password");
    }
    assert_eq!(value(&client, CONTENTS).await, before);
}

#[tokio::test]
async fn a_foreign_server_is_a_peer_for_those_who_may_use_it() {
    let (_cluster, client) = source().await;
    client
        .batch_execute(
            "CREATE FOREIGN DATA WRAPPER plain; CREATE SERVER db2 FOREIGN DATA WRAPPER plain;
             CREATE ROLE dba IN ROLE pgrelay_admin;
             GRANT SELECT ON ALL TABLES IN SCHEMA shop, public TO dba; GRANT USAGE ON SCHEMA shop TO dba;
             SET ROLE dba;",
        )
        .await
        .unwrap();
    let error = error_of(&client, "SELECT pgrelay.create_task('move', 'db2')").await;
    assert_eq!(error.code().code(), "42501");
    assert!(error.hint().is_some_and(|h| h.contains("GRANT USAGE ON FOREIGN SERVER \"db2\"")), "{error:?}");
    client.batch_execute("RESET ROLE; GRANT USAGE ON FOREIGN SERVER db2 TO dba; SET ROLE dba").await.unwrap();
    client.batch_execute("SELECT pgrelay.create_task('move', 'db2')").await.unwrap();
}

#[tokio::test]
async fn options_are_altered_key_by_key() {
    let (_cluster, client) = source().await;
    client.batch_execute("SELECT pgrelay.create_task('move', 'host=db2', options => '{\"copy_jobs\": 2}')").await.unwrap();
    client.batch_execute("SELECT pgrelay.alter_task('move', '{\"keyless\": \"full\"}')").await.unwrap();
    let options = value(&client, "SELECT options::text FROM pgrelay.task").await.unwrap();
    assert_eq!(options, "{\"keyless\": \"full\", \"copy_jobs\": 2}");
    client.batch_execute("SELECT pgrelay.start_task('move')").await.unwrap();
    crate::set_state(&client, "precheck_failed", "schema").await;
    client.batch_execute("SELECT pgrelay.alter_task('move', '{\"keyless\": \"error\"}')").await.unwrap();
    crate::set_state(&client, "running", "stream").await;
    let live = r#"{"copy_jobs": 3, "retry_other_minutes": 5, "throttle": {"copy_mb_per_s": 2}}"#;
    client.batch_execute(&format!("SELECT pgrelay.alter_task('move', '{live}')")).await.unwrap();
    for fixed in [r#"{"stages": ["schema"]}"#, r#"{"keyless": "full"}"#, r#"{"not_movable": "skip"}"#] {
        let both = fixed.replace('}', ", \"copy_jobs\": 9}");
        let error = error_of(&client, &format!("SELECT pgrelay.alter_task('move', '{both}')")).await;
        assert_eq!(error.code().code(), "55000", "{fixed}");
        assert!(error.hint().is_some_and(|h| h.contains("stop_task")), "{error:?}");
    }
    client.batch_execute("SELECT pgrelay.alter_task('move', '{\"keyless\": null, \"retry_other_minutes\": null}')").await.unwrap();
    let options = value(&client, "SELECT options::text FROM pgrelay.task").await.unwrap();
    assert_eq!(options, "{\"throttle\": {\"copy_mb_per_s\": 2}, \"copy_jobs\": 3}");
    let event = value(&client, "SELECT message FROM pgrelay.event ORDER BY id DESC LIMIT 1").await.unwrap();
    assert!(event.starts_with("alter_task (keyless, retry_other_minutes) by role"), "{event}");
    crate::set_state(&client, "stopped", "schema").await;
    client.batch_execute("SELECT pgrelay.alter_task('move', '{\"stages\": [\"schema\"]}')").await.unwrap();
}
