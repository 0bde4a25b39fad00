//! Changes of a table that others may have written to: updates wait until the rows that they are about are locked and looked at, many
//! at once. New rows need not wait: one that is in their way stops them.

use std::sync::Arc;

use bytes::Bytes;
use indexmap::IndexMap;
use pgrelay_core::{
    Result,
    conflict::{Direction, Kind, Policy, Rules, Writer},
};
use tokio_postgres::Statement;

use super::{
    Fits, Table,
    array::Array,
    net::{Cell, Key, Unfit},
    row,
    statement::Shape,
};
use crate::{
    apply::{
        outside,
        peer_table::PeerTable,
        relation::Relation,
        row::rows,
        session::{Operation, Session, Value},
        sight::Horizon,
        task_row,
    },
    conflict::{
        meet::{self, MetRow},
        resolve::Origin,
    },
    pg::{
        pgoutput::{Column, Tuple},
        server_error,
    },
};

/// An update that waits.
pub struct Update {
    /// The message.
    pub payload: Bytes,
    /// Its transaction.
    pub of: Origin,
    /// Its number there.
    pub number: i64,
    /// What the other side had seen when it was made.
    pub seen: Horizon,
    /// How conflicts are decided.
    pub rules: Arc<Rules>,
}

/// A conflict that was decided.
pub struct Note {
    /// The update.
    pub update: Update,
    /// What it met.
    pub met: MetRow,
    /// What kind of conflict it is, and by which policy it was decided.
    pub conflict: (Kind, Policy),
    /// What was done.
    pub resolution: &'static str,
}

/// What became of a change that was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is sent with the others.
    Gathered,
    /// It waits for a look at its row.
    Waits,
}

/// A table's changes.
pub struct Weighed {
    table: Table,
    /// Updates are looked at here; else they do not fit.
    takes_updates: bool,
    waiting: IndexMap<Key, Vec<Update>, foldhash::fast::RandomState>,
    bytes: usize,
    looks: Option<Statement>,
    notes: Option<Statement>,
}

impl Weighed {
    /// `takes_updates`: nothing but the key that rows are found by keeps them apart.
    pub fn new(table: Table, peer: &PeerTable, takes_updates: bool) -> Weighed {
        let is_plain = peer.deferred.is_empty() && peer.columns.iter().all(|column| !column.generated);
        let takes_updates = takes_updates && is_plain && !table.key.is_empty();
        Weighed { table, takes_updates, waiting: IndexMap::default(), bytes: 0, looks: None, notes: None }
    }

    /// The description that it was made for.
    pub fn relation(&self) -> &Arc<Relation> {
        &self.table.relation
    }

    /// Whether nothing waits and nothing is gathered.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Bytes that wait or are gathered since they were sent last.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a change; one that does not fit leaves everything as it was, and must come after what is here.
    pub fn add(
        &mut self,
        old: Option<Tuple<'_>>,
        new: Option<Tuple<'_>>,
        is_insert: bool,
        update: impl FnOnce() -> Update,
        payload: &Bytes,
    ) -> Fits<Added> {
        let new = new.ok_or(Unfit)?;
        let added = if self.table.key.is_empty() {
            self.table.add(payload, old, Some(new), is_insert)?;
            Added::Gathered
        } else {
            let columns: Vec<Column<'_>> = new.columns().collect();
            let key = self.table.key_of(&columns)?;
            let waits = self.waiting.contains_key(&key);
            match (is_insert, waits) {
                (true, true) => return Err(Unfit),
                (true, false) => {
                    self.table.add(payload, old, Some(new), true)?;
                    Added::Gathered
                }
                (false, _) if old.is_some() => return Err(Unfit),
                (false, false) if self.table.changes.holds(&key) => {
                    self.table.add(payload, None, Some(new), false)?;
                    Added::Gathered
                }
                (false, _) if !self.takes_updates || new.is_partial() || payload.len() >= super::BYTES => return Err(Unfit),
                (false, _) => {
                    self.waiting.entry(key).or_default().push(update());
                    Added::Waits
                }
            }
        };
        self.bytes += payload.len();
        Ok(added)
    }

    /// Locks the rows that updates wait for: the updates of each in their order, and what they meet. The peer's transaction is open.
    pub async fn meet(&mut self, session: &mut Session, peer: &PeerTable, origins: &str) -> Result<Vec<(Vec<Update>, Option<MetRow>)>> {
        use futures_util::TryStreamExt;
        self.bytes = 0;
        if self.waiting.is_empty() {
            return Ok(vec![]);
        }
        let table = self.table.relation.table.clone();
        let statement = match &self.looks {
            Some(statement) => statement.clone(),
            None => {
                let sql = self.shape(peer).look(origins);
                self.looks.insert(session.prepare(&sql, &table).await?).clone()
            }
        };
        let waiting = std::mem::take(&mut self.waiting);
        let keys = self.table.keys(waiting.keys());
        let client = session.shared();
        let ask = async {
            let found: std::result::Result<Vec<_>, _> = async { client.query_raw(&statement, keys).await?.try_collect().await }.await;
            found.map_err(|e| server_error(e, &format!("look for conflicts in table \"{table}\"")).object(table.to_string()))
        };
        let mut met: Vec<(Vec<Update>, Option<MetRow>)> = waiting.into_values().map(|updates| (updates, None)).collect();
        for row in session.ask(ask).await? {
            let number: i64 = row.get("n");
            if let Some((_, found)) = usize::try_from(number - 1).ok().and_then(|at| met.get_mut(at)) {
                *found = Some(meet::met(&row));
            }
        }
        Ok(met)
    }

    /// An update that was looked at is to be made.
    pub fn win(&mut self, update: &Update) -> Result<()> {
        let (old, new) = rows(&update.payload)?;
        self.table.add(&update.payload, old, new, false).map_err(|Unfit| outside())
    }

    /// Sends what is gathered and what has won.
    pub async fn send(&mut self, session: &mut Session, peer: &PeerTable) -> Result<()> {
        self.table.send(session, peer).await
    }

    /// Writes conflicts down. `to`: key of the task, and which way the changes go.
    pub async fn note(
        &mut self,
        session: &mut Session,
        peer: &PeerTable,
        (key, direction): (&str, Direction),
        notes: &[Note],
    ) -> Result<()> {
        if notes.is_empty() {
            return Ok(());
        }
        let statement = match &self.notes {
            Some(statement) => statement.clone(),
            None => {
                let sql = self.shape(peer).note((key, direction.as_str()));
                self.notes.insert(session.prepare(&sql, &task_row()).await?).clone()
            }
        };
        for part in notes.chunks(super::ROWS) {
            let mut columns: Vec<Array> = self.table.columns.iter().map(|_| Array::new()).collect();
            let mut noted: [Array; 10] = std::array::from_fn(|_| Array::new());
            for Note { update, met, conflict: (kind, policy), resolution } in part {
                let (_, new) = rows(&update.payload)?;
                let new: Vec<Column<'_>> = new.map(|new| new.columns().collect()).unwrap_or_default();
                let cells = row(&update.payload, &new).map_err(|Unfit| outside())?;
                columns.iter_mut().zip(&cells).for_each(|(array, cell)| array.push(cell));
                let written = if let Writer::Other(Some(at)) = met.writer { Some(at.to_string()) } else { None };
                let Origin { xid, commit, committed } = update.of;
                let values = [
                    Some(kind.as_str()),
                    Some(policy.as_str()),
                    Some(resolution),
                    Some(&xid.to_string()),
                    Some(&commit.to_string()),
                    Some(&committed.to_string()),
                    Some(&update.number.to_string()),
                    Some(&met.image),
                    met.origin.as_deref(),
                    written.as_deref(),
                ];
                noted.iter_mut().zip(values).for_each(|(array, value)| match value {
                    Some(value) => array.push_value(value.as_bytes()),
                    None => array.push(&Cell::Null),
                });
            }
            let values = columns.into_iter().chain(noted).map(|array| Value::Text(Some(array.finish()))).collect();
            session.execute(statement.clone(), values, Operation::Other, &task_row()).await?;
        }
        Ok(())
    }

    fn shape<'a>(&'a self, peer: &'a PeerTable) -> Shape<'a> {
        Shape { table: &self.table.relation.table, peer, columns: &self.table.columns, key: &self.table.key }
    }
}
