//! The schema stage as the user sees it: counted while it goes on, and told when it stops: what was made, what failed.

use std::collections::HashSet;

use pgrelay_core::{Error, Result, plan::Item};
use tokio::sync::Mutex;
use tokio_postgres::Client;

use super::carry_out;
use crate::{
    pg::server_error,
    progress::Progress,
    store::{Event, Level, Store},
};

/// Whose items are carried out.
pub struct Stage<'a> {
    /// The task's name.
    pub task: &'a str,
    /// Its row in `pgrelay_peer.task`.
    pub key: &'a str,
    /// For events.
    pub store: &'a Store,
    /// Counts the objects made.
    pub progress: &'a Progress,
}

impl Stage<'_> {
    /// As `carry_out`; an event says where it stopped.
    pub async fn carry_out(&self, peers: &mut [Client], items: &[&Item], gate: Option<&Mutex<()>>) -> Result<()> {
        let made = carry_out(peers, self.key, items, gate, &mut self.progress.count_objects()).await;
        if let (Err(error), Some(peer)) = (&made, peers.first()) {
            self.tell(peer, items, error).await?;
        }
        made
    }

    async fn tell(&self, peer: &Client, items: &[&Item], error: &Error) -> Result<()> {
        let last = match last_made(peer, self.key, items).await {
            Ok(Some(last)) => format!("the last is {last}"),
            Ok(None) => "none of this step".to_owned(),
            // The connection that failed cannot be asked.
            Err(_) => "the last is not known".to_owned(),
        };
        let (done, total) = self.progress.objects().unwrap_or_default();
        let failed = error.object.clone().unwrap_or_else(|| "the stage".to_owned());
        let message = format!("{done} of {total} objects are on the peer, {last}; {failed} failed");
        let event = Event { detail: Some(error.to_string()), ..Event::new(Level::Warning, "schema_failed", message) };
        let event = Event { sqlstate: Some(error.sqlstate().to_owned()), hint: error.hint.clone(), ..event };
        self.store.event(self.task, &event.object(failed)).await
    }
}

/// How many of the items are made.
pub async fn count_made(peer: &Client, key: &str, items: &[Item]) -> Result<usize> {
    let made = made(peer, key).await?;
    Ok(items.iter().filter(|i| made.contains(&i.identity)).count())
}

async fn last_made(peer: &Client, key: &str, items: &[&Item]) -> Result<Option<String>> {
    let made = made(peer, key).await?;
    Ok(items.iter().rev().find(|i| made.contains(&i.identity)).map(|i| i.identity.clone()))
}

/// The identities of what the task has made.
pub async fn made(peer: &Client, key: &str) -> Result<HashSet<String>> {
    let sql = "SELECT identity FROM pgrelay_peer.object WHERE task_key = $1";
    let rows = peer.query(sql, &[&key]).await.map_err(|e| server_error(e, "read what the task has made on the peer"))?;
    Ok(rows.iter().map(|r| r.get(0)).collect())
}
