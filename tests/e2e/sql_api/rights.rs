//! Who may do what: PUBLIC nothing, the three roles what their comments say.

use crate::{error_of, source, value};

const DBA: &str = "CREATE ROLE dba LOGIN IN ROLE pgrelay_admin";

#[tokio::test]
async fn public_may_do_nothing_and_monitor_may_only_read() {
    let (_cluster, client) = source().await;
    client.batch_execute("CREATE ROLE joe; CREATE ROLE ops IN ROLE pgrelay_monitor").await.unwrap();
    for view in ["task_status", "table_status", "finding", "event", "applier", "conflict", "conflict_count", "conflict_policy"] {
        let read = format!("SELECT * FROM pgrelay.{view}");
        client.batch_execute("SET ROLE joe").await.unwrap();
        assert_eq!(error_of(&client, &read).await.code().code(), "42501", "{view}");
        client.batch_execute(&format!("SET ROLE ops; {read}")).await.unwrap();
    }
    for table in ["task", "task_actual", "request", "lease", "task_event", "task_conflict", "task_policy", "task_skip"] {
        assert_eq!(error_of(&client, &format!("SELECT * FROM pgrelay.{table}")).await.code().code(), "42501", "{table}");
    }
    for call in [
        "create_task('a', 'host=db2')",
        "start_task('a')",
        "drop_task('a')",
        "precheck('a')",
        "wait_for_catchup('a')",
        "set_conflict_policy('a', 'fail')",
        "skip_transaction('a', '0/1')",
    ] {
        assert_eq!(error_of(&client, &format!("SELECT pgrelay.{call}")).await.code().code(), "42501", "{call}");
    }
}

#[tokio::test]
async fn no_object_is_left_to_public_and_each_has_a_comment() {
    let (_cluster, client) = source().await;
    let open = "SELECT coalesce(string_agg(identity, ', '), 'none') FROM (
            SELECT c.oid::regclass::text AS identity, c.relacl AS acl FROM pg_class c WHERE c.relnamespace = 'pgrelay'::regnamespace
            UNION ALL SELECT p.oid::regprocedure::text, coalesce(p.proacl, acldefault('f', p.proowner)) FROM pg_proc p
            WHERE p.pronamespace = 'pgrelay'::regnamespace
            UNION ALL SELECT n.nspname, n.nspacl FROM pg_namespace n WHERE n.nspname = 'pgrelay') o,
        LATERAL aclexplode(o.acl) a WHERE a.grantee = 0";
    assert_eq!(value(&client, open).await.unwrap(), "none");
    let silent = "SELECT coalesce(string_agg(identity, ', '), 'none') FROM (
            SELECT c.oid::regclass::text AS identity, obj_description(c.oid, 'pg_class') AS comment
            FROM pg_class c WHERE c.relnamespace = 'pgrelay'::regnamespace AND c.relkind IN ('r', 'v')
            UNION ALL SELECT p.oid::regprocedure::text, obj_description(p.oid, 'pg_proc')
            FROM pg_proc p WHERE p.pronamespace = 'pgrelay'::regnamespace
            UNION ALL SELECT c.relname || '.' || a.attname, col_description(c.oid, a.attnum)
            FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
            WHERE c.relnamespace = 'pgrelay'::regnamespace AND c.relkind = 'v') o
        WHERE comment IS NULL";
    assert_eq!(value(&client, silent).await.unwrap(), "none");
}

#[tokio::test]
async fn who_creates_a_task_must_be_able_to_read_each_selected_table() {
    let (_cluster, client) = source().await;
    client.batch_execute(&format!("{DBA}; GRANT USAGE ON SCHEMA shop TO dba; GRANT SELECT ON shop.orders TO dba")).await.unwrap();
    // SET ROLE counts, not the session's user, who may read everything.
    client.batch_execute("SET ROLE dba").await.unwrap();
    let error = error_of(&client, "SELECT pgrelay.create_task('move', 'host=db2')").await;
    assert_eq!(error.code().code(), "42501");
    assert_eq!(error.message(), "permission denied for 2 tables");
    assert_eq!(error.detail(), Some("You may not SELECT from \"public\".\"Odd\", \"shop\".\"items\"."));
    client.batch_execute("SELECT pgrelay.create_task('move', 'host=db2', '{shop.*}', '{shop.items}')").await.unwrap();
    assert_eq!(value(&client, "SELECT owner::text FROM pgrelay.task_status").await.unwrap(), "dba");
    assert_eq!(error_of(&client, "DELETE FROM pgrelay.task").await.code().code(), "42501");
}

#[tokio::test]
async fn a_security_definer_function_has_the_rights_of_its_owner() {
    let (_cluster, client) = source().await;
    client.batch_execute(&format!("{DBA}; CREATE SCHEMA AUTHORIZATION dba; SET ROLE dba")).await.unwrap();
    client
        .batch_execute(
            "CREATE FUNCTION dba.trap() RETURNS text LANGUAGE sql SECURITY DEFINER
             AS $$ SELECT task FROM pgrelay.create_task('trap', 'host=evil', '{shop.*}') $$;
             RESET ROLE",
        )
        .await
        .unwrap();
    // A superuser who is brought to call it does not lend it his rights.
    assert_eq!(error_of(&client, "SELECT dba.trap()").await.code().code(), "42501");
    assert_eq!(value(&client, "SELECT count(*)::text FROM pgrelay.task").await.unwrap(), "0");
}

#[tokio::test]
async fn rows_that_a_policy_hides_are_not_carried_by_a_task() {
    let (_cluster, client) = source().await;
    client
        .batch_execute(&format!(
            "{DBA}; GRANT USAGE ON SCHEMA shop TO dba; GRANT SELECT ON ALL TABLES IN SCHEMA shop TO dba;
             ALTER TABLE shop.orders ENABLE ROW LEVEL SECURITY; SET ROLE dba"
        ))
        .await
        .unwrap();
    let error = error_of(&client, "SELECT pgrelay.create_task('move', 'host=db2', '{shop.*}')").await;
    assert_eq!((error.code().code(), error.message()), ("42501", "row-level security hides rows of 1 table"));
    client.batch_execute("RESET ROLE; ALTER ROLE dba BYPASSRLS; SET ROLE dba").await.unwrap();
    client.batch_execute("SELECT pgrelay.create_task('move', 'host=db2', '{shop.*}')").await.unwrap();
}

#[tokio::test]
async fn a_partition_may_be_read_through_its_table() {
    let (_cluster, client) = source().await;
    client
        .batch_execute(&format!(
            "{DBA}; CREATE SCHEMA parts; GRANT USAGE ON SCHEMA parts TO dba;
             CREATE TABLE parts.all_of_it (id int) PARTITION BY RANGE (id);
             CREATE TABLE parts.low PARTITION OF parts.all_of_it FOR VALUES FROM (0) TO (10);
             GRANT SELECT ON parts.all_of_it TO dba; SET ROLE dba"
        ))
        .await
        .unwrap();
    client.batch_execute("SELECT pgrelay.create_task('move', 'host=db2', '{parts.*}')").await.unwrap();
}

#[tokio::test]
async fn a_task_is_not_started_when_its_creator_has_lost_his_rights() {
    let (_cluster, client) = source().await;
    client
        .batch_execute(&format!(
            "{DBA}; GRANT USAGE ON SCHEMA shop TO dba; GRANT SELECT ON ALL TABLES IN SCHEMA shop TO dba; SET ROLE dba;
             SELECT pgrelay.create_task('move', 'host=db2', '{{shop.*}}'); RESET ROLE;
             REVOKE SELECT ON shop.items FROM dba;"
        ))
        .await
        .unwrap();
    assert_eq!(error_of(&client, "SELECT pgrelay.start_task('move')").await.code().code(), "42501");
    client.batch_execute("GRANT SELECT ON shop.items TO dba; SELECT pgrelay.start_task('move')").await.unwrap();
}

#[tokio::test]
async fn the_appliers_role_writes_what_names_it_as_writer_and_nothing_else() {
    let (_cluster, client) = source().await;
    let rights = "SELECT string_agg(privilege || ' ' || tables, '; ' ORDER BY privilege) FROM (
            SELECT privilege_type AS privilege, string_agg(table_name, ' ' ORDER BY table_name) AS tables
            FROM information_schema.role_table_grants
            WHERE grantee = 'pgrelay_applier' AND table_schema = 'pgrelay' AND privilege_type <> 'SELECT'
            GROUP BY privilege_type) r";
    let written = "applier_instance lease replica_identity table_state task_actual task_finding task_sequence";
    let expected = format!(
        "DELETE applier_instance lease replica_identity table_state task task_actual task_conflict task_conflict_count task_finding task_sequence; \
         INSERT applier_instance lease replica_identity schema_difference table_state task_actual task_conflict task_conflict_count \
         task_event task_finding task_sequence; UPDATE {written}"
    );
    assert_eq!(value(&client, rights).await.unwrap(), expected);
    client
        .batch_execute(
            "SELECT pgrelay.create_task('move', 'host=db2');
             CREATE ROLE worker IN ROLE pgrelay_applier; SET ROLE worker;
             INSERT INTO pgrelay.task_actual (task_id, state, state_since, updated_at) VALUES (1, 'running', now(), now());
             INSERT INTO pgrelay.task_event (task, writer, level, event, message) VALUES ('move', 'applier', 'info', 'state', 'x');
             UPDATE pgrelay.request SET answered_at = now();
             DELETE FROM pgrelay.task;",
        )
        .await
        .unwrap();
    for refused in [
        "UPDATE pgrelay.task SET desired = 'run'",
        "INSERT INTO pgrelay.request (task_id, kind, lsn) VALUES (1, 'catchup', '0/0')",
        "UPDATE pgrelay.request SET lsn = '0/0'",
        "UPDATE pgrelay.task_event SET message = ''",
        "SELECT pgrelay.create_task('x', 'host=db2')",
    ] {
        assert_eq!(error_of(&client, refused).await.code().code(), "42501", "{refused}");
    }
}

#[tokio::test]
async fn a_table_that_a_selected_view_needs_must_be_readable_too() {
    let (_cluster, client) = source().await;
    client
        .batch_execute(&format!(
            "{DBA}; GRANT USAGE ON SCHEMA shop TO dba; CREATE SCHEMA AUTHORIZATION dba; SET ROLE dba;
             CREATE TABLE dba.own (id int PRIMARY KEY); CREATE VIEW dba.peek AS SELECT * FROM shop.orders;"
        ))
        .await
        .unwrap();
    let error = error_of(&client, "SELECT pgrelay.create_task('move', 'host=db2', '{dba.*}')").await;
    assert_eq!((error.code().code(), error.detail()), ("42501", Some("You may not SELECT from \"shop\".\"orders\".")));
    client.batch_execute("SELECT pgrelay.create_task('move', 'host=db2', '{dba.own}')").await.unwrap();
}
