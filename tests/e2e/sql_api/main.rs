//! The SQL face of the extension, without an applier: what it refuses, what it stores, who may do what, what the views say.
//!
//! Where an applier is needed a session stands in for it and writes what the applier would.

mod admin;
mod conflicts;
mod documents;
mod errors;
mod life_cycle;
mod restore;
mod rights;
mod views;
mod waiting;

use std::future::poll_fn;
use std::sync::{Arc, Mutex};

use pgrelay_tests::{Cluster, ClusterOptions};
use tokio_postgres::{AsyncMessage, Client, NoTls, error::DbError};

/// A source with a few tables and the extension.
async fn source() -> (Cluster, Client) {
    source_with("").await
}

async fn source_with(conf: &str) -> (Cluster, Client) {
    let cluster = Cluster::start(ClusterOptions { name: "source".into(), conf: conf.into(), package: true }).await;
    cluster.create_db("app").await;
    let client = cluster.connect("app").await;
    client
        .batch_execute(
            "CREATE EXTENSION pgrelay;
             CREATE SCHEMA shop;
             CREATE TABLE shop.orders (id int PRIMARY KEY, total numeric);
             CREATE TABLE shop.items (id int PRIMARY KEY, name text);
             CREATE TABLE \"Odd\" (id int PRIMARY KEY);
             CREATE SCHEMA empty;",
        )
        .await
        .unwrap();
    (cluster, client)
}

/// The error of a statement that must fail.
async fn error_of(client: &Client, sql: &str) -> DbError {
    match client.batch_execute(sql).await {
        Ok(()) => panic!("this must fail: {sql}"),
        Err(error) => error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}")).clone(),
    }
}

/// One value as text.
async fn value(client: &Client, sql: &str) -> Option<String> {
    let row = client.query_one(sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    row.get(0)
}

/// A session together with the warnings that it is shown.
async fn connect_hearing(cluster: &Cluster, db: &str) -> (Client, Arc<Mutex<Vec<DbError>>>) {
    let (client, mut connection) = tokio_postgres::connect(&cluster.dsn(db), NoTls).await.unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = heard.clone();
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notice(notice) = message {
                hears.lock().unwrap().push(notice);
            }
        }
    });
    (client, heard)
}

/// Stands in for an applier: this session holds the lease.
async fn attach(client: &Client) {
    client
        .batch_execute(
            "INSERT INTO pgrelay.lease AS l (holder, backend_pid, backend_start, valid_until)
             SELECT gen_random_uuid(), a.pid, a.backend_start, clock_timestamp() + interval '1 h'
             FROM pg_stat_activity a WHERE a.pid = pg_backend_pid()
             ON CONFLICT (only_row) DO UPDATE
             SET holder = EXCLUDED.holder, backend_pid = EXCLUDED.backend_pid, backend_start = EXCLUDED.backend_start,
                 valid_until = EXCLUDED.valid_until;",
        )
        .await
        .unwrap();
}

/// Stands in for an applier: takes up the last command of every task and writes its state.
async fn set_state(client: &Client, state: &str, stage: &str) {
    client
        .batch_execute(&format!(
            "INSERT INTO pgrelay.task_actual (task_id, seen_serial, state, state_since, stage, updated_at)
             SELECT id, desired_serial, '{state}', now(), '{stage}', now() FROM pgrelay.task
             ON CONFLICT (task_id, direction) DO UPDATE
             SET seen_serial = EXCLUDED.seen_serial, state = EXCLUDED.state, stage = EXCLUDED.stage, updated_at = now();"
        ))
        .await
        .unwrap();
}
