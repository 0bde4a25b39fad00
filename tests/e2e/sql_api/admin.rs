//! The scripts for DBAs run, on a source and on a peer, and find what they are for.

use std::path::Path;
use std::process::Command;

use pgrelay_tests::Cluster;
use pgrelay_tests::process::{bindir, run};

use crate::{set_state, source, value};

fn run_script(cluster: &Cluster, db: &str, name: &str) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sql/admin").join(name);
    let mut psql = Command::new(bindir().join("psql"));
    psql.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-d", &cluster.dsn(db), "-f"]).arg(&script);
    run(&mut psql).trim_end().to_owned()
}

#[tokio::test]
async fn every_script_runs_for_a_role_that_only_monitors() {
    let (cluster, client) = source().await;
    client.batch_execute("SELECT pgrelay.start_task('move', 'host=db2'); CREATE ROLE ops IN ROLE pgrelay_monitor").await.unwrap();
    set_state(&client, "running", "stream").await;
    client.batch_execute("ALTER DATABASE app SET role = ops").await.unwrap();
    for name in ["progress.sql", "lag.sql", "findings.sql", "orphans.sql"] {
        run_script(&cluster, "app", name);
    }
    assert!(run_script(&cluster, "app", "lag.sql").starts_with("move|catching_up|"));
}

#[tokio::test]
async fn orphans_are_listed_with_the_statement_that_removes_them_and_no_task_is() {
    let (cluster, client) = source().await;
    client.batch_execute("SELECT pgrelay.start_task('live', 'host=db2'); SELECT pgrelay.create_task('done', 'host=db2')").await.unwrap();
    set_state(&client, "stopped", "stream").await;
    client.batch_execute("SELECT pgrelay.start_task('live')").await.unwrap();
    let oid = value(&client, "SELECT oid::text FROM pg_database WHERE datname = 'app'").await.unwrap();
    for name in [format!("pgrelay_{oid}_1"), format!("pgrelay_{oid}_2"), format!("pgrelay_{oid}_11"), "other".into()] {
        client.query_one("SELECT pg_create_logical_replication_slot($1::text::name, 'pgoutput')", &[&name]).await.unwrap();
    }
    client
        .batch_execute(
            "CREATE PUBLICATION pgrelay_1; CREATE PUBLICATION pgrelay_1_insert_only; CREATE PUBLICATION pgrelay_2_insert_only;
             CREATE PUBLICATION other; SELECT pg_replication_origin_create('pgrelay_1_2_3_copy_1')",
        )
        .await
        .unwrap();
    let listed = run_script(&cluster, "app", "orphans.sql");
    let names: Vec<_> = listed.lines().map(|l| l.split('|').take(2).collect::<Vec<_>>().join(" ")).collect();
    let expected = [
        "origin pgrelay_1_2_3_copy_1".to_owned(),
        "publication pgrelay_2_insert_only".into(),
        format!("slot pgrelay_{oid}_11"),
        format!("slot pgrelay_{oid}_2"),
    ];
    assert_eq!(names, expected);
    for line in listed.lines() {
        client.batch_execute(line.rsplit('|').next().unwrap()).await.unwrap();
    }
    assert_eq!(run_script(&cluster, "app", "orphans.sql"), "");
}

#[tokio::test]
async fn orphans_are_found_on_a_peer_without_the_extension() {
    let (cluster, _client) = source().await;
    cluster.create_db("peer").await;
    let peer = cluster.connect("peer").await;
    peer.batch_execute(include_str!("../../../sql/peer/create.sql")).await.unwrap();
    assert_eq!(run_script(&cluster, "peer", "orphans.sql"), "schema|pgrelay_peer|holds no task|DROP SCHEMA pgrelay_peer CASCADE;");
    peer.batch_execute(
        "INSERT INTO pgrelay_peer.task (task_key) VALUES ('pgrelay_7_8_9'); SELECT pg_replication_origin_create('pgrelay_7_8_9')",
    )
    .await
    .unwrap();
    let listed = run_script(&cluster, "peer", "orphans.sql");
    assert!(
        listed.starts_with("origin|pgrelay_7_8_9|of task 9 in the database with oid 8 of the source with system identifier 7"),
        "{listed}"
    );
    peer.batch_execute(listed.rsplit('|').next().unwrap()).await.unwrap();
    assert!(run_script(&cluster, "peer", "orphans.sql").starts_with("schema|pgrelay_peer"));
}
