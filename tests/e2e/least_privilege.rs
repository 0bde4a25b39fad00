//! The whole way with an ordinary role on both sides that has the rights docs/privileges.md names, and no other.

use std::time::Duration;

use pgrelay_tests::wait::{wait_for_value, wait_until};
use pgrelay_tests::{Applier, Cluster, ClusterOptions, assert_equal};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_ordinary_role_with_the_documented_rights_moves_a_database() {
    move_a_database(true).await;
}

#[tokio::test]
async fn a_role_that_may_not_use_replication_origins_moves_a_database_one_way() {
    move_a_database(false).await;
}

/// The whole way, with the rights of the document, or with all but those on replication origins.
async fn move_a_database(origins: bool) {
    let docs = include_str!("../../docs/privileges.md").split("## Rights of the applier").nth(1).expect("the section is there");
    let sql: Vec<&str> = docs.split("```sql\n").skip(1).map(|block| block.split("```").next().unwrap_or_default()).collect();
    let (source_rights, peer_rights) =
        (sql[0], if origins { sql[1] } else { sql[1].split("GRANT EXECUTE ON FUNCTION").next().unwrap_or_default() });

    let source = Cluster::start(ClusterOptions { name: "source".into(), package: true, ..Default::default() }).await;
    let peer = Cluster::start(ClusterOptions { name: "peer".into(), ..Default::default() }).await;
    for side in [&source, &peer] {
        side.create_db("app").await;
        side.psql("app", "CREATE ROLE relay LOGIN; CREATE ROLE shop_owner; CREATE ROLE reader; CREATE ROLE dba LOGIN").await;
    }
    source.psql("app", "CREATE EXTENSION pgrelay; GRANT pgrelay_admin TO dba; CREATE SCHEMA shop AUTHORIZATION shop_owner").await;
    let objects = "
        SET ROLE shop_owner;
        CREATE TYPE shop.state AS ENUM ('new', 'paid');
        CREATE TABLE shop.customer (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);
        CREATE TABLE shop.bill (id serial PRIMARY KEY, customer int REFERENCES shop.customer, state shop.state DEFAULT 'new');
        CREATE TABLE shop.seen (n int);
        CREATE VIEW shop.paid AS SELECT * FROM shop.bill WHERE state = 'paid';
        CREATE FUNCTION shop.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        CREATE TRIGGER touch BEFORE UPDATE ON shop.bill FOR EACH ROW EXECUTE FUNCTION shop.touch();
        GRANT SELECT ON shop.paid TO reader;
        INSERT INTO shop.customer (name) SELECT 'n' || n FROM generate_series(1, 500) n;
        INSERT INTO shop.bill (customer) SELECT n FROM generate_series(1, 500) n;
        INSERT INTO shop.seen SELECT generate_series(1, 100);
        RESET ROLE;
        GRANT USAGE ON SCHEMA shop TO dba; GRANT SELECT ON ALL TABLES IN SCHEMA shop TO dba;";
    source.psql("app", &(objects.to_string() + source_rights)).await;
    peer.psql("app", peer_rights).await;

    let as_role = |side: &Cluster, role: &str| side.dsn("app").replace("user=postgres", &format!("user={role}"));
    let _applier = Applier::start_for(&as_role(&source, "relay"), &[], &[]);
    let client = source.connect("app").await;
    wait_for_value(&client, "SELECT (count(*) > 0)::text FROM pgrelay.applier WHERE attached", "true", MINUTE).await;
    let start = format!(
        "SET ROLE dba; SELECT pgrelay.start_task('move', '{}', '{{shop.*}}', options => '{{\"keyless\": \"full\", \"acknowledge_warnings\": {}}}')",
        as_role(&peer, "relay"),
        !origins
    );
    source.psql("app", &start).await;
    wait_until("the task to run", MINUTE, async || {
        let sql =
            "SELECT state || coalesce(' ' || error, '') || coalesce(' ' || (SELECT string_agg(concat_ws(' ', item, object, message), '; ')
                   FROM pgrelay.finding WHERE severity = 'error'), '') FROM pgrelay.task_status";
        let seen: String = client.query_one(sql, &[]).await.map_err(|e| e.to_string())?.get(0);
        if seen == "running" { Ok(()) } else { Err(seen) }
    })
    .await;
    let marked = if origins { "true" } else { "false" };
    assert_eq!(peer.psql("app", "SELECT (count(*) > 0)::text FROM pg_replication_origin").await, marked);
    let told = "SELECT (count(*) = 0)::text FROM pgrelay.finding WHERE item = 'peer_origin_functions' AND severity = 'warning'";
    assert_eq!(source.psql("app", told).await, marked, "the precheck says so");
    let changes = "UPDATE shop.bill SET state = 'paid' WHERE id % 3 = 0; DELETE FROM shop.seen WHERE n < 10;
                   INSERT INTO shop.customer (name) SELECT 'later' FROM generate_series(1, 50); TRUNCATE shop.bill";
    source.psql("app", changes).await;
    source.psql("app", "SELECT pgrelay.wait_for_catchup('move', '1 minute')").await;
    one_session_applies(&source, &client, &peer).await;
    assert_equal(&client, &peer.connect("app").await).await;
    source.psql("app", "SELECT pgrelay.stop_task('move')").await;
    wait_for_value(&client, "SELECT state FROM pgrelay.task_status", "stopped", MINUTE).await;
    assert_eq!(peer.psql("app", "SELECT count(*) FROM pg_replication_origin").await, "0");
    assert_eq!(peer.psql("app", "SELECT count(*) FROM pg_namespace WHERE nspname = 'pgrelay_peer'").await, "0");
    assert_eq!(source.psql("app", "SELECT relreplident FROM pg_class WHERE relname = 'seen'").await, "d");
}

/// While a session holds the task's lock, as one does whose client is gone, no other applies its changes.
async fn one_session_applies(source: &Cluster, client: &tokio_postgres::Client, peer: &Cluster) {
    source.psql("app", "SELECT pgrelay.pause_task('move')").await;
    wait_for_value(client, "SELECT state FROM pgrelay.task_status", "paused", MINUTE).await;
    let zombie = peer.connect("app").await;
    zombie.batch_execute("SELECT pg_advisory_lock(hashtextextended(task_key, 0)) FROM pgrelay_peer.task").await.expect("the lock is free");
    source.psql("app", "SELECT pgrelay.resume_task('move'); INSERT INTO shop.seen VALUES (1000)").await;
    wait_for_value(client, "SELECT (error LIKE 'another session applies%')::text FROM pgrelay.task_status", "true", MINUTE).await;
    assert_eq!(peer.psql("app", "SELECT count(*) FROM shop.seen WHERE n = 1000").await, "0");
    drop(zombie);
    wait_for_value(client, "SELECT state FROM pgrelay.task_status", "running", MINUTE).await;
    source.psql("app", "SELECT pgrelay.wait_for_catchup('move', '1 minute')").await;
}
