//! Changes of a table that others may have written to: updates wait until the rows that they are about are locked and looked at, many
//! at once. New rows need not wait: one that is in their way stops them.

use std::sync::Arc;

use bytes::Bytes;
use indexmap::IndexMap;
use pgrelay_core::{
    Error, Result,
    conflict::{Kind, Policy, Rules, Writer},
    error::Kind as ErrorKind,
    name::TableName,
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
    conflict::{meet, place::Place, resolve::Origin},
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

/// Who wrote the row that updates are about.
#[derive(Debug, Clone)]
pub struct Found {
    /// That.
    pub writer: Writer,
    /// The transaction that did.
    pub xid: u32,
    /// The replication origin of that, where the server knows one.
    pub origin: Option<Arc<str>>,
}

/// A conflict that was decided.
pub struct Note {
    /// The update.
    pub update: Update,
    /// What it met.
    pub found: Found,
    /// What kind of conflict it is, and by which policy it was decided.
    pub conflict: (Kind, Policy),
    /// What was done.
    pub resolution: &'static str,
}

/// What is to be written down of conflicts; each array has an element for each.
pub struct Records(Vec<Value>);

/// What became of a change that was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is sent with the others.
    Gathered,
    /// It waits for a look at its row.
    Waits,
}

/// What a change costs beside its content.
const OVERHEAD: usize = 128;

/// A table's changes.
pub struct Weighed {
    table: Table,
    /// Updates are looked at here; else they do not fit.
    takes_updates: bool,
    waiting: IndexMap<Key, Vec<Update>, foldhash::fast::RandomState>,
    bytes: usize,
    looks: Option<Statement>,
    images: Option<Statement>,
    records: Option<Statement>,
    /// So many records are made at once: rows may be wide.
    at_once: usize,
}

impl Weighed {
    /// `takes_updates`: nothing but the key that rows are found by keeps them apart.
    pub fn new(table: Table, peer: &PeerTable, takes_updates: bool) -> Weighed {
        let is_plain = peer.deferred.is_empty() && peer.columns.iter().all(|column| !column.generated);
        let takes_updates = takes_updates && is_plain && !table.key.is_empty();
        Weighed { table, takes_updates, waiting: IndexMap::default(), bytes: 0, looks: None, images: None, records: None, at_once: 1 }
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
        self.bytes += payload.len() + OVERHEAD;
        Ok(added)
    }

    /// Locks the rows that updates wait for: the updates of each in their order, and what they meet. The peer's transaction is open.
    pub async fn meet(&mut self, session: &mut Session, peer: &PeerTable, origins: &str) -> Result<Vec<(Vec<Update>, Option<Found>)>> {
        use futures_util::TryStreamExt;
        self.bytes = 0;
        if self.waiting.is_empty() {
            return Ok(vec![]);
        }
        let table = self.table.relation.table.clone();
        let statement = once(&mut self.looks, session, || shape(&self.table, peer).look(origins), &table).await?;
        let waiting = std::mem::take(&mut self.waiting);
        let keys = self.table.keys(waiting.keys());
        let client = session.shared();
        let ask = async {
            let found: std::result::Result<Vec<_>, _> = async { client.query_raw(&statement, keys).await?.try_collect().await }.await;
            found.map_err(|e| server_error(e, &format!("look for conflicts in table \"{table}\"")).object(table.to_string()))
        };
        let mut met: Vec<(Vec<Update>, Option<Found>)> = waiting.into_values().map(|updates| (updates, None)).collect();
        for row in session.ask(ask).await? {
            let number: i64 = row.get("n");
            if let Some((_, found)) = usize::try_from(number - 1).ok().and_then(|at| met.get_mut(at)) {
                *found = Some(Found {
                    writer: meet::writer(&row),
                    xid: row.get("xid"),
                    origin: row.get::<_, Option<&str>>("origin").map(Arc::from),
                });
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

    /// What is to be written down of the first of these conflicts, which are taken off; as many as are not too large together. The rows are
    /// as they were met.
    pub async fn next_records(&mut self, session: &mut Session, peer: &PeerTable, to: &Place, notes: &mut &[Note]) -> Result<Records> {
        let (part, others) = notes.split_at(notes.len().min(self.at_once));
        *notes = others;
        let images = self.images_of(session, peer, part).await?;
        let widest = images.iter().flatten().map(|image| image.iter().map(String::len).sum()).max().unwrap_or(0);
        self.at_once = (super::BYTES / widest.max(1)).clamp(1, super::ROWS).min(self.at_once * 4);
        self.record(to, part, images)
    }

    /// Of each update its key, its new row, and the row that it met.
    async fn images_of(&mut self, session: &mut Session, peer: &PeerTable, notes: &[Note]) -> Result<Vec<Option<[String; 3]>>> {
        use futures_util::TryStreamExt;
        let table = self.table.relation.table.clone();
        let statement = once(&mut self.images, session, || shape(&self.table, peer).images(), &table).await?;
        let values = self.new_rows(notes)?;
        let client = session.shared();
        let ask = async {
            let found: std::result::Result<Vec<_>, _> = async { client.query_raw(&statement, values).await?.try_collect().await }.await;
            found.map_err(|e| server_error(e, &format!("write down a conflict in table \"{table}\"")).object(table.to_string()))
        };
        let mut images: Vec<Option<[String; 3]>> = notes.iter().map(|_| None).collect();
        for row in session.ask(ask).await? {
            let number: i64 = row.get("n");
            if let Some(image) = usize::try_from(number - 1).ok().and_then(|at| images.get_mut(at)) {
                *image = Some([row.get("key"), row.get("new"), row.get("met")]);
            }
        }
        Ok(images)
    }

    /// The new rows of updates, an array for each column.
    fn new_rows(&self, notes: &[Note]) -> Result<Vec<Value>> {
        let mut columns: Vec<Array> = self.table.columns.iter().map(|_| Array::new()).collect();
        for note in notes {
            let payload = &note.update.payload;
            let (_, new) = rows(payload)?;
            let new: Vec<Column<'_>> = new.map(|new| new.columns().collect()).unwrap_or_default();
            let cells = row(payload, &new).map_err(|Unfit| outside())?;
            columns.iter_mut().zip(&cells).for_each(|(array, cell)| array.push(cell));
        }
        Ok(columns.into_iter().map(|array| Value::Text(Some(array.finish()))).collect())
    }

    /// What a record holds beside rows: the parameters of `sql/peer/record_conflicts.sql` before those.
    fn told(&self, to: &Place, notes: &[Note]) -> Vec<Value> {
        let mut arrays: [Array; 9] = std::array::from_fn(|_| Array::new());
        for Note { update, found, conflict: (kind, policy), resolution } in notes {
            let written = if let Writer::Other(Some(at)) = found.writer { Some(at.to_string()) } else { None };
            let Origin { xid, commit, committed } = update.of;
            let values = [
                Some(kind.as_str()),
                Some(policy.as_str()),
                Some(resolution),
                Some(&xid.to_string()),
                Some(&commit.to_string()),
                Some(&committed.to_string()),
                Some(&update.number.to_string()),
                found.origin.as_deref(),
                written.as_deref(),
            ];
            arrays.iter_mut().zip(values).for_each(|(array, value)| match value {
                Some(value) => array.push_value(value.as_bytes()),
                None => array.push(&Cell::Null),
            });
        }
        let table = &self.table.relation.table;
        let name = [&table.schema, &table.name].map(|text| Bytes::copy_from_slice(text.as_bytes()));
        let others = name.into_iter().chain(arrays.into_iter().map(Array::finish)).map(|text| Value::Text(Some(text)));
        to.values().into_iter().chain(others).collect()
    }

    fn record(&self, to: &Place, notes: &[Note], images: Vec<Option<[String; 3]>>) -> Result<Records> {
        let gone = || Error::new(ErrorKind::Internal, "a row that is locked is gone").object(self.table.relation.table.to_string());
        let mut arrays: [Array; 3] = std::array::from_fn(|_| Array::new());
        for images in images {
            arrays.iter_mut().zip(images.ok_or_else(gone)?).for_each(|(array, image)| array.push_value(image.as_bytes()));
        }
        let mut values = self.told(to, notes);
        values.extend(arrays.into_iter().map(|array| Value::Text(Some(array.finish()))));
        Ok(Records(values))
    }

    /// Writes all of these conflicts down, where the session may do that with the rights that it has for the table: the rows' images are made
    /// by the same statement, and no row comes here. The rows are as they were met.
    pub async fn write_records(&mut self, session: &mut Session, peer: &PeerTable, to: &Place, notes: &[Note]) -> Result<()> {
        let table = self.table.relation.table.clone();
        for part in notes.chunks(super::ROWS) {
            let statement = once(&mut self.records, session, || to.adding(&shape(&self.table, peer).records()), &table).await?;
            let mut values = self.told(to, part);
            values.extend(self.new_rows(part)?);
            session.execute(statement, values, Operation::Records, &table).await?;
        }
        Ok(())
    }
}

fn shape<'a>(table: &'a Table, peer: &'a PeerTable) -> Shape<'a> {
    Shape { table: &table.relation.table, peer, columns: &table.columns, key: &table.key }
}

/// A statement that is prepared when it is asked for first.
async fn once(
    prepared: &mut Option<Statement>,
    session: &mut Session,
    sql: impl FnOnce() -> String,
    table: &TableName,
) -> Result<Statement> {
    Ok(match prepared {
        Some(statement) => statement.clone(),
        None => prepared.insert(session.prepare(&sql(), table).await?).clone(),
    })
}

impl Records {
    /// Writes them down. `prepared`: for all that a session writes.
    pub async fn send(self, session: &mut Session, to: &Place, prepared: &mut Option<Statement>) -> Result<()> {
        let sql = || to.adding(include_str!("../../../../sql/peer/record_conflicts.sql"));
        let statement = once(prepared, session, sql, &task_row()).await?;
        session.execute(statement, self.0, Operation::Other, &task_row()).await
    }
}
