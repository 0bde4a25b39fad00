//! A table of the peer, as far as applying changes to it needs to know.

use std::sync::Arc;

use pgrelay_core::{
    Error, Result,
    error::Kind,
    name::{TableName, quote_ident, quote_literal, quote_qualified},
};
use serde::{Deserialize, Deserializer};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, Statement};

use crate::pg::server_error;

/// One column of the peer's table.
#[derive(Debug, Clone, Deserialize)]
pub struct Column {
    /// Unquoted.
    pub name: String,
    /// On the peer; the same on both sides for types that PostgreSQL comes with.
    pub type_oid: u32,
    /// Schema of its type.
    pub type_schema: String,
    /// Name of its type.
    pub type_name: String,
    /// As in `pg_attribute.atttypmod`.
    pub typmod: i32,
    /// GENERATED … STORED: never written.
    pub generated: bool,
    /// GENERATED ALWAYS AS IDENTITY: never in SET.
    pub identity_always: bool,
    /// Equal values have equal bytes, however they came in; so the row image decides.
    pub one_image: bool,
    /// An array of its type can be written with commas and is taken apart into its values.
    pub in_arrays: bool,
}

impl Column {
    /// The type's name for a cast that changes no value.
    pub fn type_sql(&self) -> String {
        quote_qualified(&self.type_schema, &self.type_name)
    }
}

/// One column of a unique key, with the equality of its index.
#[derive(Debug, Clone, Deserialize)]
pub struct KeyColumn {
    /// Unquoted.
    pub name: String,
    /// Where the operator lives.
    pub operator_schema: String,
    /// The operator's symbol.
    pub operator: String,
    /// Values that are equal are the same text, as far as the collation goes.
    pub deterministic: bool,
}

/// A unique key that finds rows.
#[derive(Debug, Clone, Deserialize)]
pub struct Key {
    /// The primary key.
    pub primary: bool,
    /// In the order of the index.
    pub columns: Vec<KeyColumn>,
}

/// Which rows that a session of the peer's own wrote last are noticed when they change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Notices {
    /// None.
    #[default]
    None,
    /// All.
    All,
    /// Those that the other side cannot be said for certain to have seen: `pgrelay_apply.seen` is a setting of the session.
    Unseen,
}

/// A table of the peer.
#[derive(Debug, Clone, Deserialize)]
pub struct PeerTable {
    /// Has partitions and no rows of its own.
    pub partitioned: bool,
    /// Triggers or rules run while changes are applied.
    pub watched: bool,
    /// The owner, where changes are applied with his rights; none where they are with the applier's own.
    #[serde(deserialize_with = "shared")]
    pub acts_as: Option<Arc<str>>,
    /// Constraint triggers that run at the end of the transaction, quoted.
    pub deferred: Vec<String>,
    /// Some key or exclusion constraint is deferrable: while changes are applied nothing but pgrelay looks whether it holds.
    pub deferrable_keys: bool,
    /// An update or delete of a row that a session of the peer's own wrote last is to be noticed.
    #[serde(skip)]
    pub notices_others: Notices,
    /// The origin that the session marks with.
    #[serde(skip)]
    pub origin: Arc<str>,
    /// In the table's order.
    pub columns: Vec<Column>,
    /// The primary key first.
    pub keys: Vec<Key>,
}

impl PeerTable {
    /// Reads it from the peer's catalogs. `query`: what has been prepared for that on this connection, since to plan it takes ten times
    /// as long as to run it.
    ///
    /// Errors: `ShapeChanged` when there is no such table.
    pub async fn read(peer: &Client, query: &OnceCell<Statement>, table: &TableName) -> Result<PeerTable> {
        let failed = |e| server_error(e, "read the shape of a table of the peer");
        let prepare = || peer.prepare(include_str!("../../../sql/query/apply/peer_table.sql"));
        let query = query.get_or_try_init(prepare).await.map_err(failed)?;
        let row = peer.query_opt(query, &[&table.schema, &table.name]).await.map_err(failed)?;
        let Some(row) = row else {
            return Err(Error::new(Kind::ShapeChanged, format!("table \"{table}\" does not exist on the peer"))
                .object(table.to_string())
                .hint("Create it there as it is on the source, then call pgrelay.resume_task()."));
        };
        serde_json::from_value(row.get("json"))
            .map_err(|e| Error::new(Kind::Internal, "the shape of a peer's table cannot be read").caused_by(e))
    }

    /// The primary key, where it is tested at once.
    pub fn primary_key(&self) -> Option<&Key> {
        self.keys.iter().find(|key| key.primary)
    }

    /// The condition that a row, by the name of what it is in, has the key of the row that `$1` is as the text of `jsonb`.
    pub fn has_key_of_jsonb(&self, row: &str, key: &Key) -> String {
        let equal = |k: &KeyColumn| {
            let (name, type_sql) = (quote_ident(&k.name), self.column(&k.name)?.type_sql());
            Some(format!(
                "{row}.{name} OPERATOR({}.{}) (SELECT k.{name} FROM \
                 pg_catalog.jsonb_to_record($1::pg_catalog.text::pg_catalog.jsonb) AS k ({name} {type_sql}))",
                quote_ident(&k.operator_schema),
                k.operator
            ))
        };
        key.columns.iter().filter_map(equal).collect::<Vec<_>>().join(" AND ")
    }

    /// A column by name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// The condition, to be added to others, that a row was not written last by others: a session of the peer's own, or another
    /// replication (`conflict::meet::origins`); `xmin` is the column. Nothing where that does not matter. What the server does not know, as of
    /// a frozen row, does not count.
    pub fn written_by_task(&self, xmin: &str) -> String {
        let (own, copies) = (quote_literal(&self.origin), quote_literal(&format!("{}_copy_", self.origin)));
        // Looked up once for each statement.
        let others = format!(
            "ARRAY(SELECT 0::pg_catalog.oid UNION ALL SELECT n.roident FROM pg_catalog.pg_replication_origin n \
             WHERE n.roname OPERATOR(pg_catalog.<>) {own} AND NOT pg_catalog.starts_with(n.roname, {copies}))"
        );
        let written =
            format!("coalesce((pg_catalog.pg_xact_commit_timestamp_origin({xmin})).roident OPERATOR(pg_catalog.<>) ALL ({others}), true)");
        match self.notices_others {
            Notices::None => String::new(),
            Notices::All => format!(" AND {written}"),
            Notices::Unseen => format!(
                " AND ({written} OR pg_catalog.pg_xact_commit_timestamp({xmin}) OPERATOR(pg_catalog.<=) \
                 pg_catalog.current_setting('pgrelay_apply.seen')::timestamptz)"
            ),
        }
    }

    /// A key with just these columns, in any order.
    pub fn key_on(&self, columns: &[&str]) -> Option<&Key> {
        self.keys.iter().find(|k| k.columns.len() == columns.len() && k.columns.iter().all(|c| columns.contains(&c.name.as_str())))
    }
}

fn shared<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<Arc<str>>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.map(Arc::from))
}
