//! The harness itself: a comparison that cannot fail proves nothing.

use std::time::Duration;

use pgrelay_tests::equal::differences;
use pgrelay_tests::wait::wait_until;
use pgrelay_tests::{Cluster, ClusterOptions, Writers, assert_equal};

async fn two_databases() -> (Cluster, tokio_postgres::Client, tokio_postgres::Client) {
    let cluster = Cluster::start(ClusterOptions::default()).await;
    for db in ["one", "two"] {
        cluster.create_db(db).await;
        cluster
            .psql(
                db,
                "CREATE SCHEMA \"Odd Name\";
                 CREATE TABLE \"Odd Name\".\"T\" (id serial PRIMARY KEY, \"Col\" text, at timestamptz DEFAULT '2024-02-29 12:00+00');
                 INSERT INTO \"Odd Name\".\"T\" (\"Col\") SELECT 'row ' || n FROM generate_series(1, 100) n;
                 CREATE TABLE keyless (v int);
                 INSERT INTO keyless VALUES (1), (1), (2), (NULL);",
            )
            .await;
    }
    let (one, two) = (cluster.connect("one").await, cluster.connect("two").await);
    (cluster, one, two)
}

#[tokio::test]
async fn equal_databases_are_equal_whatever_the_order_of_rows_and_columns() {
    let (_cluster, one, two) = two_databases().await;
    let again =
        "CREATE TABLE k2 (v int); INSERT INTO k2 VALUES (NULL), (2), (1), (1); DROP TABLE keyless; ALTER TABLE k2 RENAME TO keyless";
    two.batch_execute(again).await.unwrap();
    two.batch_execute("ALTER TABLE \"Odd Name\".\"T\" ADD x text; ALTER TABLE \"Odd Name\".\"T\" DROP COLUMN x").await.unwrap();
    two.batch_execute("SELECT nextval('\"Odd Name\".\"T_id_seq\"')").await.unwrap();
    assert_equal(&one, &two).await;
}

#[tokio::test]
async fn one_changed_row_differs() {
    let (_cluster, one, two) = two_databases().await;
    two.batch_execute("UPDATE \"Odd Name\".\"T\" SET \"Col\" = 'other' WHERE id = 50").await.unwrap();
    let found = differences(&one, &two, None).await;
    assert_eq!(found, ["table Odd Name.T: 100 rows on the source, 100 on the peer, contents differ"]);
}

#[tokio::test]
async fn a_row_too_many_a_missing_table_and_a_sequence_behind_differ() {
    let (_cluster, one, two) = two_databases().await;
    two.batch_execute("INSERT INTO keyless VALUES (1); DELETE FROM keyless WHERE v = 2").await.unwrap();
    one.batch_execute("CREATE TABLE only_here (); SELECT nextval('\"Odd Name\".\"T_id_seq\"')").await.unwrap();
    let found = differences(&one, &two, None).await;
    assert_eq!(
        found,
        [
            "table public.keyless: 4 rows on the source, 4 on the peer, contents differ",
            "table public.only_here: 0 rows on the source, missing on the peer",
            "sequence Odd Name.T_id_seq: next is 102 on the source, 101 on the peer",
        ]
    );
}

#[tokio::test]
async fn committed_rows_survive_an_immediate_restart_and_writers_go_on() {
    let mut cluster = Cluster::start(ClusterOptions { name: "source".into(), ..Default::default() }).await;
    cluster.psql("postgres", "CREATE TABLE t (n int)").await;
    let writers = Writers::start(&cluster.dsn("postgres"), 2, Duration::from_millis(1), "INSERT INTO t VALUES (1)");
    let more_than = async |n: u64| {
        wait_until("writers to commit", Duration::from_secs(20), async || {
            if writers.committed() > n { Ok(()) } else { Err(writers.committed().to_string()) }
        })
        .await
    };
    more_than(20).await;
    cluster.restart_immediate().await;
    let at_restart = writers.committed();
    more_than(at_restart + 20).await;
    let committed = writers.stop().await;
    let there: u64 = cluster.psql("postgres", "SELECT count(*) FROM t").await.parse().unwrap();
    assert!((committed..=committed + 2).contains(&there), "{committed} commits acknowledged, {there} rows");
}

#[tokio::test]
async fn pgbench_writes_until_stopped() {
    let cluster = Cluster::start(ClusterOptions::default()).await;
    cluster.pgbench("postgres", &["-i", "-q", "-s", "1"]).finish(Duration::from_secs(60)).await;
    let load = cluster.pgbench("postgres", &["-n", "-c", "2", "-T", "600"]);
    let client = cluster.connect("postgres").await;
    wait_until("pgbench to write", Duration::from_secs(20), async || {
        let n: i64 = client.query_one("SELECT count(*) FROM pgbench_history", &[]).await.unwrap().get(0);
        if n > 10 { Ok(()) } else { Err(n.to_string()) }
    })
    .await;
    load.stop().await;
}

#[tokio::test]
async fn a_server_finds_the_extension_in_the_private_package() {
    let cluster = Cluster::start(ClusterOptions { name: "source".into(), package: true, ..Default::default() }).await;
    cluster.psql("postgres", "CREATE EXTENSION pgrelay").await;
    let from = cluster.psql("postgres", "SELECT count(*) FROM pgrelay.task_status").await;
    assert_eq!(from, "0");
}
