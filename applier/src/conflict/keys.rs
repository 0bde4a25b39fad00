//! What keeps the rows of a table of the peer apart, and the query that finds whom a new row would collide with.

use pgrelay_core::{
    Result,
    name::{TableName, quote_ident, quote_literal},
};
use tokio_postgres::{Client, Row};

use crate::pg::server_error;

/// One unique index or exclusion constraint.
struct Key {
    name: String,
    is_primary: bool,
    deferrable: bool,
    nulls_equal: bool,
    filter: Option<String>,
    expressions: Vec<String>,
    operators: Vec<String>,
}

/// A column of the table.
struct Column {
    name: String,
    type_sql: String,
    generated: Option<String>,
}

/// Which keys are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those that hold at every moment.
    Immediate,
    /// Also those that hold at the end of a transaction only.
    All,
}

/// Everything that keeps rows of a table apart.
pub struct Keys {
    keys: Vec<Key>,
    columns: Vec<Column>,
}

impl Keys {
    /// Reads them from the peer's catalogs.
    pub async fn read(peer: &Client, table: &TableName) -> Result<Keys> {
        let failed = |e| server_error(e, "read the unique keys of a table").object(table.to_string());
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 2] = [&table.schema, &table.name];
        let keys = peer.query(include_str!("../../../sql/query/conflict/keys.sql"), &parameters).await.map_err(failed)?;
        let columns = peer.query(include_str!("../../../sql/query/conflict/columns.sql"), &parameters).await.map_err(failed)?;
        let key = |row: &Row| Key {
            name: row.get("name"),
            is_primary: row.get("is_primary"),
            deferrable: row.get("deferrable"),
            nulls_equal: row.get("nulls_equal"),
            filter: row.get("filter"),
            expressions: row.get("expressions"),
            operators: row.get("operators"),
        };
        let column = |row: &Row| Column { name: row.get("name"), type_sql: row.get("type"), generated: row.get("generated") };
        Ok(Keys { keys: keys.iter().map(key).collect(), columns: columns.iter().map(column).collect() })
    }

    /// The name of the primary key.
    pub fn primary(&self) -> Option<&str> {
        self.keys.iter().find(|key| key.is_primary).map(|key| key.name.as_str())
    }

    /// Whether nothing but the primary key keeps rows apart, and that at every moment.
    pub fn are_primary(&self) -> bool {
        matches!(self.keys.as_slice(), [key] if key.is_primary && !key.deferrable)
    }

    /// Whether there are deferrable ones.
    pub fn any_deferrable(&self) -> bool {
        self.keys.iter().any(|key| key.deferrable)
    }

    /// The rows that a new row collides with: their `ctid` as text, and the names of the constraints or indexes. `given` are the
    /// columns that the new row brings, whose values are the parameters in this order.
    ///
    /// A column that is not given counts as NULL: what the peer alone has is not known to collide. None where nothing is unique.
    pub fn colliding(&self, table: &TableName, given: &[String], which: Which) -> Option<String> {
        let keys: Vec<&Key> = self.keys.iter().filter(|key| which == Which::All || !key.deferrable).collect();
        let tail = "SELECT f.at::pg_catalog.text AS at, pg_catalog.array_agg(f.name) AS names FROM found AS f GROUP BY f.at";
        (!keys.is_empty()).then(|| self.holders(table, given, &keys, tail))
    }

    /// A row for each deferrable key of which more than one row holds the value of a new row; parameters as of `colliding`.
    pub fn held_twice(&self, table: &TableName, given: &[String]) -> String {
        let keys: Vec<&Key> = self.keys.iter().filter(|key| key.deferrable).collect();
        self.holders(table, given, &keys, "SELECT f.name FROM found AS f GROUP BY f.name HAVING pg_catalog.count(*) > 1")
    }

    /// A query over `found`: the rows that hold a value of a new row, as `at` and the `name` of the key.
    fn holders(&self, table: &TableName, given: &[String], keys: &[&Key], query: &str) -> String {
        let value = |column: &Column| {
            let parameter = given.iter().position(|name| *name == column.name);
            let value = parameter.map_or_else(|| "NULL".to_owned(), |at| format!("${}", at + 1));
            format!("{value}::{} AS {}", column.type_sql, quote_ident(&column.name))
        };
        let plain: Vec<String> = self.columns.iter().filter(|c| c.generated.is_none()).map(value).collect();
        let generated = |c: &Column| c.generated.as_ref().map(|sql| format!(", ({sql}) AS {}", quote_ident(&c.name)));
        let generated: String = self.columns.iter().filter_map(generated).collect();
        let found: Vec<String> = keys.iter().map(|key| key.matching(table)).collect();
        format!(
            "WITH \"pgrelay given\" AS MATERIALIZED (SELECT {}), \
             \"pgrelay new\" AS MATERIALIZED (SELECT *{generated} FROM \"pgrelay given\"), \
             found AS ({}) {query}",
            plain.join(", "),
            found.join(" UNION ALL ")
        )
    }
}

impl Key {
    /// A query for the rows of the table that the new row collides with on this key.
    fn matching(&self, table: &TableName) -> String {
        let of_new = |sql: &str| format!("(SELECT {sql} FROM \"pgrelay new\")");
        let same = |(sql, operator): (&String, &String)| {
            let equal = format!("{sql} {operator} {}", of_new(sql));
            if self.nulls_equal { format!("({equal} OR ({sql} IS NULL AND {} IS NULL))", of_new(sql)) } else { equal }
        };
        let mut conditions: Vec<String> = self.expressions.iter().zip(&self.operators).map(same).collect();
        if let Some(filter) = &self.filter {
            conditions.extend([format!("({filter})"), of_new(&format!("({filter})"))]);
        }
        format!(
            "SELECT ctid AS at, {}::pg_catalog.text AS name FROM ONLY {} WHERE {}",
            quote_literal(&self.name),
            table.quoted(),
            conditions.join(" AND ")
        )
    }
}
