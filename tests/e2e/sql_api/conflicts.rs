//! How conflicts are to be decided, what is left out, and who may see what has happened.

use tokio_postgres::Client;

use crate::{attach, error_of, set_state, source, value};

/// What counts, most general first.
const POLICIES: &str = "SELECT coalesce(string_agg(concat_ws(' ', coalesce(schema || '.' || \"table\", '-'), coalesce(kind, '-'),
    coalesce(direction, '-'), policy), '; ' ORDER BY schema NULLS FIRST, \"table\", kind NULLS FIRST, direction NULLS FIRST), '')
    FROM pgrelay.conflict_policy WHERE task = 'move'";

/// Records of conflicts, as the applier writes them.
async fn record(client: &Client, table: &str) {
    let sql = format!(
        "INSERT INTO pgrelay.task_conflict (task_id, record, table_oid, direction, detected_at, schema_name, table_name, operation, kind,
             constraints, policy, resolution, source_xid, source_commit_lsn, source_commit_ts, change_no, peer_rows, peer_origins, peer_commit_ts)
         SELECT id, gen_random_uuid(), to_regclass('{table}'), 'forward', now(), split_part('{table}', '.', 1), split_part('{table}', '.', 2),
             'insert', 'insert_exists', '{{}}', 'ignore', 'ignored', '7', '0/16', now(), 1, '[]', '{{}}', '{{}}' FROM pgrelay.task"
    );
    client.batch_execute(&sql).await.unwrap();
}

#[tokio::test]
async fn a_policy_is_set_for_all_for_some_and_taken_back() {
    let (cluster, client) = source().await;
    client.batch_execute("SELECT pgrelay.create_task('move', 'host=db2', '{shop.*}', options => '{\"copy_jobs\": 2}')").await.unwrap();
    assert_eq!(value(&client, POLICIES).await.unwrap(), "- - - fail");
    let set = async |arguments: &str| {
        value(&client, &format!("SELECT message FROM pgrelay.set_conflict_policy('move', {arguments})")).await.unwrap()
    };
    set("'overwrite'").await;
    set("'ignore', 'shop.orders'").await;
    set("'latest_wins', 'shop.orders', 'update_exists'").await;
    set("'source_priority', direction => 'reverse'").await;
    // The same once more is another value, not another row.
    set("'fail', \"table\" => 'SHOP.orders'").await;
    let all = "- - - overwrite; - - reverse source_priority; shop.orders - - fail; shop.orders update_exists - latest_wins";
    assert_eq!(value(&client, POLICIES).await.unwrap(), all);
    let options = "SELECT options::text FROM pgrelay.task";
    assert_eq!(value(&client, options).await.unwrap(), "{\"copy_jobs\": 2, \"conflict_policy\": \"overwrite\"}");
    let events = "SELECT string_agg(message, '; ' ORDER BY id) FROM pgrelay.event WHERE message LIKE 'set_conflict%orders%update_exists%'";
    assert_eq!(
        value(&client, events).await.unwrap(),
        "set_conflict_policy (latest_wins, table \"shop\".\"orders\", kind update_exists) by role \"postgres\""
    );

    // Taken back, also for a table that is gone.
    client.batch_execute("DROP TABLE shop.orders").await.unwrap();
    set("'default', 'shop.orders', 'update_exists'").await;
    set("'default', 'shop.orders'").await;
    set("'default'").await;
    assert_eq!(value(&client, POLICIES).await.unwrap(), "- - - fail; - - reverse source_priority");
    assert_eq!(value(&client, options).await.unwrap(), "{\"copy_jobs\": 2}");
    assert!(set("'default', 'shop.items'").await.starts_with("Nothing to take back"));

    // The applier hears of it at once.
    let applier = cluster.connect("app").await;
    attach(&applier).await;
    client.batch_execute("SELECT pgrelay.start_task('move')").await.unwrap();
    set_state(&client, "running", "stream").await;
    assert!(set("'ignore'").await.starts_with("Counts from the next transaction on"));
}

#[tokio::test]
async fn a_policy_is_set_only_for_what_the_task_carries() {
    let (_cluster, client) = source().await;
    client
        .batch_execute(
            "CREATE SCHEMA need; CREATE VIEW need.these AS SELECT * FROM shop.orders; CREATE TABLE need.own (id int PRIMARY KEY);
             SELECT pgrelay.create_task('move', 'host=db2', '{need.*}')",
        )
        .await
        .unwrap();
    for (table, sqlstate, message) in [
        ("shop.items", "22023", "table \"shop\".\"items\" is no table of task \"move\""),
        ("need.these", "42704", "table \"need\".\"these\" does not exist"),
        ("need.nope", "42704", "table \"need\".\"nope\" does not exist"),
    ] {
        let error = error_of(&client, &format!("SELECT pgrelay.set_conflict_policy('move', 'ignore', '{table}')")).await;
        assert_eq!((error.code().code(), error.message()), (sqlstate, message));
    }
    // It comes along, since the view needs it.
    client.batch_execute("SELECT pgrelay.set_conflict_policy('move', 'ignore', 'shop.orders')").await.unwrap();
    assert_eq!(value(&client, POLICIES).await.unwrap(), "- - - fail; shop.orders - - ignore");
}

#[tokio::test]
async fn an_option_of_conflicts_is_set_for_all_for_some_and_taken_back() {
    let (_cluster, client) = source().await;
    client.batch_execute("SELECT pgrelay.create_task('move', 'host=db2', '{shop.*}')").await.unwrap();
    let options =
        "SELECT string_agg(concat_ws(' ', coalesce(schema || '.' || \"table\", '-'), coalesce(direction, '-'), option, value), '; '
        ORDER BY option, schema NULLS FIRST, \"table\", direction NULLS FIRST) FROM pgrelay.conflict_option WHERE task = 'move'";
    assert_eq!(value(&client, options).await.unwrap(), "- - strict false; - - update_missing insert");
    let set = async |arguments: &str| {
        value(&client, &format!("SELECT message FROM pgrelay.set_conflict_option('move', {arguments})")).await.unwrap()
    };
    set("'strict', 'true'").await;
    set("'strict', 'false', 'shop.orders'").await;
    set("'update_missing', 'skip', direction => 'reverse'").await;
    set("'update_missing', 'skip', 'shop.orders'").await;
    set("'update_missing', 'fail', 'shop.orders'").await;
    let all = "- - strict true; shop.orders - strict false; \
               - - update_missing insert; - reverse update_missing skip; shop.orders - update_missing fail";
    assert_eq!(value(&client, options).await.unwrap(), all);
    let events = "SELECT string_agg(message, '; ' ORDER BY id) FROM pgrelay.event WHERE message LIKE 'set_conflict_option%fail%'";
    assert_eq!(
        value(&client, events).await.unwrap(),
        "set_conflict_option (update_missing = fail, table \"shop\".\"orders\") by role \"postgres\""
    );
    let tasks = include_str!("../../../sql/store/tasks.sql");
    let read = format!(
        "SELECT string_agg(o::text, '; ' ORDER BY o::text COLLATE \"C\") FROM ({tasks}) t, jsonb_array_elements(t.conflict_options) o"
    );
    let read = value(&client, &read).await.unwrap().replace([' ', '"'], "");
    assert_eq!(read, "[shop,orders,strict,null,false];[shop,orders,update_missing,null,fail];[null,null,update_missing,reverse,skip]");

    client.batch_execute("DROP TABLE shop.orders").await.unwrap();
    set("'update_missing', 'default', 'shop.orders'").await;
    set("'strict', 'default', 'shop.orders'").await;
    set("'strict', 'default'").await;
    assert_eq!(value(&client, options).await.unwrap(), "- - strict false; - - update_missing insert; - reverse update_missing skip");
    assert!(set("'strict', 'default', 'shop.items'").await.starts_with("Nothing to take back"));
    let error = error_of(&client, "SELECT pgrelay.set_conflict_option('move', 'strict', 'true', 'shop.orders')").await;
    assert_eq!(error.code().code(), "42704");
}

#[tokio::test]
async fn a_transaction_is_skipped_only_while_the_task_rests_and_the_transaction_can_still_come() {
    let (_cluster, client) = source().await;
    client.batch_execute("SELECT pgrelay.start_task('move', 'host=db2')").await.unwrap();
    let position = value(&client, "SELECT pg_current_wal_lsn()::text").await.unwrap();
    client.batch_execute("INSERT INTO shop.orders VALUES (1, 1)").await.unwrap();
    let skip = format!("SELECT message FROM pgrelay.skip_transaction('move', '{position}')");
    for state in ["running", "retrying", "stopped"] {
        set_state(&client, state, "stream").await;
        let error = error_of(&client, &skip).await;
        assert_eq!((error.code().code(), error.message()), ("55000", "task \"move\" is neither paused nor failed"), "{state}");
    }
    set_state(&client, "failed", "stream").await;
    assert!(value(&client, &skip).await.unwrap().contains("resume_task"));
    assert!(value(&client, &skip).await.unwrap().contains("already"));
    let skips = "SELECT string_agg(concat_ws(' ', direction, commit_lsn, requested_by), '; ') FROM pgrelay.task_skip";
    assert_eq!(value(&client, skips).await.unwrap(), format!("forward {position} postgres"));
    let events = "SELECT count(*)::text FROM pgrelay.event WHERE message LIKE 'skip_transaction (%) by role \"postgres\"'";
    assert_eq!(value(&client, events).await.unwrap(), "1");

    // Not what is not written yet, nor what is applied.
    let error = error_of(&client, "SELECT pgrelay.skip_transaction('move', 'F0000000/0')").await;
    assert_eq!((error.code().code(), error.message()), ("22023", "no transaction has been committed at F0000000/0 yet"));
    client.batch_execute("UPDATE pgrelay.task_actual SET applied_lsn = pg_current_wal_lsn()").await.unwrap();
    let error = error_of(&client, &skip).await;
    assert!(error.message().ends_with("is applied already"), "{error:?}");
    assert_eq!(error_of(&client, "SELECT pgrelay.skip_transaction('move', NULL)").await.message(), "argument \"commit_lsn\" is NULL");
}

#[tokio::test]
async fn a_record_shows_only_to_who_may_read_all_of_its_table() {
    let (_cluster, client) = source().await;
    client
        .batch_execute(
            "CREATE SCHEMA parts; CREATE TABLE parts.whole (id int) PARTITION BY RANGE (id);
             CREATE TABLE parts.low PARTITION OF parts.whole FOR VALUES FROM (0) TO (10);
             CREATE TABLE shop.gone (id int); CREATE TABLE shop.hidden (id int); CREATE TABLE shop.part (id int, secret int);
             SELECT pgrelay.create_task('move', 'host=db2')",
        )
        .await
        .unwrap();
    for table in ["shop.orders", "shop.items", "parts.low", "shop.gone", "shop.hidden", "shop.part"] {
        record(&client, table).await;
    }
    client
        .batch_execute(
            "DROP TABLE shop.gone; ALTER TABLE shop.hidden ENABLE ROW LEVEL SECURITY;
             CREATE ROLE ops IN ROLE pgrelay_monitor; CREATE ROLE outsider;
             GRANT USAGE ON SCHEMA shop, parts TO ops, outsider; GRANT SELECT ON shop.orders, shop.hidden, parts.whole TO ops, outsider;
             GRANT SELECT (id) ON shop.part TO ops",
        )
        .await
        .unwrap();
    let seen = "SELECT string_agg(schema || '.' || \"table\", ' ' ORDER BY id) FROM pgrelay.conflict";
    assert_eq!(value(&client, seen).await.unwrap(), "shop.orders shop.items parts.low shop.gone shop.hidden shop.part", "whoever owns all");
    client.batch_execute("SET ROLE ops").await.unwrap();
    assert_eq!(value(&client, seen).await.unwrap(), "shop.orders parts.low");
    // No condition of a query gets to see more, however cheap it is.
    let tell = "CREATE FUNCTION public.tell(text) RETURNS bool COST 0.0001 LANGUAGE plpgsql AS
                $$BEGIN IF $1 NOT IN ('orders', 'low') THEN RAISE 'it sees %', $1; END IF; RETURN true; END$$";
    client.batch_execute(&format!("RESET ROLE; {tell}; SET ROLE ops")).await.unwrap();
    assert_eq!(value(&client, &format!("{seen} WHERE public.tell(\"table\")")).await.unwrap(), "shop.orders parts.low");
    client.batch_execute("RESET ROLE; REVOKE USAGE ON SCHEMA shop FROM ops; SET ROLE ops").await.unwrap();
    assert_eq!(value(&client, seen).await.unwrap(), "parts.low");
    assert_eq!(error_of(&client, "SELECT FROM pgrelay.task_conflict").await.code().code(), "42501");
    client.batch_execute("RESET ROLE; SET ROLE outsider").await.unwrap();
    assert_eq!(error_of(&client, seen).await.code().code(), "42501");
    // The records go with the task.
    client.batch_execute("RESET ROLE; SELECT pgrelay.drop_task('move')").await.unwrap();
    assert_eq!(value(&client, "SELECT count(*)::text FROM pgrelay.task_conflict").await.unwrap(), "0");
}

#[tokio::test]
async fn the_applier_reads_policies_for_each_partition_and_what_is_left_out() {
    let (_cluster, client) = source().await;
    client
        .batch_execute(
            "CREATE SCHEMA parts; CREATE TABLE parts.whole (id int) PARTITION BY RANGE (id);
             CREATE TABLE parts.low PARTITION OF parts.whole FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (id);
             CREATE TABLE parts.lowest PARTITION OF parts.low FOR VALUES FROM (0) TO (5);
             CREATE TABLE parts.high PARTITION OF parts.whole FOR VALUES FROM (10) TO (20);
             SELECT pgrelay.create_task('move', 'host=db2');
             SELECT pgrelay.set_conflict_policy('move', 'ignore', 'parts.whole');
             SELECT pgrelay.set_conflict_policy('move', 'overwrite', 'parts.low');
             SELECT pgrelay.set_conflict_policy('move', 'fail', 'parts.whole', 'insert_exists');
             SELECT pgrelay.set_conflict_policy('move', 'latest_wins', 'shop.items', direction => 'forward');
             SELECT pgrelay.start_task('move')",
        )
        .await
        .unwrap();
    set_state(&client, "failed", "stream").await;
    client.batch_execute("SELECT pgrelay.skip_transaction('move', '0/16')").await.unwrap();
    let tasks = include_str!("../../../sql/store/tasks.sql");
    assert_eq!(value(&client, &format!("SELECT skips::text FROM ({tasks}) t")).await.unwrap(), "{0/16}");
    let policies =
        format!("SELECT string_agg(p::text, E'\\n' ORDER BY p::text COLLATE \"C\") FROM ({tasks}) t, jsonb_array_elements(t.policies) p");
    let read = value(&client, &policies).await.unwrap().replace([' ', '"'], "");
    let expected = [
        "[parts,high,insert_exists,null,fail]",
        "[parts,high,null,null,ignore]",
        "[parts,low,insert_exists,null,fail]",
        "[parts,low,null,null,overwrite]",
        "[parts,lowest,insert_exists,null,fail]",
        "[parts,lowest,null,null,overwrite]",
        "[parts,whole,insert_exists,null,fail]",
        "[parts,whole,null,null,ignore]",
        "[shop,items,null,forward,latest_wins]",
    ];
    assert_eq!(read.lines().collect::<Vec<_>>(), expected);
}
