//! A dump holds the tasks, and where it is restored none of them goes on.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use pgrelay_tests::{
    Applier, Pair,
    pair::DB,
    process::{bindir, run},
    wait::wait_for_value,
};

use crate::{error_of, source, value};

#[tokio::test]
async fn a_restored_dump_keeps_the_tasks_and_runs_none() {
    let (cluster, client) = source().await;
    client
        .batch_execute(
            "SELECT pgrelay.create_task('first', 'host=db2'); SELECT pgrelay.drop_task('first');
             SELECT pgrelay.start_task('move', 'host=db2', '{shop.*}');
             SELECT pgrelay.set_conflict_policy('move', 'ignore', 'shop.orders');",
        )
        .await
        .unwrap();
    crate::set_state(&client, "running", "stream").await;
    cluster.create_db("copy").await;
    let file = cluster.socket_folder().join("dump.sql");
    let dump = Command::new(bindir().join("pg_dump")).arg("-d").arg(cluster.dsn("app")).stderr(Stdio::inherit()).output().unwrap();
    assert!(dump.status.success());
    std::fs::write(&file, dump.stdout).unwrap();
    run(Command::new(bindir().join("psql")).args(["-Xq", "-v", "ON_ERROR_STOP=1", "-d", &cluster.dsn("copy"), "-f"]).arg(&file));

    let copy = cluster.connect("copy").await;
    assert_eq!(value(&copy, "SELECT task || ' ' || desired || ' ' || state FROM pgrelay.task_status").await.unwrap(), "move run created");
    assert_eq!(value(&copy, "SELECT count(*)::text FROM pgrelay.event").await.unwrap(), "5");
    let policy = "SELECT policy FROM pgrelay.conflict_policy WHERE \"table\" = 'orders'";
    assert_eq!(value(&copy, policy).await.unwrap(), "ignore");
    for call in ["start_task('move')", "resume_task('move')"] {
        let error = error_of(&copy, &format!("SELECT pgrelay.{call}")).await;
        assert_eq!(error.message(), "task \"move\" was made in another database", "{call}");
    }
    // Names of slots are derived from the task's number: a new one is not given an old number.
    copy.batch_execute("SELECT pgrelay.create_task('new', 'host=db3', '{shop.*}')").await.unwrap();
    assert_eq!(value(&copy, "SELECT id::text FROM pgrelay.task WHERE name = 'new'").await.unwrap(), "3");
    copy.batch_execute("SELECT pgrelay.drop_task('move')").await.unwrap();
    assert_eq!(value(&copy, "SELECT string_agg(name, ',') FROM pgrelay.task").await.unwrap(), "new");
    assert_eq!(value(&client, "SELECT string_agg(name, ',') FROM pgrelay.task").await.unwrap(), "move");
}

#[tokio::test]
async fn an_applier_of_a_restored_dump_leaves_the_peer_alone() {
    const MINUTE: Duration = Duration::from_secs(60);
    let pair = Pair::start("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    pair.start_task("{}").await;
    pair.wait_for_state("running", MINUTE).await;
    pair.source.create_db("copy").await;
    let file = pair.source.socket_folder().join("dump.sql");
    let dump = Command::new(bindir().join("pg_dump")).arg("-d").arg(pair.source.dsn(DB)).stderr(Stdio::inherit()).output().unwrap();
    assert!(dump.status.success());
    std::fs::write(&file, dump.stdout).unwrap();
    run(Command::new(bindir().join("psql")).args(["-Xq", "-v", "ON_ERROR_STOP=1", "-d", &pair.source.dsn("copy"), "-f"]).arg(&file));
    pair.source.psql("copy", "INSERT INTO t VALUES (2)").await;

    let of_copy = Applier::start(&pair.source, "copy", &[]);
    let copy = pair.source.connect("copy").await;
    let stopped = "SELECT state || ': ' || error FROM pgrelay.task_status";
    wait_for_value(&copy, stopped, "stopped: this is not the database that the task was made in", MINUTE).await;
    drop(of_copy);
    // The original goes on.
    pair.source.psql(DB, "INSERT INTO t VALUES (3)").await;
    pair.assert_equal_after_catchup(MINUTE).await;
    assert_eq!(pair.peer.psql(DB, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM t").await, "1 3");
}

#[tokio::test]
async fn drop_extension_leaves_only_the_roles() {
    let (_cluster, client) = source().await;
    client.batch_execute("SELECT pgrelay.start_task('move', 'host=db2'); DROP EXTENSION pgrelay").await.unwrap();
    assert_eq!(value(&client, "SELECT count(*)::text FROM pg_namespace WHERE nspname = 'pgrelay'").await.unwrap(), "0");
    assert_eq!(value(&client, "SELECT count(*)::text FROM pg_roles WHERE rolname LIKE 'pgrelay\\_%'").await.unwrap(), "3");
    client.batch_execute("CREATE EXTENSION pgrelay").await.unwrap();
}
