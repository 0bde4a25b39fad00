//! The SQL of many changes at once: a parameter is an array with one element for each row.
//!
//! An array has the column's type, so that values are read by the type's own input, as they are one by one. Where `unnest`
//! would take an array apart further, or elements are not separated by commas, it is an array of text that is cast.

use pgrelay_core::name::{TableName, quote_ident, quote_literal};

use crate::apply::peer_table::{KeyColumn, PeerTable};

/// What a record of `Shape::note` has beside the new row, with its type: what kind of conflict it is, by which policy it was decided and how,
/// the transaction on the source, its commit record and time, the number of the change in it, the row that it met, and who had written that
/// and when. Times are microseconds since 2000.
const NOTED: [(&str, &str); 10] = [
    ("kind", "text"),
    ("policy", "text"),
    ("resolution", "text"),
    ("xid", "text"),
    ("commit", "pg_lsn"),
    ("committed", "bigint"),
    ("number", "bigint"),
    ("peer", "text"),
    ("origin", "text"),
    ("written", "bigint"),
];

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

    /// `unnest` of each of these columns, its name, and how the value is called.
    fn arrays(&self, columns: &[usize]) -> (Vec<String>, Vec<String>, Vec<String>) {
        let (mut arrays, mut names, mut values) = (vec![], vec![], vec![]);
        for (n, column) in columns.iter().enumerate() {
            let peer = self.peer.column(&self.columns[*column]);
            let type_sql = peer.map_or_else(|| "pg_catalog.text".to_owned(), |c| c.type_sql());
            if peer.is_some_and(|c| c.in_arrays) {
                arrays.push(format!("pg_catalog.unnest(${}::{type_sql}[])", n + 1));
                values.push(format!("u.c{n}"));
            } else {
                arrays.push(format!("pg_catalog.unnest(${}::pg_catalog.text[])", n + 1));
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

    /// A query that locks the rows of these keys and tells of each the number of the key, from 1, and who wrote it, and what it holds
    /// unless that was the task; `origins` is a query about `r.xid`, see `conflict::meet`.
    pub fn look(&self, origins: &str) -> String {
        let columns: Vec<usize> = self.key.iter().map(|(n, _)| *n).collect();
        let (arrays, mut names, key) = self.arrays(&columns);
        names.push("n".to_owned());
        format!(
            "SELECT r.n, r.at::pg_catalog.text AS at, CASE WHEN o.writer = 'own' THEN '' ELSE r.image::pg_catalog.text END AS image, \
                    r.xid::pg_catalog.text::pg_catalog.oid AS xid, o.writer, o.origin, o.committed \
             FROM (SELECT u.n, t.ctid AS at, t.xmin AS xid, pg_catalog.to_jsonb(t.*) AS image \
                   FROM ROWS FROM ({}) WITH ORDINALITY AS u ({}) JOIN ONLY {} AS t ON {} FOR UPDATE OF t) AS r \
             CROSS JOIN LATERAL ({origins}) AS o",
            arrays.join(", "),
            names.join(", "),
            self.table.quoted(),
            self.condition(&key)
        )
    }

    /// INSERT of records of updates that have met the row of somebody else, which then is all that the update says. Parameters are the
    /// columns of the new rows, then those of the records as `NOTED` names them. `to`: key and direction of the task.
    pub fn note(&self, (key, direction): (&str, &str)) -> String {
        let (mut arrays, mut names, values) = self.arrays(&(0..self.columns.len()).collect::<Vec<_>>());
        for (name, type_sql) in NOTED {
            arrays.push(format!("pg_catalog.unnest(${}::{type_sql}[])", arrays.len() + 1));
            names.push(name.to_owned());
        }
        let image = |columns: &[usize]| {
            let list: Vec<String> = columns.iter().map(|&n| format!("{} AS {}", values[n], quote_ident(&self.columns[n]))).collect();
            format!("(SELECT pg_catalog.to_jsonb(\"pgrelay row\".*) AS image FROM (SELECT {}) AS \"pgrelay row\")", list.join(", "))
        };
        let of_key = image(&self.key.iter().map(|(n, _)| *n).collect::<Vec<_>>());
        let of_new = image(&(0..self.columns.len()).collect::<Vec<_>>());
        let (key, direction) = (quote_literal(key), quote_literal(direction));
        let (schema, table) = (quote_literal(&self.table.schema), quote_literal(&self.table.name));
        format!(
            "INSERT INTO pgrelay_peer.conflict (task_key, direction, schema_name, table_name, operation, kind, constraints, policy, \
                 resolution, source_xid, source_commit_lsn, source_commit_ts, change_no, key, incoming_new, peer_rows, result_row, \
                 peer_origins, peer_commit_ts) \
             SELECT {key}, {direction}, {schema}, {table}, 'update', u.kind, '{{}}', u.policy, u.resolution, \
                 u.xid::pg_catalog.xid8, u.commit, {epoch} + u.committed * interval '1 microsecond', u.number, {of_key}, n.image, \
                 pg_catalog.jsonb_build_array(u.peer::pg_catalog.jsonb), CASE WHEN u.resolution <> 'ignored' THEN n.image END, \
                 ARRAY[u.origin], ARRAY[{epoch} + u.written * interval '1 microsecond'] \
             FROM ROWS FROM ({}) AS u ({}) CROSS JOIN LATERAL {of_new} AS n",
            arrays.join(", "),
            names.join(", "),
            epoch = "timestamptz '2000-01-01 00:00:00+00'",
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

    /// UPDATE of these columns; parameters are the key's columns, then these.
    pub fn update(&self, set: &[usize]) -> String {
        let columns: Vec<usize> = self.key.iter().map(|(n, _)| *n).chain(set.iter().copied()).collect();
        let (unnest, values) = self.unnest(&columns);
        let (key, new) = values.split_at(self.key.len());
        let set: Vec<String> = set.iter().zip(new).map(|(n, value)| format!("{} = {value}", quote_ident(&self.columns[*n]))).collect();
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
