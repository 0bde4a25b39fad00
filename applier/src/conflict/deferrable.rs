//! Deferrable keys and exclusion constraints. The triggers that test them at the end of a transaction do not run in a session that
//! replicates (`session_replication_role`), so each new row of a table that has such keys is noted, and before the peer's transaction
//! commits it is looked whether two rows hold its values.
//!
//! What is found is a surprise as any: the transactions come again with care, and a change that left a key violated then collides at
//! once. Within a transaction the key may be violated; only changes that left it so are looked at earlier.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{TryStreamExt, future::try_join_all};
use pgrelay_core::{Lsn, Result, name::TableName};
use tokio_postgres::{Client, Statement};

use super::keys::Keys;
use crate::{apply::session::Value, pg::server_error};

/// Noted rows that are looked at together.
const TOGETHER: usize = 500;

/// From so many on it is looked before the end which of them need not be noted any more.
const MANY: usize = 50_000;

/// Likewise by the bytes of their values.
const MANY_BYTES: usize = 16 << 20;

/// A new row.
pub struct Noted {
    /// Its relation on the side where it comes from.
    pub relation: u32,
    /// The table.
    pub table: Arc<TableName>,
    /// The commit record of its transaction.
    pub commit: Lsn,
    /// Number of the change in its transaction.
    pub number: i64,
    /// Its values in the order of the stream, in memory of their own.
    pub values: Vec<Option<Bytes>>,
}

impl Noted {
    fn size(&self) -> usize {
        self.values.iter().flatten().map(Bytes::len).sum()
    }
}

/// New rows of the open transaction.
#[derive(Default)]
pub struct NewRows {
    noted: Vec<Noted>,
    bytes: usize,
    looked: (usize, usize),
}

impl NewRows {
    /// Notes one.
    pub fn note(&mut self, row: Noted) {
        self.bytes += row.size();
        self.noted.push(row);
    }

    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.noted.is_empty()
    }

    /// Whether it is time to look which of them hold values that no other row holds. Those cannot come to violate a key: whoever takes
    /// such a value later is noted himself, or is a session of the peer's own, whose key is tested.
    pub fn are_many(&self) -> bool {
        let (rows, bytes) = self.looked;
        (self.noted.len() >= MANY && self.noted.len() >= 2 * rows) || (self.bytes >= MANY_BYTES && self.bytes >= 2 * bytes)
    }
}

/// How it is looked at each table.
#[derive(Default)]
pub struct Tests {
    prepared: HashMap<u32, Statement>,
}

impl Tests {
    /// The shape of tables is read again.
    pub fn forget(&mut self) {
        self.prepared.clear();
    }

    /// Keeps those of whose values two rows hold one. Everything that was sent to the peer has been answered.
    pub async fn look(&mut self, peer: &Client, rows: &mut NewRows, columns: impl Fn(u32) -> Vec<String>) -> Result<()> {
        let mut violating = vec![];
        let mut noted = std::mem::take(&mut rows.noted).into_iter().peekable();
        while noted.peek().is_some() {
            let some: Vec<Noted> = noted.by_ref().take(TOGETHER).collect();
            for row in &some {
                self.prepare(peer, row, &columns).await?;
            }
            let found = try_join_all(some.iter().map(|row| self.is_held_twice(peer, row))).await?;
            violating.extend(some.into_iter().zip(found).filter_map(|(row, twice)| twice.then_some(row)));
        }
        rows.bytes = violating.iter().map(Noted::size).sum();
        rows.looked = (violating.len(), rows.bytes);
        rows.noted = violating;
        Ok(())
    }

    async fn prepare(&mut self, peer: &Client, row: &Noted, columns: impl Fn(u32) -> Vec<String>) -> Result<()> {
        if let Entry::Vacant(none) = self.prepared.entry(row.relation) {
            let sql = Keys::read(peer, &row.table).await?.held_twice(&row.table, &columns(row.relation));
            let failed = |e| server_error(e, "prepare to look at deferrable keys").object(row.table.to_string());
            none.insert(peer.prepare(&sql).await.map_err(failed)?);
        }
        Ok(())
    }

    async fn is_held_twice(&self, peer: &Client, row: &Noted) -> Result<bool> {
        let values = row.values.iter().map(|value| Value::Text(value.clone()));
        let found = async {
            let rows = peer.query_raw(&self.prepared[&row.relation], values.collect::<Vec<Value>>()).await?;
            rows.try_collect::<Vec<_>>().await
        };
        let failed = |e| server_error(e, "look at deferrable keys").object(row.table.to_string());
        Ok(!found.await.map_err(failed)?.is_empty())
    }
}

impl IntoIterator for NewRows {
    type Item = Noted;
    type IntoIter = std::vec::IntoIter<Noted>;

    fn into_iter(self) -> Self::IntoIter {
        self.noted.into_iter()
    }
}
