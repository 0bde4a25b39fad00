//! The visibility rule: a commit that waits for a standby is decoded before any snapshot sees it, and is neither lost nor doubled.

use std::process::Child;
use std::time::Duration;

use pgrelay_tests::pair::DB;
use pgrelay_tests::process::{TempFolder, as_client, bindir};
use pgrelay_tests::wait::{run_for, wait_until};
use pgrelay_tests::{Cluster, Pair, Writers};

const MINUTE: Duration = Duration::from_secs(60);

/// A synchronous standby that comes and goes.
struct Standby {
    folder: TempFolder,
    dsn: String,
    child: Option<Child>,
}

impl Standby {
    fn new(source: &Cluster) -> Standby {
        Standby { folder: TempFolder::new(), dsn: format!("{} application_name=standby", source.dsn("postgres")), child: None }
    }

    fn start(&mut self) {
        let mut command = as_client(&bindir().join("pg_receivewal"));
        command.args(["--synchronous", "-D"]).arg(self.folder.path()).args(["-d", &self.dsn]);
        let log = std::fs::File::create(self.folder.path().join("log.txt")).expect("create the log");
        self.child = Some(command.stderr(log).spawn().expect("start pg_receivewal"));
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        self.stop();
    }
}

#[tokio::test]
async fn commits_that_wait_for_a_standby_are_neither_lost_nor_doubled() {
    let objects: String = (1..=12)
        .map(|n| {
            format!(
                "CREATE TABLE proof_{n} (at bigint, filler text);
                 CREATE TABLE keyed_{n} (id bigserial PRIMARY KEY, changes int DEFAULT 0, filler text);
                 INSERT INTO keyed_{n} (filler) SELECT repeat('f', 300) FROM generate_series(1, 3000);"
            )
        })
        .collect();
    // One that is copied in chunks, under one snapshot after another.
    let large = "CREATE TABLE large (id bigint PRIMARY KEY, changes int DEFAULT 0, filler text);
                 INSERT INTO large SELECT n, 0, repeat('l', 500) FROM generate_series(1, 12000) n; ANALYZE large;";
    let mut pair = Pair::start(&(objects + large + "CREATE SEQUENCE counter;")).await;
    let write: String = (1..=12)
        .map(|n| {
            format!(
                "INSERT INTO proof_{n} VALUES (nextval('counter'), 'x');
                 INSERT INTO keyed_{n} (filler) VALUES ('new');
                 UPDATE keyed_{n} SET changes = changes + 1 WHERE id = 1 + (random() * 1999)::int;
                 DELETE FROM keyed_{n} WHERE id = 2001 + (random() * 1000)::int;"
            )
        })
        .chain(["UPDATE large SET changes = changes + 1, id = CASE WHEN random() < 0.3 THEN -id ELSE id END
                 WHERE id = (SELECT 1 + (random() * 11999)::int);"
            .to_owned()])
        .collect();
    // Many sessions: each may wait for the standby, and the next table's snapshot shall find some that do.
    let mut standby = Standby::new(&pair.source);
    standby.start();
    pair.source.psql("postgres", "ALTER SYSTEM SET synchronous_standby_names = 'standby'").await;
    pair.source.psql("postgres", "SELECT pg_reload_conf()").await;
    let client = pair.source_client().await;
    // Each session in a table's pair of rows only, in one order: no deadlock.
    let writers = Writers::start(&pair.source.dsn(DB), 6, Duration::from_millis(2), &write);
    pair.start_task(r#"{"keyless": "insert_only", "acknowledge_warnings": true, "copy_jobs": 2, "copy_chunk_mb": 1}"#).await;

    let mut seen_waiting = 0;
    for round in 0..40 {
        if round == 4 {
            // What is there of the large table is of an earlier snapshot than the rest will be.
            pair.applier.restart();
        }
        standby.stop();
        run_for(Duration::from_millis(250)).await;
        let row = client.query_one("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'", &[]).await.unwrap();
        seen_waiting += row.get::<_, i64>(0);
        standby.start();
        run_for(Duration::from_millis(250)).await;
        let state = pair.source.psql(DB, "SELECT state FROM pgrelay.task_status").await;
        if state == "running" {
            break;
        }
    }
    pair.wait_for_state("running", 2 * MINUTE).await;
    wait_until(
        "writers to have written",
        MINUTE,
        async || {
            if writers.committed() > 50 { Ok(()) } else { Err(writers.committed().to_string()) }
        },
    )
    .await;
    pair.source.psql("postgres", "ALTER SYSTEM RESET synchronous_standby_names").await;
    pair.source.psql("postgres", "SELECT pg_reload_conf()").await;
    writers.stop().await;
    assert!(seen_waiting > 0, "some commits have waited for the standby");
    pair.assert_equal_after_catchup(MINUTE).await;
}
