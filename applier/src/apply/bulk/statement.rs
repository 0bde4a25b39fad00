//! The SQL of many changes at once: a parameter is an array with one element for each row.
//!
//! An array has the column's type, so that values are read by the type's own input, as they are one by one. Where `unnest`
//! would take an array or a composite apart further, or elements are not separated by commas, it is an array of text that is cast.

use pgrelay_core::name::{TableName, quote_ident};

use crate::apply::peer_table::{KeyColumn, PeerTable};

/// Parameters of `records` before the columns of the new rows.
const RECORDED: usize = 13;

/// What all statements of a table share.
pub struct Shape<'a> {
    /// Its name.
    pub table: &'a TableName,
    /// The peer's side of it.
    pub peer: &'a PeerTable,
    /// Names of the relation's columns in the stream's order.
    pub columns: &'a [String],
    /// By which rows are found: number in the relation, and how they are compared.
    pub key: &'a [(usize, KeyColumn)],
}

impl Shape<'_> {
    /// `unnest` of these columns as `u (c0, c1, …)`, and each as a value of the column's type.
    fn unnest(&self, columns: &[usize]) -> (String, Vec<String>) {
        let (arrays, names, values) = self.arrays(columns);
        (format!("ROWS FROM ({}) AS u ({})", arrays.join(", "), names.join(", ")), values)
    }

    /// As `unnest`, with the number of the element, from 1, as `n`.
    fn numbered(&self, columns: &[usize]) -> (String, Vec<String>) {
        let (arrays, names, values) = self.arrays(columns);
        (format!("ROWS FROM ({}) WITH ORDINALITY AS u ({}, n)", arrays.join(", "), names.join(", ")), values)
    }

    /// `unnest` of each of these columns, its name, and how the value is called.
    fn arrays(&self, columns: &[usize]) -> (Vec<String>, Vec<String>, Vec<String>) {
        self.arrays_behind(0, columns)
    }

    /// Likewise, behind so many other parameters.
    fn arrays_behind(&self, before: usize, columns: &[usize]) -> (Vec<String>, Vec<String>, Vec<String>) {
        let (mut arrays, mut names, mut values) = (vec![], vec![], vec![]);
        for (n, column) in columns.iter().enumerate() {
            let peer = self.peer.column(&self.columns[*column]);
            let type_sql = peer.map_or_else(|| "pg_catalog.text".to_owned(), |c| c.type_sql());
            if peer.is_some_and(|c| c.in_arrays) {
                arrays.push(format!("pg_catalog.unnest(${}::{type_sql}[])", before + n + 1));
                values.push(format!("u.c{n}"));
            } else {
                arrays.push(format!("pg_catalog.unnest(${}::pg_catalog.text[])", before + n + 1));
                values.push(format!("u.c{n}::{type_sql}"));
            }
            names.push(format!("c{n}"));
        }
        (arrays, names, values)
    }

    fn condition(&self, values: &[String]) -> String {
        let equal = |((_, key), value): (&(usize, KeyColumn), &String)| {
            format!("t.{} OPERATOR({}.{}) {value}", quote_ident(&key.name), quote_ident(&key.operator_schema), key.operator)
        };
        self.key.iter().zip(values).map(equal).collect::<Vec<_>>().join(" AND ")
    }

    /// The condition that finds rows, unless somebody else wrote them last and that is to be noticed.
    fn own(&self, values: &[String]) -> String {
        self.condition(values) + &self.peer.written_by_task("t.xmin")
    }

    /// A query that locks the rows of these keys and tells of each the number of the key, from 1, and who wrote it; `origins` is a query
    /// about `r.xid`, see `conflict::meet`.
    pub fn look(&self, origins: &str) -> String {
        let (unnest, key) = self.numbered(&self.key.iter().map(|(n, _)| *n).collect::<Vec<_>>());
        format!(
            "SELECT r.n, r.xid::pg_catalog.text::pg_catalog.oid AS xid, o.writer, o.origin, o.committed \
             FROM (SELECT u.n, t.xmin AS xid FROM {unnest} JOIN ONLY {} AS t ON {} FOR UPDATE OF t) AS r \
             CROSS JOIN LATERAL ({origins}) AS o",
            self.table.quoted(),
            self.condition(&key)
        )
    }

    /// A query for what a record holds of updates whose rows are locked: the number of the update, from 1, and as the text of `jsonb` its
    /// key, its new row, and the row as it is. Parameters are the columns of the new rows.
    pub fn images(&self) -> String {
        let (unnest, values) = self.numbered(&(0..self.columns.len()).collect::<Vec<_>>());
        let image = |columns: &[usize]| {
            let list: Vec<String> = columns.iter().map(|&n| format!("{} AS {}", values[n], quote_ident(&self.columns[n]))).collect();
            format!("(SELECT pg_catalog.to_jsonb(\"pgrelay row\".*)::pg_catalog.text FROM (SELECT {}) AS \"pgrelay row\")", list.join(", "))
        };
        let key: Vec<usize> = self.key.iter().map(|(n, _)| *n).collect();
        let of_key: Vec<String> = key.iter().map(|&n| values[n].clone()).collect();
        format!(
            "SELECT u.n, {} AS key, {} AS new, pg_catalog.to_jsonb(t.*)::pg_catalog.text AS met FROM {unnest} JOIN ONLY {} AS t ON {}",
            image(&key),
            image(&(0..self.columns.len()).collect::<Vec<_>>()),
            self.table.quoted(),
            self.condition(&of_key)
        )
    }

    /// A query for records of conflicts of updates whose rows are locked, as `sql/peer/record_conflicts.sql` is one where their images are
    /// known: here the server makes them. Parameters $1 to $4 as there; then arrays of kind, policy, resolution, transaction id, commit record,
    /// commit time, number of the change, and of the row that was met its origin and time; then the columns of the new rows.
    pub fn records(&self) -> String {
        let all: Vec<usize> = (0..self.columns.len()).collect();
        let (arrays, names, values) = self.arrays_behind(RECORDED, &all);
        let columns: Vec<String> = arrays.iter().zip(&names).map(|(array, name)| format!("{array} AS {name}")).collect();
        let image = |columns: &[usize]| {
            let list: Vec<String> = columns.iter().map(|&n| format!("{} AS {}", values[n], quote_ident(&self.columns[n]))).collect();
            format!("(SELECT pg_catalog.to_jsonb(\"pgrelay row\".*) FROM (SELECT {}) AS \"pgrelay row\")", list.join(", "))
        };
        let key: Vec<usize> = self.key.iter().map(|(n, _)| *n).collect();
        let of_key: Vec<String> = key.iter().map(|&n| values[n].clone()).collect();
        format!(
            include_str!("../../../../sql/query/conflict/records.sql"),
            columns = columns.join(", "),
            key = image(&key),
            new = image(&all),
            table = self.table.quoted(),
            condition = self.condition(&of_key),
        )
    }

    /// INSERT of rows with all their columns.
    pub fn insert(&self) -> String {
        let (unnest, values) = self.unnest(&(0..self.columns.len()).collect::<Vec<_>>());
        let names: Vec<String> = self.columns.iter().map(|c| quote_ident(c)).collect();
        let (table, names, values) = (self.table.quoted(), names.join(", "), values.join(", "));
        format!("INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {unnest}")
    }

    /// COPY of rows with all their columns.
    pub fn copy(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(|c| quote_ident(c)).collect();
        format!("COPY {} ({}) FROM STDIN", self.table.quoted(), names.join(", "))
    }

    /// A column that an UPDATE may write.
    pub fn any_settable(&self) -> Option<&str> {
        let settable = |name: &&String| self.peer.column(name).is_some_and(|c| !c.generated && !c.identity_always);
        self.columns.iter().find(settable).map(String::as_str)
    }

    /// UPDATE of these columns; parameters are the key's columns, then these. Of none: a row that is to stay as it is must be there all the
    /// same, and is this direction's from then on.
    pub fn update(&self, set: &[usize]) -> String {
        let columns: Vec<usize> = self.key.iter().map(|(n, _)| *n).chain(set.iter().copied()).collect();
        let (unnest, values) = self.unnest(&columns);
        let (key, new) = values.split_at(self.key.len());
        let mut set: Vec<String> = set.iter().zip(new).map(|(n, value)| format!("{} = {value}", quote_ident(&self.columns[*n]))).collect();
        if set.is_empty() {
            set.extend(self.any_settable().map(quote_ident).map(|same| format!("{same} = t.{same}")));
        }
        format!("UPDATE ONLY {} AS t SET {} FROM {unnest} WHERE {}", self.table.quoted(), set.join(", "), self.own(key))
    }

    /// DELETE by key.
    pub fn delete(&self) -> String {
        self.delete_where(Shape::own)
    }

    /// DELETE by key, whoever wrote the row.
    pub fn delete_any(&self) -> String {
        self.delete_where(Shape::condition)
    }

    fn delete_where(&self, condition: impl Fn(&Self, &[String]) -> String) -> String {
        let (unnest, key) = self.unnest(&self.key.iter().map(|(n, _)| *n).collect::<Vec<_>>());
        format!("DELETE FROM ONLY {} AS t USING {unnest} WHERE {}", self.table.quoted(), condition(self, &key))
    }
}
