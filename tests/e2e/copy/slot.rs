//! A slot that PostgreSQL has made in a way that it cannot be read.

use std::time::Duration;

use pgrelay_tests::Pair;
use pgrelay_tests::pair::DB;
use pgrelay_tests::wait::wait_for_value;
use tokio_postgres::Client;

const MINUTE: Duration = Duration::from_secs(60);

/// Opens a transaction with an id, which is returned.
async fn open(client: &Client, sql: &str) -> String {
    client.batch_execute(&format!("BEGIN; {sql}")).await.expect("begin a transaction");
    client.query_one("SELECT pg_current_xact_id()::xid::text", &[]).await.expect("the transaction's id").get(0)
}

async fn slot_waits_for(source: &Client, xid: &str) {
    let sql = format!("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND transactionid::text = '{xid}')::text");
    wait_for_value(source, &sql, "true", MINUTE).await;
}

#[tokio::test]
async fn a_truncate_while_the_slot_is_made_loses_nothing() {
    let pair = Pair::start(
        "CREATE TABLE emptied (id int PRIMARY KEY); INSERT INTO emptied SELECT generate_series(1, 100);
         CREATE TABLE other (id int PRIMARY KEY)",
    )
    .await;
    let (first, second, third) = (pair.source_client().await, pair.source_client().await, pair.source_client().await);
    let source = pair.source_client().await;
    let xid = open(&first, "INSERT INTO other VALUES (1)").await;
    pair.start_task("{}").await;
    slot_waits_for(&source, &xid).await;
    let xid = open(&second, "INSERT INTO other VALUES (2)").await;
    pair.source.psql(DB, "TRUNCATE emptied; INSERT INTO emptied VALUES (1)").await;
    first.batch_execute("COMMIT").await.expect("commit");
    slot_waits_for(&source, &xid).await;
    // What this one writes is decoded with a view of the catalogs from before the truncate.
    open(&third, "INSERT INTO emptied VALUES (1000)").await;
    second.batch_execute("COMMIT").await.expect("commit");
    let made = "SELECT bool_or(confirmed_flush_lsn IS NOT NULL)::text FROM pg_replication_slots";
    wait_for_value(&source, made, "true", MINUTE).await;
    third.batch_execute("COMMIT").await.expect("commit");
    pair.wait_for_state("running", MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
    println!("slots made again: {}", pair.source.psql(DB, "SELECT count(*) FROM pgrelay.event WHERE event = 'slot_made_again'").await);
}
