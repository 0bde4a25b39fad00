//! What follows the rows of a table: its keys and indexes, then its statistics, by sessions that all workers share.
//!
//! A key locks out everybody, so the keys of a table come first, in turn; then its indexes, side by side; then what is set on
//! them, and its statistics. Lots of small tables are one piece of work: there the round trips count.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::future::try_join_all;
use pgrelay_core::{Error, Lsn, Result, error::Kind, name::TableName, plan::Item};
use tokio::sync::{Mutex as Gate, Semaphore, watch};
use tokio_postgres::Client;

use super::{Job, Setting, lots::LOT_TABLES};
use crate::{
    pg::{connect, server_error},
    schema,
    store::{Event, Level},
};

/// Memory that a session may use to build an index, in kB, when the task does not say and the server gives less. PostgreSQL's own
/// default of 64 MB is meant for servers that do something else meanwhile; with it most indexes are sorted on disk.
const INDEX_MEMORY: u32 = 256 * 1024;

/// How a running stream and what is built beside it keep out of each other's way.
#[derive(Debug, Clone)]
pub struct Beside {
    /// Keeps the applier out of a transaction.
    pub gate: Arc<Gate<()>>,
    /// Up to where everything that the stream brought is on the peer, or waits for the copy of its table.
    pub passed: watch::Receiver<Lsn>,
}

/// Sessions that build, so many at most.
#[derive(Clone)]
pub struct Builders {
    free: Arc<Mutex<Vec<Client>>>,
    places: Arc<Semaphore>,
    /// Places that there are.
    size: Arc<Mutex<u32>>,
}

impl Builders {
    /// No session is opened before it is needed.
    pub fn new(sessions: u32) -> Builders {
        Builders { free: Arc::default(), places: Arc::new(Semaphore::new(sessions as usize)), size: Arc::new(Mutex::new(sessions)) }
    }

    /// Changes how many there are at most. Places that are taken are not taken away.
    pub fn resize(&self, sessions: u32) {
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions > *size {
            self.places.add_permits((sessions - *size) as usize);
            *size = sessions;
        } else {
            *size -= self.places.forget_permits((*size - sessions) as usize) as u32;
        }
    }

    /// Does `work` in a session of its own when there is a place; first come, first served.
    async fn with<T>(&self, s: &Setting, work: impl AsyncFnOnce(&mut Client) -> Result<T>) -> Result<T> {
        let place = self.places.acquire().await;
        let _place = place.map_err(|e| Error::new(Kind::Internal, "the builders have ended").caused_by(e))?;
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut session = match free {
            Some(session) => session,
            None => connect_builder(s).await?,
        };
        // After an error the session is in whatever state, and is not used again.
        let done = work(&mut session).await?;
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(session);
        Ok(done)
    }
}

async fn connect_builder(s: &Setting) -> Result<Client> {
    let name = format!("{} copy", s.names.origin);
    // What a crash of the peer takes is taken with its mark, and is built again (docs/apply.md).
    let peer = connect(&s.peer, &name, &[("application_name", &name), ("synchronous_commit", "off")]).await?;
    let chosen = s.options.borrow().index_memory_mb;
    let memory = match chosen {
        Some(mb) => format!("SET maintenance_work_mem = '{mb}MB'"),
        None => format!(
            "SELECT pg_catalog.set_config(name, '{INDEX_MEMORY}kB', false) FROM pg_catalog.pg_settings \
             WHERE name = 'maintenance_work_mem' AND setting::bigint < {INDEX_MEMORY}"
        ),
    };
    peer.batch_execute(&memory).await.map_err(|e| server_error(e, "set the memory for building indexes"))?;
    Ok(peer)
}

/// Builds what is missing for tables whose rows are there from an earlier try.
pub async fn unfinished(s: &Setting, mut jobs: Vec<Job>) -> Result<()> {
    let builders = Builders::new(s.workers());
    if !jobs.is_empty() {
        builders.with(s, async |peer| mark_analyzed(s, peer, &mut jobs).await).await?;
    }
    try_join_all(jobs.chunks(LOT_TABLES).map(|lot| all(s, &builders, lot))).await.map(drop)
}

/// Where nothing was left to be built and the statistics are there, they are not made again each time a task goes on.
async fn mark_analyzed(s: &Setting, peer: &Client, jobs: &mut [Job]) -> Result<()> {
    let made = schema::made(peer, &s.names.origin).await?;
    let rows = peer.query(include_str!("../../../sql/query/peer/analyzed.sql"), &[]).await;
    let rows = rows.map_err(|e| server_error(e, "look which tables are analyzed"))?;
    let analyzed: HashSet<TableName> = rows.iter().map(|row| TableName::new(row.get::<_, &str>(0), row.get::<_, &str>(1))).collect();
    for job in jobs {
        job.is_analyzed = analyzed.contains(&job.table) && job.after.iter().all(|item| made.contains(&item.identity));
    }
    Ok(())
}

/// Indexes and keys of tables, then their statistics.
pub async fn all(s: &Setting, builders: &Builders, lot: &[Job]) -> Result<()> {
    match lot {
        [job] => {
            for wave in waves(&job.after) {
                try_join_all(wave.iter().map(|items| builders.with(s, async |peer| make(s, peer, items, None).await))).await?;
            }
            builders.with(s, async |peer| analyze(s, peer, lot).await).await
        }
        _ => {
            let items: Vec<&Item> = lot.iter().flat_map(|job| &job.after).collect();
            let both = async |peer: &mut Client| {
                make(s, peer, &items, None).await?;
                analyze(s, peer, lot).await
            };
            builders.with(s, both).await
        }
    }
}

/// The keys that changes are found by, of tables whose rows are of several points in time: two rows may hold what another key
/// forbids until the changes in between are applied.
pub async fn keys(s: &Setting, builders: &Builders, lot: &[Job]) -> Result<()> {
    let keys: Vec<&Item> = lot.iter().flat_map(|job| &job.after).filter(|item| item.kind == "primary key").collect();
    builders.with(s, async |peer| make(s, peer, &keys, None).await).await
}

/// The rest for such a table, when the stream has passed `at`, from where on its rows are of one point in time. Apply is held
/// meanwhile.
pub async fn rest(s: &Setting, builders: &Builders, job: &Job, at: Lsn) -> Result<()> {
    let lot = std::slice::from_ref(job);
    let Some(beside) = &s.beside else { return all(s, builders, lot).await };
    if beside.passed.clone().wait_for(|passed| *passed >= at).await.is_err() {
        // The applier is gone only when the task is being ended.
        return std::future::pending().await;
    }
    let items: Vec<&Item> = job.after.iter().collect();
    let both = async |peer: &mut Client| {
        make(s, peer, &items, Some(&beside.gate)).await?;
        analyze(s, peer, lot).await
    };
    builders.with(s, both).await
}

/// Keys, then indexes side by side, then what needs one of those.
fn waves(items: &[Item]) -> Vec<Vec<Vec<&Item>>> {
    let mut behind: HashSet<&str> = HashSet::new();
    let (mut first, mut side_by_side, mut then) = (vec![], vec![], vec![]);
    for item in items {
        let needs_one = item.depends_on.iter().any(|need| behind.contains(need.as_str()));
        if needs_one || item.kind == "index" {
            behind.insert(&item.identity);
        }
        match (needs_one, item.kind.as_str()) {
            (true, _) => then.push(item),
            (false, "index") => side_by_side.push(vec![item]),
            _ => first.push(item),
        }
    }
    [vec![first], side_by_side, vec![then]].into_iter().map(|wave| wave.into_iter().filter(|items| !items.is_empty()).collect()).collect()
}

async fn make(s: &Setting, peer: &mut Client, items: &[&Item], gate: Option<&Gate<()>>) -> Result<()> {
    if items.is_empty() {
        return Ok(());
    }
    let stage = schema::Stage { task: &s.task, key: &s.names.origin, store: &s.store, progress: &s.progress };
    stage.carry_out(std::slice::from_mut(peer), items, gate).await
}

async fn analyze(s: &Setting, peer: &Client, lot: &[Job]) -> Result<()> {
    let lot: Vec<&Job> = lot.iter().filter(|job| !job.is_analyzed).collect();
    if lot.is_empty() {
        return Ok(());
    }
    let tables: Vec<String> = lot.iter().map(|job| job.table.quoted()).collect();
    let together = format!("BEGIN; ANALYZE {}; COMMIT", tables.join(", "));
    if lot.len() > 1 && peer.batch_execute(&together).await.is_ok() {
        return Ok(());
    }
    peer.batch_execute("ROLLBACK").await.map_err(|e| server_error(e, "analyze tables"))?;
    for (job, table) in lot.iter().zip(&tables) {
        if let Err(e) = peer.batch_execute(&format!("ANALYZE {table}")).await {
            // Statistics come by autovacuum too; a missing right is no reason to stop.
            let error = server_error(e, &format!("analyze table \"{}\"", job.table));
            s.store.event(&s.task, &Event::of_error(Level::Warning, &error)).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use pgrelay_core::{
        catalog::Address,
        plan::{Section, When},
    };

    use super::*;

    fn item(kind: &str, identity: &str, depends_on: &[&str]) -> Item {
        Item {
            ordinal: 0,
            section: Section::PostData,
            kind: kind.to_owned(),
            identity: identity.to_owned(),
            object: Address::new(0, 0),
            when: When::AfterTable(TableName::new("s", "t")),
            ddl: String::new(),
            then: None,
            of: None,
            depends_on: depends_on.iter().map(|d| d.to_string()).collect(),
            reason: String::new(),
        }
    }

    #[test]
    fn keys_then_indexes_side_by_side_then_what_is_set_on_them() {
        let items = [
            item("index", "i1", &["table s.t"]),
            item("primary key", "k1", &["table s.t"]),
            item("replica identity", "r", &["i1"]),
            item("index", "i2", &["table s.t"]),
            item("unique constraint", "k2", &["table s.t"]),
            item("comment", "c", &["r"]),
        ];
        let names = |waves: Vec<Vec<Vec<&Item>>>| -> Vec<Vec<String>> {
            let piece = |items: Vec<&Item>| items.iter().map(|i| i.identity.clone()).collect::<Vec<_>>().join(" ");
            waves.into_iter().map(|wave| wave.into_iter().map(piece).collect()).collect()
        };
        assert_eq!(names(waves(&items)), [vec!["k1 k2"], vec!["i1", "i2"], vec!["r c"]]);
        assert_eq!(names(waves(&[])).concat().len(), 0);
    }
}
