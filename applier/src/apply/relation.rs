//! Relations of the stream, and the statements that apply their changes to the peer.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use pgrelay_core::{
    Error, Result,
    error::Kind,
    name::{TableName, quote_ident},
};
use tokio_postgres::Statement;

use super::{
    bulk,
    peer_table::{KeyColumn, Notices, PeerTable},
    session::{Session, Value},
    statement::{Built, Locate, Parameter, Shape},
};
use crate::pg::pgoutput::{Column, ReplicaIdentity, Tuple};

/// Types below this come with PostgreSQL and have the same oid everywhere (`FirstNormalObjectId`).
const FIRST_USER_OID: u32 = 16384;

/// One column of a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationColumn {
    /// Unquoted.
    pub name: String,
    /// Part of the replica identity.
    pub is_key: bool,
    /// On the source.
    pub type_oid: u32,
    /// On the source.
    pub typmod: i32,
}

/// A relation as a RELATION message described it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// On the source.
    pub oid: u32,
    /// By its names on the source.
    pub table: Arc<TableName>,
    /// What old rows hold.
    pub identity: ReplicaIdentity,
    /// In the order of the rows.
    pub columns: Vec<RelationColumn>,
}

/// On what the statement of a change depends, beside its table.
#[derive(Debug, PartialEq, Eq, Hash, Clone)]
pub enum StatementKey {
    /// All columns.
    Insert,
    /// By what is known of the old row.
    Delete,
    /// Whether old values of the key come with the change.
    Look { old_known: bool },
    /// The columns that get values; `replace`: the row is deleted and inserted.
    Update { set: Vec<usize>, old_known: bool, replace: bool },
}

struct Prepared {
    statement: Statement,
    parameters: Vec<Parameter>,
    tested: bool,
}

/// A change with its values, ready to send.
pub struct Ready {
    /// The prepared statement.
    pub statement: Statement,
    /// One value per parameter.
    pub values: Vec<Value>,
    /// The server itself refuses it where it is not of one row.
    pub tested: bool,
}

/// Where the changes of one relation go.
pub struct Target {
    /// The description that the statements were made for.
    pub relation: Arc<Relation>,
    peer: PeerTable,
    names: Vec<String>,
    locate: Locate,
    statements: HashMap<StatementKey, Prepared>,
}

impl Target {
    /// Reads the peer's table and compares. `exact`: the task made the table, so it has no other columns either. `kept`: the peer had
    /// it before. `notices_others`: a change of a row that others wrote last is a conflict to look at.
    ///
    /// Errors: `ShapeChanged`, naming table and column, when the peer's table is not what the stream brings rows for.
    pub async fn new(session: &mut Session, relation: Arc<Relation>, exact: bool, kept: bool, notices_others: Notices) -> Result<Target> {
        let peer = PeerTable { notices_others, origin: session.origin(), ..session.shape_of(&relation.table).await? };
        compare(&relation, &peer, exact && !kept)?;
        let locate = locate(&relation, &peer);
        let names: Vec<String> = relation.columns.iter().map(|c| c.name.clone()).collect();
        Ok(Target { relation, peer, names, locate, statements: HashMap::new() })
    }

    /// The peer's table.
    pub fn peer(&self) -> &PeerTable {
        &self.peer
    }

    /// The names of the columns that changes bring, in the order of the stream.
    pub fn column_names(&self) -> &[String] {
        &self.names
    }

    /// The numbers of the columns of the key that rows are found by; none where they are found by their image.
    pub fn key_columns(&self) -> Option<Vec<usize>> {
        match &self.locate {
            Locate::Key(columns) => Some(columns.iter().map(|(n, _)| *n).collect()),
            Locate::Image(_) => None,
        }
    }

    /// Whether an update gives the row another key.
    pub fn changes_key(&self, old: Option<Tuple<'_>>, new: Option<Tuple<'_>>) -> bool {
        let (Locate::Key(key), Some(old), Some(new)) = (&self.locate, old, new) else { return false };
        let (old, new): (Vec<Column<'_>>, Vec<Column<'_>>) = (old.columns().collect(), new.columns().collect());
        key.iter().any(|(n, _)| is_another(&old[*n], &new[*n]))
    }

    /// Whether rows are found by the peer's primary key.
    pub fn finds_by_primary_key(&self) -> bool {
        let Locate::Key(key) = &self.locate else { return false };
        let primary = self.peer.keys.iter().find(|key| key.primary);
        primary.is_some_and(|primary| {
            primary.columns.len() == key.len() && key.iter().all(|(_, k)| primary.columns.iter().any(|c| c.name == k.name))
        })
    }

    /// The condition that two rows have the same key, by the names of what they are in.
    pub fn key_equals(&self, one: &str, other: &str) -> Option<String> {
        let Locate::Key(columns) = &self.locate else { return None };
        let equal = |(_, key): &(usize, KeyColumn)| {
            let (name, schema) = (quote_ident(&key.name), quote_ident(&key.operator_schema));
            format!("{one}.{name} OPERATOR({schema}.{}) {other}.{name}", key.operator)
        };
        Some(columns.iter().map(equal).collect::<Vec<_>>().join(" AND "))
    }

    /// The type of a column on the peer, for a cast that changes no value.
    pub fn type_of(&self, column: usize) -> String {
        self.shape().type_of(column)
    }

    /// Whether what is known of an old row is all of it, and not only its key.
    pub fn tells_whole_rows(&self) -> bool {
        self.relation.identity == ReplicaIdentity::Full
    }

    /// The condition that finds the row of a change, and where its parameters come from.
    pub fn condition(&self, old_known: bool) -> (String, Vec<Parameter>) {
        let mut parameters = vec![];
        (self.shape().condition(&mut parameters, old_known), parameters)
    }

    fn shape(&self) -> Shape<'_> {
        Shape { table: &self.relation.table, peer: &self.peer, columns: &self.names, locate: &self.locate, before: 0 }
    }

    /// How its changes are applied many at once; none where they are not.
    pub fn many(&self) -> Option<bulk::Table> {
        let key = match &self.locate {
            Locate::Key(columns) => columns.as_slice(),
            // Without a replica identity the source has only new rows to tell.
            Locate::Image(columns) if columns.is_empty() => &[],
            Locate::Image(_) => return None,
        };
        bulk::Table::new(self.relation.clone(), &self.peer, key)
    }

    /// Whether the peer's table only has partitions.
    pub fn is_partitioned(&self) -> bool {
        self.peer.partitioned
    }

    /// An INSERT of `new`.
    pub async fn insert(&mut self, session: &mut Session, payload: &Bytes, new: Tuple<'_>) -> Result<Ready> {
        self.ready(session, StatementKey::Insert, payload, None, Some(new)).await
    }

    /// A DELETE of the row that `old` names.
    pub async fn delete(&mut self, session: &mut Session, payload: &Bytes, old: Tuple<'_>) -> Result<Ready> {
        self.ready(session, StatementKey::Delete, payload, Some(old), None).await
    }

    /// Looks for the row that a change is about, which has these values before and after; for tables where a change of no row says
    /// nothing, since triggers or rules may have kept it away.
    pub async fn look(&mut self, session: &mut Session, payload: &Bytes, old: Option<Tuple<'_>>, new: Option<Tuple<'_>>) -> Result<Ready> {
        self.ready(session, StatementKey::Look { old_known: old.is_some() }, payload, old, new).await
    }

    /// An UPDATE to `new`; none when the change carries nothing to set.
    pub async fn update(
        &mut self,
        session: &mut Session,
        payload: &Bytes,
        old: Option<Tuple<'_>>,
        new: Tuple<'_>,
    ) -> Result<Option<Ready>> {
        let Some(key) = self.update_key(old, new) else { return Ok(None) };
        Ok(Some(self.ready(session, key, payload, old, Some(new)).await?))
    }

    fn update_key(&self, old: Option<Tuple<'_>>, new: Tuple<'_>) -> Option<StatementKey> {
        let mut set = vec![];
        let mut replace = false;
        let old_columns: Option<Vec<Column<'_>>> = old.map(|o| o.columns().collect());
        for (n, column) in new.columns().enumerate() {
            if column == Column::UnchangedToast {
                continue;
            }
            if self.peer.column(&self.names[n]).is_some_and(|c| c.identity_always) {
                let known = self.relation.columns[n].is_key;
                let unchanged = known && old_columns.as_ref().is_none_or(|o| o[n] == column);
                if unchanged {
                    continue;
                }
                replace = true;
            }
            set.push(n);
        }
        let old_known = old.is_some();
        (!set.is_empty()).then_some(StatementKey::Update { set, old_known, replace })
    }

    /// On what a part of a longer statement depends that does the same as this change; none where it takes a statement of its own.
    pub fn part(&self, old: Option<Tuple<'_>>, new: Option<Tuple<'_>>, is_insert: bool) -> Option<StatementKey> {
        let key = match new {
            Some(_) if is_insert => StatementKey::Insert,
            Some(new) => self.update_key(old, new)?,
            None => StatementKey::Delete,
        };
        self.is_tested(&key).then_some(key)
    }

    /// That part, behind so many parameters.
    pub fn build_part(&self, key: &StatementKey, before: usize) -> Built {
        self.build_in(Shape { before, ..self.shape() }, key)
    }

    async fn ready(
        &mut self,
        session: &mut Session,
        key: StatementKey,
        payload: &Bytes,
        old: Option<Tuple<'_>>,
        new: Option<Tuple<'_>>,
    ) -> Result<Ready> {
        self.statement(session, key.clone()).await?;
        let prepared = &self.statements[&key];
        let (statement, tested) = (prepared.statement.clone(), prepared.tested);
        Ok(Ready { statement, values: self.values(&prepared.parameters, payload, old, new)?, tested })
    }

    async fn statement(&mut self, session: &mut Session, key: StatementKey) -> Result<&Prepared> {
        if !self.statements.contains_key(&key) {
            let tested = self.is_tested(&key);
            let built = if tested { self.build(&key).tested() } else { self.build(&key) };
            let statement = session.prepare(&built.sql, &self.relation.table).await?;
            self.statements.insert(key.clone(), Prepared { statement, parameters: built.parameters, tested });
        }
        Ok(&self.statements[&key])
    }

    /// The values of these parameters.
    pub fn values(&self, parameters: &[Parameter], payload: &Bytes, old: Option<Tuple<'_>>, new: Option<Tuple<'_>>) -> Result<Vec<Value>> {
        let old: Vec<Column<'_>> = old.map(|t| t.columns().collect()).unwrap_or_default();
        let new: Vec<Column<'_>> = new.map(|t| t.columns().collect()).unwrap_or_default();
        let value = |p: &Parameter| {
            let (row, n) = match p {
                Parameter::New(n) => (&new, *n),
                Parameter::Old(n) => (&old, *n),
            };
            match row.get(n) {
                Some(Column::Null) => Ok(Value::Text(None)),
                Some(Column::Text(text)) => Ok(Value::Text(Some(payload.slice_ref(text)))),
                _ => Err(Error::new(Kind::Protocol, format!("a change of table \"{}\" lacks a value it must have", self.relation.table))),
            }
        };
        parameters.iter().map(value).collect()
    }

    /// Whether the server counts the rows of a change: not where triggers or rules may keep it away, nor where it is two in one already.
    fn is_tested(&self, key: &StatementKey) -> bool {
        let is_one = matches!(key, StatementKey::Insert | StatementKey::Delete | StatementKey::Update { replace: false, .. });
        is_one && !self.peer.watched
    }

    fn build(&self, key: &StatementKey) -> Built {
        self.build_in(self.shape(), key)
    }

    fn build_in(&self, shape: Shape<'_>, key: &StatementKey) -> Built {
        match key {
            StatementKey::Insert => shape.insert(),
            StatementKey::Delete => shape.delete(),
            StatementKey::Look { old_known } => shape.look(*old_known),
            StatementKey::Update { set, old_known, replace: false } => shape.update(set, *old_known),
            StatementKey::Update { set, old_known, replace: true } => shape.replace(set, *old_known),
        }
    }
}

/// Whether an update gives a column another value than the old row had; a value that it leaves out of line as it was does not come.
pub fn is_another(old: &Column<'_>, new: &Column<'_>) -> bool {
    *new != Column::UnchangedToast && old != new
}

fn compare(relation: &Relation, peer: &PeerTable, exact: bool) -> Result<()> {
    let table = &relation.table;
    let changed = |message: String| {
        Err(Error::new(Kind::ShapeChanged, message)
            .object(table.to_string())
            .hint("Run on the peer what was run on the source, then call pgrelay.resume_task()."))
    };
    for column in &relation.columns {
        let Some(other) = peer.column(&column.name) else {
            return changed(format!("column \"{}\" of table \"{table}\" does not exist on the peer", column.name));
        };
        if other.generated {
            return changed(format!("column \"{}\" of table \"{table}\" is generated on the peer and not on the source", column.name));
        }
        let built_in = column.type_oid < FIRST_USER_OID || other.type_oid < FIRST_USER_OID;
        if (built_in && column.type_oid != other.type_oid) || column.typmod != other.typmod {
            return changed(format!("column \"{}\" of table \"{table}\" has another type on the peer", column.name));
        }
    }
    let extra = peer.columns.iter().find(|p| !p.generated && !relation.columns.iter().any(|c| c.name == p.name));
    match extra {
        Some(column) if exact => changed(format!("column \"{}\" of table \"{table}\" exists on the peer only", column.name)),
        _ => Ok(()),
    }
}

fn locate(relation: &Relation, peer: &PeerTable) -> Locate {
    let number = |name: &str| relation.columns.iter().position(|c| c.name == name);
    let key = if relation.identity == ReplicaIdentity::Full {
        // Every old value is known, so the peer's primary key finds the row where it has one.
        peer.keys.iter().find(|k| k.primary)
    } else {
        let identity: Vec<&str> = relation.columns.iter().filter(|c| c.is_key).map(|c| c.name.as_str()).collect();
        peer.key_on(&identity)
    };
    let columns = key.map(|k| k.columns.iter().map(|c| number(&c.name).map(|n| (n, c.clone()))).collect::<Option<Vec<_>>>());
    match columns.flatten() {
        Some(columns) => Locate::Key(columns),
        None => Locate::Image((0..relation.columns.len()).filter(|&n| relation.columns[n].is_key).collect()),
    }
}
