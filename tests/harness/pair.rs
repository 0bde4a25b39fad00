//! A source and a peer with one database `app` on each, and a task between them.

use std::time::Duration;

use tokio_postgres::Client;

use crate::applier::Applier;
use crate::cluster::{Cluster, ClusterOptions};
use crate::equal::assert_equal;
use crate::wait::{log_tails, wait_for_value, wait_until};

/// The database on both sides.
pub const DB: &str = "app";

/// The task's name.
pub const TASK: &str = "move";

/// Two servers, an applier, and the task `move` once it is started.
pub struct Pair {
    pub applier: Applier,
    pub source: Cluster,
    pub peer: Cluster,
}

impl Pair {
    /// Starts both servers, the extension on the source, and an applier. `sql` makes what the database holds.
    pub async fn start(sql: &str) -> Pair {
        Pair::start_with(sql, "", &[]).await
    }

    /// As `start`, with settings of the source, and variables of the applier's environment.
    pub async fn start_with(sql: &str, source_conf: &str, env: &[(&str, &str)]) -> Pair {
        let source = Cluster::start(ClusterOptions { name: "source".into(), package: true, conf: source_conf.into() }).await;
        let peer = Cluster::start(ClusterOptions { name: "peer".into(), ..Default::default() }).await;
        Pair::between(source, peer, sql, env).await
    }

    /// As `start`, but the peer too is a server that has the extension installed.
    pub async fn start_installed_on_both(sql: &str) -> Pair {
        let [source, peer] = ["source", "peer"].map(|name| ClusterOptions { name: name.into(), package: true, ..Default::default() });
        Pair::between(Cluster::start(source).await, Cluster::start(peer).await, sql, &[]).await
    }

    async fn between(source: Cluster, peer: Cluster, sql: &str, env: &[(&str, &str)]) -> Pair {
        source.create_db(DB).await;
        peer.create_db(DB).await;
        source.psql(DB, sql).await;
        source.psql(DB, "CREATE EXTENSION pgrelay").await;
        let applier = Applier::start_with(&source, DB, &[], env);
        let pair = Pair { applier, source, peer };
        let attached = "SELECT (count(*) > 0)::text FROM pgrelay.applier WHERE attached";
        wait_for_value(&pair.source_client().await, attached, "true", Duration::from_secs(20)).await;
        pair
    }

    /// A session on the source.
    pub async fn source_client(&self) -> Client {
        self.source.connect(DB).await
    }

    /// A session on the peer.
    pub async fn peer_client(&self) -> Client {
        self.peer.connect(DB).await
    }

    /// Starts the task with options as JSON text.
    pub async fn start_task(&self, options: &str) {
        let sql = format!("SELECT pgrelay.start_task('{TASK}', '{}', options => '{options}')", self.peer.dsn(DB));
        self.source.psql(DB, &sql).await;
    }

    /// Drops the task and gives the peer an empty database: what comes next is a first start.
    pub async fn renew(&self) {
        self.source.psql(DB, &format!("SELECT pgrelay.drop_task('{TASK}')")).await;
        let gone = "SELECT count(*)::text FROM pgrelay.task_status";
        wait_for_value(&self.source_client().await, gone, "0", Duration::from_secs(120)).await;
        self.peer.psql("postgres", &format!("DROP DATABASE {DB} WITH (FORCE)")).await;
        self.peer.create_db(DB).await;
    }

    /// Waits until the task is in a state. Panics at once when it has failed, unless that is waited for.
    pub async fn wait_for_state(&self, state: &str, deadline: Duration) {
        let sql =
            "SELECT state, coalesce(error, ''), (SELECT string_agg(concat_ws(' ', f.item, f.object, f.message), '; ' ORDER BY f.ordinal)
                     FROM pgrelay.finding f WHERE f.task = s.task AND f.severity = 'error'), pending
                     FROM pgrelay.task_status s WHERE task = $1 AND direction = 'forward'";
        let client = self.source_client().await;
        wait_until(&format!("the task to be {state}"), deadline, async || {
            let row = client.query_opt(sql, &[&TASK]).await.map_err(|e| format!("{e:?}"))?.ok_or("no task")?;
            let (seen, error, findings): (String, String, Option<String>) = (row.get(0), row.get(1), row.get(2));
            let dead = !row.get::<_, bool>(3) && ["precheck_failed", "failed", "stopped"].contains(&seen.as_str());
            if seen == state {
                return Ok(());
            }
            let seen = format!("{seen} {error} {}", findings.unwrap_or_default());
            assert!(!dead, "the task shall become {state} and is {seen}\n{}", log_tails());
            Err(seen)
        })
        .await;
    }

    /// Returns when everything committed on the source so far is visible on the peer.
    pub async fn wait_for_catchup(&self, deadline: Duration) {
        let sql = format!("SELECT pgrelay.wait_for_catchup('{TASK}', '{} seconds')", deadline.as_secs());
        if let Err(error) = self.source.try_psql(DB, &sql).await {
            panic!("wait_for_catchup: {error}\n{}", log_tails());
        }
    }

    /// Everything of both sides equal, once caught up.
    pub async fn assert_equal_after_catchup(&self, deadline: Duration) {
        self.wait_for_catchup(deadline).await;
        assert_equal(&self.source_client().await, &self.peer_client().await).await;
    }

    /// The task's row of `task_status` as JSON, for messages.
    pub async fn status(&self) -> String {
        self.source.psql(DB, "SELECT to_jsonb(t) FROM pgrelay.task_status t").await
    }
}
