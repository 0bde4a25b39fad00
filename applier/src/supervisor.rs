//! Serves every task of one source database, as long as this applier holds the lease.
//!
//! When the connection to the source breaks, or the lease is lost, everything is dropped and begun again from what
//! stands on the servers.

use std::{collections::HashMap, sync::Arc, time::Duration};

use pgrelay_core::{
    Error, Result,
    conflict::{Direction, Rules},
    error::{Class, Kind},
    state::Desired,
    task::Options,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior},
};
use tokio_postgres::Notification;

use crate::{
    pg::{Endpoint, connect_listening, server_error},
    store::{Instance, Store, TaskRow},
    task::{self, Base, Live, Pair},
};

/// How often the tasks are looked at without a notification.
const POLL: Duration = Duration::from_secs(1);

/// How often the lease is renewed; it lasts 15 seconds.
const RENEW: Duration = Duration::from_secs(4);

/// Without a renewal in this time the lease is given up: well before another applier may take it.
const GIVE_UP: Duration = Duration::from_secs(10);

/// Longest wait before connecting again.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Serves the database until `shutdown` turns true.
///
/// Errors: only what trying again cannot mend, such as a connection string that cannot be read.
pub async fn run(source: &str, mut shutdown: watch::Receiver<bool>) -> Result<()> {
    let source = Endpoint::resolve(source, &[])?;
    let mut wait = Duration::from_millis(500);
    let mut instance = None;
    loop {
        let began = Instant::now();
        let ended = serve(&source, &mut instance, shutdown.clone()).await;
        let error = match ended {
            Ok(()) => return Ok(()),
            Err(error) if error.class() == Class::Never && error.kind != Kind::UndefinedObject => return Err(error),
            Err(error) => error,
        };
        tracing::error!(hint = error.hint, sqlstate = error.sqlstate(), "{error}");
        if began.elapsed() > Duration::from_secs(30) {
            wait = Duration::from_millis(500);
        }
        tokio::select! {
            _ = tokio::time::sleep(wait) => wait = (wait * 2).min(LONGEST_WAIT),
            _ = shutdown.wait_for(|s| *s) => return Ok(()),
        }
    }
}

/// Works until the shutdown, which gives the lease back.
async fn serve(source: &Endpoint, instance: &mut Option<Instance>, mut shutdown: watch::Receiver<bool>) -> Result<()> {
    let (store, notifications) = tokio::select! {
        attached = attach(source, instance) => attached?,
        _ = shutdown.wait_for(|s| *s) => return Ok(()),
    };
    let Some(instance) = instance else { return Ok(()) };
    tokio::select! {
        leased = await_lease(&store, instance) => leased?,
        _ = shutdown.wait_for(|s| *s) => return store.release_lease(instance).await,
    }
    tracing::info!("working: this applier holds the lease");
    let (ring, bell) = watch::channel(0);
    let base = Base { source: source.clone(), store: store.clone(), bell };
    let mut tasks = Tasks { base, running: HashMap::new(), pairs: HashMap::new(), parts: JoinSet::new() };
    let worked = tokio::select! {
        worked = tasks.work(instance, notifications, ring) => worked,
        _ = shutdown.wait_for(|s| *s) => Ok(()),
    };
    tasks.parts.shutdown().await;
    if worked.is_ok() {
        store.release_lease(instance).await?;
        tracing::info!("ended: the lease is given back");
    }
    worked
}

/// Connects, and announces this applier.
async fn attach(source: &Endpoint, instance: &mut Option<Instance>) -> Result<(Store, mpsc::UnboundedReceiver<Notification>)> {
    let (client, notifications) = connect_listening(source, "pgrelay applier", &[]).await?;
    let store = Store::new(client.into());
    check_extension(&store).await?;
    store.client().batch_execute("LISTEN pgrelay").await.map_err(|e| server_error(e, "listen on the source"))?;
    let known = match instance.take() {
        Some(known) => known,
        None => introduce(&store).await?,
    };
    store.register(&known).await?;
    *instance = Some(known);
    tracing::info!(source = source.describe(), "attached");
    Ok((store, notifications))
}

async fn check_extension(store: &Store) -> Result<()> {
    let row = store.client().query_one("SELECT pg_catalog.to_regclass('pgrelay.task') IS NOT NULL", &[]).await;
    if row.map_err(|e| server_error(e, "look for the extension"))?.get(0) {
        return Ok(());
    }
    Err(Error::new(Kind::UndefinedObject, "the extension pgrelay is not in this database")
        .hint("Run CREATE EXTENSION pgrelay there; this applier goes on by itself."))
}

async fn introduce(store: &Store) -> Result<Instance> {
    let row = store.client().query_one("SELECT pg_catalog.gen_random_uuid()::text", &[]).await;
    let id = row.map_err(|e| server_error(e, "make an id"))?.get(0);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").map(|h| h.trim().to_owned()).unwrap_or_else(|_| "unknown".to_owned());
    Ok(Instance { id, host })
}

async fn await_lease(store: &Store, instance: &Instance) -> Result<()> {
    let mut told = false;
    while !store.take_lease(instance).await? {
        if !told {
            told = true;
            tracing::info!("standing by: another applier holds the lease");
        }
        tokio::time::sleep(RENEW / 2).await;
        store.register(instance).await?;
    }
    Ok(())
}

/// What a task's runner has been told.
struct Told {
    serial: i64,
    desired: Desired,
    options: serde_json::Value,
    /// A new value ends the running work.
    row: watch::Sender<TaskRow>,
    /// A new value reaches the running work.
    live: watch::Sender<Options>,
    /// Likewise.
    rules: watch::Sender<Rules>,
}

impl Told {
    /// Tells a runner what has changed of its task; false when it has ended.
    fn tell(&mut self, row: &TaskRow) -> bool {
        // A direction is also told to end when the task is to have it no more.
        let command = self.serial != row.serial || self.desired != row.desired;
        let changed = self.options != row.options;
        (self.serial, self.desired, self.options) = (row.serial, row.desired, row.options.clone());
        if let Ok(rules) = row.rules() {
            self.rules.send_if_modified(|old| {
                let news = *old != rules;
                *old = rules;
                news
            });
        }
        let Some(options) = row.options().ok().filter(|_| changed) else {
            return !(command || changed) || self.row.send(row.clone()).is_ok();
        };
        // Options that decide what is made change only where nothing is made yet: what has begun with the old ones begins again.
        let begin_again = {
            let before = self.live.borrow();
            command || !options.fixed_that_differ(&before).is_empty() || options.topology != before.topology
        };
        self.live.send_replace(options);
        !begin_again || self.row.send(row.clone()).is_ok()
    }
}

struct Tasks {
    base: Base,
    running: HashMap<(i64, Direction), Told>,
    pairs: HashMap<i64, Arc<Pair>>,
    parts: JoinSet<Result<()>>,
}

impl Tasks {
    async fn work(
        &mut self,
        instance: &Instance,
        mut notifications: mpsc::UnboundedReceiver<Notification>,
        ring: watch::Sender<u64>,
    ) -> Result<()> {
        let mut poll = tokio::time::interval(POLL);
        let mut renew = tokio::time::interval(RENEW);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = renew.tick() => self.renew(instance).await?,
                _ = poll.tick() => self.look().await?,
                notification = notifications.recv() => {
                    notification.ok_or_else(|| Error::new(Kind::Connection, "the connection to the source ended"))?;
                    while notifications.try_recv().is_ok() {}
                    ring.send_modify(|n| *n += 1);
                    self.look().await?;
                }
                Some(ended) = self.parts.join_next() => {
                    ended.map_err(|e| Error::new(Kind::Internal, "a task's runner ended by itself").caused_by(e))??;
                }
            }
        }
    }

    async fn renew(&self, instance: &Instance) -> Result<()> {
        let store = &self.base.store;
        let renewed = tokio::time::timeout(GIVE_UP, async {
            store.register(instance).await?;
            store.take_lease(instance).await
        });
        match renewed.await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(Error::new(Kind::Connection, "the lease was lost to another applier")),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::new(Kind::Connection, "the source did not renew the lease in time")),
        }
    }

    /// Starts a runner for each task, and tells each what its user asks for now.
    async fn look(&mut self) -> Result<()> {
        let rows = tokio::time::timeout(GIVE_UP, self.base.store.tasks()).await;
        let rows = rows.map_err(|_| Error::new(Kind::Connection, "the source did not answer in time"))??;
        self.running.retain(|(id, direction), _| rows.iter().any(|row| (row.id, row.direction) == (*id, *direction)));
        self.pairs.retain(|id, _| rows.iter().any(|row| row.id == *id));
        for row in rows {
            match self.running.get_mut(&(row.id, row.direction)) {
                Some(told) => {
                    // A runner that has ended is replaced when it is looked at next.
                    if !told.tell(&row) {
                        self.running.remove(&(row.id, row.direction));
                    }
                }
                None => self.start(row),
            }
        }
        Ok(())
    }

    fn start(&mut self, row: TaskRow) {
        let taken_up = if row.desired == Desired::None { "known" } else { "taken up" };
        tracing::debug!(task = row.name, "task {taken_up}");
        let (serial, desired, options) = (row.serial, row.desired, row.options.clone());
        // Options that cannot be read fail the task when it is to run.
        let (live, hear_live) = watch::channel(row.options().unwrap_or_default());
        let (rules, hear_rules) = watch::channel(row.rules().unwrap_or_default());
        let pair = self.pairs.entry(row.id).or_default().clone();
        let (of, (row, hear_row)) = ((row.id, row.direction), watch::channel(row));
        self.running.insert(of, Told { serial, desired, options, row, live, rules });
        self.parts.spawn(task::serve(self.base.clone(), pair, hear_row, Live { options: hear_live, rules: hear_rules }));
    }
}
