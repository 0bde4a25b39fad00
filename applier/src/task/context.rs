//! What every part of a task has at hand.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU8, Ordering},
};

use futures_util::future::join_all;
use pgrelay_core::{
    Error, Result,
    conflict::{Direction, Rules},
    error::Kind,
    plan::Item,
    state::Actual,
    task::{Names, Options},
};
use tokio::sync::watch;
use tokio_postgres::Client;

use super::{pair::Pair, reverse};
use crate::{
    pg::{Endpoint, connect},
    progress::Progress,
    schema,
    store::{Event, Level, Store, TaskRow},
    throttle::Throttle,
};

/// What the supervisor gives to every task.
#[derive(Clone)]
pub struct Base {
    /// The source, as the applier was started for it.
    pub source: Endpoint,
    /// The contract tables.
    pub store: Store,
    /// Changes when something may have changed in the contract tables.
    pub bell: watch::Receiver<u64>,
}

/// What changes of a task while it works, without anything being begun again.
#[derive(Clone)]
pub struct Live {
    /// Its options.
    pub options: watch::Receiver<Options>,
    /// How its conflicts are decided.
    pub rules: watch::Receiver<Rules>,
}

/// Place of a stage among the stages, from 1.
fn rank(stage: &str) -> u8 {
    match stage {
        "schema" => 1,
        "copy" => 2,
        _ => 3,
    }
}

/// One direction of a task, as long as the user's last command holds. Its source is where its changes come from, its peer where they
/// go: of the reverse direction those are the task's peer and the task's source.
pub struct Context {
    /// The database that the task was made in.
    home: Endpoint,
    /// What the other direction of the task tells.
    pub pair: Arc<Pair>,
    /// The contract tables.
    pub store: Store,
    /// Changes when something may have changed in the contract tables.
    pub bell: watch::Receiver<u64>,
    /// The task as it was when the command was taken up.
    pub row: TaskRow,
    /// Names on the servers.
    pub names: Names,
    /// The task's options, as they are at each moment.
    pub live: watch::Receiver<Options>,
    /// How conflicts are decided, at each moment: looked at when a transaction begins.
    pub rules: watch::Receiver<Rules>,
    /// Holds the copy and the apply to the task's limits.
    pub throttle: Arc<Throttle>,
    progress: Mutex<Arc<Progress>>,
    state: Mutex<Actual>,
    stage: AtomicU8,
    cleaning: AtomicBool,
}

impl Context {
    /// For a command.
    pub fn new(base: Base, pair: Arc<Pair>, row: TaskRow, live: Live, throttle: Arc<Throttle>) -> Context {
        let names = row.names();
        let state = Mutex::new(row.state);
        let stage = AtomicU8::new(row.stage.as_deref().map_or(0, rank));
        let cleaning = AtomicBool::new(row.cleaning);
        let Base { source: home, store, bell } = base;
        let Live { options: live, rules } = live;
        let is_there = row.stage.as_deref() == Some("stream");
        match row.direction {
            Direction::Forward => pair.streams.send_replace(is_there),
            Direction::Reverse => pair.prepared.send_replace(is_there),
        };
        Context { home, pair, store, bell, row, names, live, rules, throttle, progress: Mutex::default(), state, stage, cleaning }
    }

    /// The reverse direction, of the forward one.
    pub fn reverse(&self) -> Context {
        let row = TaskRow { direction: Direction::Reverse, stage: None, ..self.row.clone() };
        let names = row.names();
        Context {
            home: self.home.clone(),
            pair: self.pair.clone(),
            store: self.store.clone(),
            bell: self.bell.clone(),
            row,
            names,
            live: self.live.clone(),
            rules: self.rules.clone(),
            throttle: self.throttle.clone(),
            progress: Mutex::default(),
            state: Mutex::new(Actual::Created),
            stage: AtomicU8::new(0),
            cleaning: AtomicBool::new(false),
        }
    }

    /// The forward direction, of the reverse one: for what looks at the task as a whole.
    pub fn forward(&self) -> Context {
        let row = TaskRow { direction: Direction::Forward, ..self.row.clone() };
        Context { names: row.names(), row, ..self.reverse() }
    }

    /// The names of the direction that goes the other way.
    pub fn opposite_names(&self) -> Names {
        match self.row.direction {
            Direction::Forward => self.names.reverse(),
            Direction::Reverse => self.row.forward_names(),
        }
    }

    /// The task's options now.
    pub fn options(&self) -> Options {
        self.live.borrow().clone()
    }

    /// Progress of the try that is under way.
    pub fn progress(&self) -> Arc<Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A new try begins.
    pub fn reset_progress(&self) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = Arc::default();
    }

    /// Whether something may be on the peer: from here on nothing is prechecked, and a clean-up looks there.
    pub fn has_begun(&self) -> bool {
        self.stage.load(Ordering::Relaxed) > 0
    }

    /// Whether the task has come to a stage, in this try or before.
    pub fn has_come_to(&self, stage: &'static str) -> bool {
        self.stage.load(Ordering::Relaxed) >= rank(stage)
    }

    /// The task comes to a stage; it never goes back to an earlier one. Written before anything of the stage is done.
    pub async fn stage(&self, stage: &'static str) -> Result<()> {
        if self.has_come_to(stage) {
            return Ok(());
        }
        self.store.set_stage(&self.row, stage).await?;
        self.stage.store(rank(stage), Ordering::Relaxed);
        if self.row.direction == Direction::Forward && stage == "stream" {
            self.pair.streams.send_replace(true);
        }
        Ok(())
    }

    /// Whether both sides are being cleaned, in this try or since before.
    pub fn is_cleaning(&self) -> bool {
        self.cleaning.load(Ordering::Relaxed)
    }

    /// Clean-up begins: from here on the task only cleans.
    pub async fn begin_cleaning(&self) -> Result<()> {
        self.store.set_cleaning(self.row.id).await?;
        self.cleaning.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Moves the task to a state; an event when that is a change.
    pub async fn state(&self, state: Actual, error: Option<&Error>) -> Result<()> {
        let turned = error.filter(|_| self.row.direction == Direction::Reverse).map(reverse::turned);
        let error = turned.as_ref().or(error);
        let before = self.store.set_state(&self.row, state, error).await?;
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        if before.as_deref() != Some(state.as_str()) {
            self.event(Event::new(
                Level::Info,
                "state",
                match self.row.direction {
                    Direction::Forward => format!("the task is {state}"),
                    Direction::Reverse => format!("the reverse direction is {state}"),
                },
            ))
            .await?;
        }
        match error {
            Some(error) => self.event(Event::of_error(if state == Actual::Retrying { Level::Warning } else { Level::Error }, error)).await,
            None => Ok(()),
        }
    }

    /// The state it was moved to last.
    pub fn state_now(&self) -> Actual {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The task does not go on.
    pub async fn fail(&self, error: &Error) -> Result<()> {
        self.state(Actual::Failed, Some(error)).await
    }

    /// Makes objects on the peer, counts them, and says where it stopped. `gate`: a stream is applied meanwhile.
    pub async fn carry_out(&self, peers: &mut [Client], items: &[&Item], gate: Option<&tokio::sync::Mutex<()>>) -> Result<()> {
        let progress = self.progress();
        let stage = schema::Stage { task: &self.row.name, key: &self.names.origin, store: &self.store, progress: &progress };
        stage.carry_out(peers, items, gate).await
    }

    /// Writes an event.
    pub async fn event(&self, event: Event) -> Result<()> {
        self.store.event(&self.row.name, &event).await
    }

    /// The name of a session on the source: on the task's peer it tells the applier that made it, as `peer_name` does.
    pub fn source_name(&self, part: &str) -> String {
        match self.row.direction {
            Direction::Forward => format!("pgrelay {} {part}", self.row.id),
            Direction::Reverse => format!("{} {part}", self.names.origin),
        }
    }

    /// A session on the source.
    pub async fn source(&self, part: &str) -> Result<Client> {
        let name = self.source_name(part);
        connect(&self.source_endpoint().await?, &name, &[("application_name", &name)]).await
    }

    /// Where the changes come from.
    pub async fn source_endpoint(&self) -> Result<Endpoint> {
        match self.row.direction {
            Direction::Forward => Ok(self.home.clone()),
            Direction::Reverse => self.far().await,
        }
    }

    /// Where the changes go.
    pub async fn peer_endpoint(&self) -> Result<Endpoint> {
        match self.row.direction {
            Direction::Forward => self.far().await,
            Direction::Reverse => Ok(self.home.clone()),
        }
    }

    /// The task's peer, with what the user mapping of a foreign server adds.
    async fn far(&self) -> Result<Endpoint> {
        if pgrelay_core::conninfo::is_conninfo(&self.row.peer) {
            return Endpoint::resolve(&self.row.peer, &[]);
        }
        let sql = include_str!("../../../sql/store/peer_server.sql");
        let row = self.store.client().query_opt(sql, &[&self.row.peer]).await;
        let row = row.map_err(|e| crate::pg::server_error(e, "read the foreign server"))?;
        let Some(row) = row else {
            return Err(Error::new(Kind::UndefinedObject, format!("foreign server \"{}\" does not exist", self.row.peer)));
        };
        let pairs: Vec<(String, String)> = [row.get::<_, Vec<String>>("server_options"), row.get("user_options")]
            .concat()
            .iter()
            .filter_map(|option| option.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())))
            .collect();
        Endpoint::resolve("", &pairs)
    }

    /// A session on the peer.
    pub async fn peer(&self, part: &str) -> Result<Client> {
        let name = format!("{} {part}", self.names.origin);
        let settings = [("application_name", name.as_str()), ("session_replication_role", "replica"), ("synchronous_commit", "on")];
        connect(&self.peer_endpoint().await?, &name, &settings).await
    }

    /// Sessions on the peer, up to `count` of them: one at least, and more as far as it has room.
    pub async fn peers(&self, part: &str, count: u32) -> Result<Vec<Client>> {
        let mut peers = vec![self.peer(part).await?];
        let more = join_all((1..count).map(|_| self.peer(part))).await;
        // What keeps all of them away is told by whoever uses the first.
        peers.extend(more.into_iter().flatten());
        Ok(peers)
    }

    /// A session on the peer that sets nothing an ordinary role may not set.
    pub async fn peer_plain(&self, part: &str) -> Result<Client> {
        let name = format!("{} {part}", self.names.origin);
        connect(&self.peer_endpoint().await?, &name, &[("application_name", &name)]).await
    }
}
