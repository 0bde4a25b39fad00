//! A source that nobody writes to: no lag is shown, and its WAL is not held.

use std::time::Duration;

use pgrelay_tests::pair::DB;
use pgrelay_tests::wait::{wait_for_value, wait_until};
use pgrelay_tests::{Pair, Pgbench};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_idle_source_shows_no_lag_and_its_slot_advances() {
    // The source tells how far it is whenever it has nothing to send, also where no timeout makes it.
    let tables = "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 10)";
    let pair = Pair::start_with(tables, "wal_sender_timeout = 0", &[]).await;
    pair.source.create_db("other").await;
    pair.start_task("{}").await;
    pair.wait_for_state("running", MINUTE).await;

    // Another database of the same server writes WAL that has nothing for this task.
    let client = pair.source_client().await;
    let (_folder, script) = Pgbench::script("SELECT pg_logical_emit_message(true, 'noise', repeat('x', 8000));\n");
    pair.source.pgbench("other", &["-n", "-c", "1", "-t", "2000", "-f", &script]).finish(MINUTE).await;
    let written: String = client.query_one("SELECT pg_current_wal_lsn()::text", &[]).await.unwrap().get(0);

    wait_until("the slot to advance past WAL of another database", MINUTE, async || {
        let sql =
            "SELECT confirmed_flush_lsn::text, confirmed_flush_lsn >= $1::text::pg_lsn FROM pg_replication_slots WHERE database = 'app'";
        let row = client.query_one(sql, &[&written]).await.map_err(|e| e.to_string())?;
        let at: String = row.get(0);
        if row.get(1) { Ok(()) } else { Err(format!("{at}, written up to {written}")) }
    })
    .await;
    // Nor does it keep WAL of before for ever.
    wait_until("the slot to need no WAL from before that", MINUTE, async || {
        let sql = "SELECT restart_lsn::text, restart_lsn >= $1::text::pg_lsn FROM pg_replication_slots WHERE database = 'app'";
        let row = client.query_one(sql, &[&written]).await.map_err(|e| e.to_string())?;
        let at: String = row.get(0);
        if row.get(1) { Ok(()) } else { Err(format!("{at}, written up to {written}")) }
    })
    .await;
    let sql = "SELECT (coalesce(lag_bytes, 0) < 100000 AND coalesce(lag, '0') < interval '5 s' AND state = 'running')::text
                 FROM pgrelay.task_status";
    wait_for_value(&client, sql, "true", Duration::from_secs(15)).await;
}

#[tokio::test]
async fn wait_for_catchup_returns_on_an_idle_source_too() {
    let pair = Pair::start("CREATE TABLE t (id int PRIMARY KEY)").await;
    pair.start_task("{}").await;
    pair.wait_for_state("running", MINUTE).await;
    for n in 0..3 {
        pair.source.psql(DB, &format!("INSERT INTO t VALUES ({n})")).await;
        pair.wait_for_catchup(Duration::from_secs(20)).await;
        assert_eq!(pair.peer.psql(DB, "SELECT count(*) FROM t").await, (n + 1).to_string());
        pair.wait_for_catchup(Duration::from_secs(20)).await;
    }
}
