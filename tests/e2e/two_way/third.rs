//! A third server: it writes to the peer by PostgreSQL's own replication, and what it writes goes on to the source, once.

use pgrelay_tests::{
    Cluster,
    cluster::ClusterOptions,
    pair::DB,
    wait::{run_for, wait_for_value},
};

use crate::sides::{MINUTE, Sides};

#[tokio::test]
async fn what_comes_to_the_peer_by_a_subscription_goes_on_to_the_source_once() {
    let objects = "CREATE TABLE t (id int PRIMARY KEY, v text)";
    let third = Cluster::start(ClusterOptions { name: "third".into(), ..Default::default() }).await;
    third.create_db(DB).await;
    third.psql(DB, objects).await;
    third.psql(DB, "INSERT INTO t VALUES (1, 'copied'); CREATE PUBLICATION feed FOR TABLE t").await;
    let sides = Sides::start(objects, "").await;
    sides.peer(&format!("CREATE SUBSCRIPTION feed CONNECTION '{}' PUBLICATION feed", third.dsn(DB))).await;
    let come = "SELECT count(*)::text FROM t";
    wait_for_value(&sides.pair.peer_client().await, come, "1", MINUTE).await;
    third.psql(DB, "INSERT INTO t VALUES (2, 'streamed'); UPDATE t SET v = 'changed' WHERE id = 1; INSERT INTO t VALUES (3, 'x')").await;
    third.psql(DB, "DELETE FROM t WHERE id = 3").await;
    let is_there = "SELECT coalesce(string_agg(t::text, ' ' ORDER BY id), '') FROM t";
    wait_for_value(&sides.pair.peer_client().await, is_there, "(1,changed) (2,streamed)", MINUTE).await;
    sides.wait().await;
    sides.both(is_there, "(1,changed) (2,streamed)").await;
    // The copy's row, two inserts, an update and a delete; nothing goes back to the peer.
    sides.applied([0, 5]).await;

    // The other way what the source writes ends at the peer, and what it writes to a row of the third server is no conflict.
    sides.source("INSERT INTO t VALUES (4, 's'); UPDATE t SET v = v || ' s' WHERE id = 1").await;
    sides.wait().await;
    sides.both(is_there, r#"(1,"changed s") (2,streamed) (4,s)"#).await;
    sides.applied([2, 0]).await;
    assert_eq!(third.psql(DB, is_there).await, "(1,changed) (2,streamed)");
    run_for(crate::flow::quiet()).await;
    sides.applied([0, 0]).await;
    assert_eq!(sides.source("SELECT count(*) FROM pgrelay.conflict").await, "0");
    sides.peer("DROP SUBSCRIPTION feed").await;
}

#[tokio::test]
async fn what_a_third_server_writes_meanwhile_is_met_like_what_the_peer_itself_writes() {
    let objects = "CREATE TABLE t (id int PRIMARY KEY, v text)";
    let third = Cluster::start(ClusterOptions { name: "third".into(), ..Default::default() }).await;
    third.create_db(DB).await;
    third.psql(DB, objects).await;
    third.psql(DB, "INSERT INTO t VALUES (1, 'old'), (2, 'old'); CREATE PUBLICATION feed FOR TABLE t").await;
    let sides = Sides::start(objects, r#""conflict_policy": "latest_wins""#).await;
    sides.peer(&format!("CREATE SUBSCRIPTION feed CONNECTION '{}' PUBLICATION feed", third.dsn(DB))).await;
    let rows = "SELECT coalesce(string_agg(t::text, ' ' ORDER BY id), '') FROM t";
    wait_for_value(&sides.pair.source_client().await, rows, "(1,old) (2,old)", MINUTE).await;
    sides.pause().await;
    sides.source("UPDATE t SET v = 's' WHERE id = 1").await;
    third.psql(DB, "UPDATE t SET v = 'third'").await;
    wait_for_value(&sides.pair.peer_client().await, rows, "(1,third) (2,third)", MINUTE).await;
    sides.source("UPDATE t SET v = 's' WHERE id = 2").await;
    // In sets, which are looked at all at once.
    sides.source("INSERT INTO t SELECT n, 's' FROM generate_series(11, 40) n").await;
    sides.resume().await;
    sides.run().await;
    sides.wait().await;
    sides.wait().await;
    sides.both("SELECT string_agg(t::text, ' ' ORDER BY id) FROM t WHERE id < 10", "(1,third) (2,s)").await;
    let met = "forward update_origin_differs ignored, forward update_origin_differs applied, \
               reverse update_origin_differs applied, reverse update_origin_differs ignored";
    sides.recorded("t", met).await;
    sides.peer("DROP SUBSCRIPTION feed").await;
}
