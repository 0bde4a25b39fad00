//! Many changes at once, for a backlog: what they amount to is applied in sets.
//!
//! Row by row is the definition; this is right where it cannot be told from it. So it takes only tables whose keys have one
//! text form and on which nothing runs that could see the order of changes, checks that each statement touched as many rows
//! as it must, and leaves everything else, and every surprise, to the other way.

mod array;
mod copy_text;
pub mod net;
mod statement;
pub mod weighed;

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use pgrelay_core::Result;
use tokio_postgres::Statement;

use self::{
    array::Array,
    copy_text::CopyText,
    net::{Cell, Changes, Key, Net, Row, Unfit},
    statement::Shape,
};
use super::{
    peer_table::{KeyColumn, PeerTable},
    relation::Relation,
    session::{Operation, Session, Value},
};
use crate::pg::pgoutput::{Column, Tuple};

/// Rows of one statement: enough that its cost does not count, few enough that its arrays stay small.
const ROWS: usize = 1000;

/// Bytes of one statement.
const BYTES: usize = 4 << 20;

/// New rows from here on are worth the round trip that COPY takes.
const WORTH_COPY: usize = 100;

/// Types that have one text form for each value, so that equal keys are equal texts: `boolean`, `bytea`, `name`, `bigint`,
/// `smallint`, `integer`, `text`, `oid`, `varchar`, `date`, `timestamp`, `timestamptz`, `uuid`.
const ONE_FORM: [u32; 13] = [16, 17, 19, 20, 21, 23, 25, 26, 1043, 1082, 1114, 1184, 2950];

/// How a table's changes are put together; only for tables that can be applied so.
pub struct Table {
    relation: Arc<Relation>,
    /// None where only new rows can come.
    key: Vec<(usize, KeyColumn)>,
    columns: Vec<String>,
    prepared: HashMap<Kind, Statement>,
    changes: Changes,
    /// New rows of a table without a key, of which nothing can be told apart.
    new: CopyText,
}

/// Rows that get values in the same columns.
type Updates = (Vec<usize>, Vec<(Key, Row)>);

type Fits<T> = std::result::Result<T, Unfit>;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kind {
    Copy,
    Insert,
    Update(Vec<usize>),
    Delete,
    /// Of rows that must not be there.
    DeleteNone,
}

impl Table {
    /// None where the table's changes are applied one by one. `key`: by which rows are found; empty where only new rows can come.
    pub fn new(relation: Arc<Relation>, peer: &PeerTable, key: &[(usize, KeyColumn)]) -> Option<Table> {
        let key = key.to_vec();
        let columns: Vec<String> = relation.columns.iter().map(|c| c.name.clone()).collect();
        let one_form = |(n, k): &(usize, KeyColumn)| ONE_FORM.contains(&relation.columns[*n].type_oid) && k.deterministic;
        let is_key = |name: &str| key.iter().any(|(_, k)| k.name == name);
        // A row that is removed and comes again must be all that the peer has of it.
        let no_more = peer.columns.iter().filter(|c| !c.generated).all(|c| columns.contains(&c.name));
        let fixed = peer.columns.iter().all(|c| !c.identity_always || is_key(&c.name));
        let may_be_set = Shape { table: &relation.table, peer, columns: &columns, key: &key }.any_settable().is_some();
        let keyed = key.iter().all(one_form) && no_more && fixed && may_be_set;
        let fits = !columns.is_empty() && (key.is_empty() || keyed) && !peer.watched && !peer.partitioned;
        let (prepared, changes, new) = (HashMap::new(), Changes::default(), CopyText::default());
        fits.then(|| Table { relation, key, columns, prepared, changes, new })
    }

    /// The description that it was made for.
    pub fn relation(&self) -> &Arc<Relation> {
        &self.relation
    }

    fn key_of(&self, row: &[Column<'_>]) -> Fits<Key> {
        let values = self.key.iter().map(|(n, _)| match row.get(*n) {
            Some(Column::Text(text)) => Ok(*text),
            _ => Err(Unfit),
        });
        Ok(net::key(values.collect::<Fits<Vec<_>>>()?.into_iter()))
    }

    /// Forgets what was gathered.
    pub fn forget(&mut self) {
        self.changes = Changes::default();
        self.new = CopyText::default();
    }

    fn add_new(&mut self, new: Tuple<'_>) -> Fits<()> {
        if new.columns().any(|c| matches!(c, Column::UnchangedToast | Column::Binary(_))) {
            return Err(Unfit);
        }
        for column in new.columns() {
            self.new.push(if let Column::Text(text) = column { Some(text) } else { None });
        }
        self.new.end_row();
        Ok(())
    }

    /// Adds a change; one that does not fit leaves everything as it was.
    pub fn add(&mut self, payload: &Bytes, old: Option<Tuple<'_>>, new: Option<Tuple<'_>>, is_insert: bool) -> Fits<()> {
        if payload.len() >= BYTES {
            // A wide row is worth a statement of its own, and would be copied and quoted here.
            return Err(Unfit);
        }
        if self.key.is_empty() {
            return if let (Some(new), true) = (new, is_insert) { self.add_new(new) } else { Err(Unfit) };
        }
        match (old.map(|old| old.columns().collect::<Vec<_>>()), new) {
            (Some(old), None) => self.changes.delete(self.key_of(&old)?),
            (old, Some(new)) => {
                let new: Vec<Column<'_>> = new.columns().collect();
                let key = self.key_of(&new)?;
                let row = row(payload, &new)?;
                match old {
                    _ if is_insert && row.contains(&Cell::Kept) => Err(Unfit),
                    _ if is_insert => self.changes.insert(key, row),
                    Some(old) if self.key_of(&old)? != key => self.changes.rekey(self.key_of(&old)?, key, row),
                    _ => self.changes.update(key, row),
                }
            }
            (None, None) => Err(Unfit),
        }
    }

    /// Sends what the changes amount to. The peer's transaction is open.
    pub async fn send(&mut self, session: &mut Session, peer: &PeerTable) -> Result<()> {
        let (mut gone, mut never, mut inserts) = (vec![], vec![], vec![]);
        let mut updates: Vec<Updates> = vec![];
        for (key, net) in std::mem::take(&mut self.changes).into_rows() {
            match net {
                Net::Delete => gone.push(key),
                Net::NeverWas => never.push(key),
                Net::Insert(row) => inserts.push(row),
                Net::Update(row) | Net::Replace(row) => {
                    let known = |n: &usize| row[*n] != Cell::Kept && !self.key.iter().any(|(k, _)| k == n);
                    let set: Vec<usize> = (0..row.len()).filter(known).collect();
                    match updates.iter_mut().find(|(s, _)| *s == set) {
                        Some((_, rows)) => rows.push((key, row)),
                        None => updates.push((set, vec![(key, row)])),
                    }
                }
            }
        }
        self.delete(session, peer, &gone, true).await?;
        // Rows of these keys would have stopped an insert, whoever wrote them.
        self.delete(session, peer, &never, false).await?;
        for (set, rows) in updates {
            self.update(session, peer, &set, &rows).await?;
        }
        self.insert(session, peer, &inserts).await?;
        let new = self.new.take();
        self.copy(session, peer, new).await
    }

    async fn delete(&mut self, session: &mut Session, peer: &PeerTable, keys: &[Key], there: bool) -> Result<()> {
        for part in keys.chunks(ROWS) {
            let values = self.keys(part.iter());
            let (kind, rows) = if there { (Kind::Delete, part.len()) } else { (Kind::DeleteNone, 0) };
            self.execute(session, peer, kind, values, rows).await?;
        }
        Ok(())
    }

    async fn update(&mut self, session: &mut Session, peer: &PeerTable, set: &[usize], rows: &[(Key, Row)]) -> Result<()> {
        for part in parts(rows, |(_, row)| row) {
            let mut values = self.keys(part.iter().map(|(key, _)| key));
            values.extend(set.iter().map(|n| column(part.iter().map(|(_, row)| &row[*n]))));
            self.execute(session, peer, Kind::Update(set.to_vec()), values, part.len()).await?;
        }
        Ok(())
    }

    async fn insert(&mut self, session: &mut Session, peer: &PeerTable, rows: &[Row]) -> Result<()> {
        if rows.len() >= WORTH_COPY {
            let mut text = CopyText::default();
            for row in rows {
                row.iter().for_each(|cell| text.push(if let Cell::Value(value) = cell { Some(value) } else { None }));
                text.end_row();
                if text.len() >= BYTES {
                    self.copy(session, peer, text.take()).await?;
                }
            }
            return self.copy(session, peer, text.take()).await;
        }
        for part in parts(rows, |row| row) {
            let values = (0..self.columns.len()).map(|n| column(part.iter().map(|row| &row[n]))).collect();
            self.execute(session, peer, Kind::Insert, values, part.len()).await?;
        }
        Ok(())
    }

    fn keys<'a>(&self, keys: impl Iterator<Item = &'a Key>) -> Vec<Value> {
        let mut arrays: Vec<Array> = self.key.iter().map(|_| Array::new()).collect();
        for key in keys {
            arrays.iter_mut().zip(net::values(key)).for_each(|(array, value)| array.push_value(value));
        }
        arrays.into_iter().map(|array| Value::Text(Some(array.finish()))).collect()
    }

    async fn copy(&mut self, session: &mut Session, peer: &PeerTable, (text, rows): (Bytes, u64)) -> Result<()> {
        if rows == 0 {
            return Ok(());
        }
        let statement = self.prepare(session, peer, Kind::Copy).await?;
        session.copy(statement, text, Operation::Many(rows), &self.relation.table).await
    }

    async fn execute(&mut self, session: &mut Session, peer: &PeerTable, kind: Kind, values: Vec<Value>, rows: usize) -> Result<()> {
        let statement = self.prepare(session, peer, kind).await?;
        session.execute(statement, values, Operation::Many(rows as u64), &self.relation.table).await
    }

    async fn prepare(&mut self, session: &mut Session, peer: &PeerTable, kind: Kind) -> Result<Statement> {
        Ok(match self.prepared.get(&kind) {
            Some(statement) => statement.clone(),
            None => {
                let shape = Shape { table: &self.relation.table, peer, columns: &self.columns, key: &self.key };
                let sql = match &kind {
                    Kind::Copy => shape.copy(),
                    Kind::Insert => shape.insert(),
                    Kind::Update(set) => shape.update(set),
                    Kind::Delete => shape.delete(),
                    Kind::DeleteNone => shape.delete_any(),
                };
                let statement = session.prepare(&sql, &self.relation.table).await?;
                self.prepared.insert(kind, statement.clone());
                statement
            }
        })
    }
}

fn row(payload: &Bytes, columns: &[Column<'_>]) -> Fits<Row> {
    let cell = |column: &Column<'_>| match column {
        Column::Null => Ok(Cell::Null),
        Column::Text(text) => Ok(Cell::Value(payload.slice_ref(text))),
        Column::UnchangedToast => Ok(Cell::Kept),
        Column::Binary(_) => Err(Unfit),
    };
    columns.iter().map(cell).collect()
}

fn column<'a>(cells: impl Iterator<Item = &'a Cell>) -> Value {
    let mut array = Array::new();
    cells.for_each(|cell| array.push(cell));
    Value::Text(Some(array.finish()))
}

/// Parts of at most so many rows and about so many bytes.
fn parts<T>(rows: &[T], row: impl Fn(&T) -> &Row) -> Vec<&[T]> {
    let size = |cell: &Cell| if let Cell::Value(value) = cell { value.len() } else { 0 };
    let (mut parts, mut from, mut bytes) = (vec![], 0, 0);
    for (at, item) in rows.iter().enumerate() {
        bytes += row(item).iter().map(size).sum::<usize>();
        if bytes >= BYTES || at + 1 - from >= ROWS {
            parts.push(&rows[from..=at]);
            (from, bytes) = (at + 1, 0);
        }
    }
    if from < rows.len() {
        parts.push(&rows[from..]);
    }
    parts
}
