//! The SQL of one change: plain functions from a table's shape to text.
//!
//! A statement depends only on the operation and on which columns the change carries, so each is prepared once.
//! Parameters come in the order that `Built::parameters` says.
//!
//! Rows are found by the key when both sides have one, with the equality of the peer's index (`citext` is not compared
//! as text), else by the whole row image (`*=`), of which exactly one is taken.
//! An identity column GENERATED ALWAYS cannot be SET: where it may have changed, the row is deleted and inserted again
//! in one statement.

use std::fmt::Write;

use pgrelay_core::{
    key_range::{Bound, KeyRange},
    name::{TableName, quote_ident, quote_literal},
};

use super::peer_table::{KeyColumn, PeerTable};

/// Where a parameter's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parameter {
    /// The column of this number in the new row.
    New(usize),
    /// The column of this number in what is known of the old row.
    Old(usize),
}

/// How the row that a change is about is found.
#[derive(Debug, Clone)]
pub enum Locate {
    /// By these columns (number in the relation) with these operators.
    Key(Vec<(usize, KeyColumn)>),
    /// By the image of these columns; one of the rows that have it is taken.
    Image(Vec<usize>),
}

/// A statement and where its parameters come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Parameters are `$1` and so on.
    pub sql: String,
    /// One for each.
    pub parameters: Vec<Parameter>,
}

/// What the server says of a change that was to be of one row and was not; as the value of a number, which makes it an error there.
const NOT_ONE_ROW: &str = "pgrelay: a change did not meet one row";

/// Whether a server's error is that of a tested change.
pub fn is_not_one_row(message: &str) -> bool {
    message.contains(NOT_ONE_ROW)
}

/// A number, or an error of the server unless each of these parts of the statement is of one row.
fn one_row_in_each(parts: &[String]) -> String {
    let counts = parts.iter().map(|part| format!("(SELECT pg_catalog.count(*) FROM {part}) OPERATOR(pg_catalog.=) 1"));
    format!("(CASE WHEN {} THEN '1' ELSE '{NOT_ONE_ROW}' END)::pg_catalog.int4", counts.collect::<Vec<_>>().join(" AND "))
}

/// As one statement of which nothing stays unless each of these is of one row. `also` is what it does beside.
pub fn all_or_nothing(parts: &[String], also: &[String]) -> String {
    let names: Vec<String> = (1..=parts.len()).map(|n| format!("part_{n}")).collect();
    let with = list(names.iter().zip(parts).map(|(name, part)| format!("{name} AS ({part} RETURNING true)")));
    let all: Vec<String> = std::iter::once(one_row_in_each(&names)).chain(also.iter().cloned()).collect();
    format!("WITH {with} SELECT {}", all.join(", "))
}

impl Built {
    /// The same change, which fails on the server unless it is of exactly one row.
    pub fn tested(self) -> Built {
        Built { sql: all_or_nothing(&[self.sql], &[]), ..self }
    }
}

/// What all statements of a table share.
pub struct Shape<'a> {
    /// Its name.
    pub table: &'a TableName,
    /// The peer's side of it.
    pub peer: &'a PeerTable,
    /// Names of the relation's columns in the stream's order.
    pub columns: &'a [String],
    /// How rows are found.
    pub locate: &'a Locate,
    /// Parameters that stand before those of this statement: it may be a part of a longer one.
    pub before: usize,
}

impl Shape<'_> {
    /// The type of a column of the relation on the peer.
    pub fn type_of(&self, column: usize) -> String {
        self.peer.column(&self.columns[column]).map(|c| c.type_sql()).unwrap_or_else(|| "pg_catalog.text".to_owned())
    }

    /// INSERT of a whole row.
    pub fn insert(&self) -> Built {
        let table = self.table.quoted();
        if self.columns.is_empty() {
            return Built { sql: format!("INSERT INTO {table} DEFAULT VALUES"), parameters: vec![] };
        }
        let names = list(self.columns.iter().map(|c| quote_ident(c)));
        let values = list((1..=self.columns.len()).map(|n| format!("${}", self.before + n)));
        Built {
            sql: format!("INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE VALUES ({values})"),
            parameters: (0..self.columns.len()).map(Parameter::New).collect(),
        }
    }

    /// SELECT of the row that a change is about: its count says whether it is there.
    pub fn look(&self, old_known: bool) -> Built {
        let mut parameters = vec![];
        let condition = self.own(&mut parameters, old_known);
        Built { sql: format!("SELECT FROM ONLY {} WHERE {condition}", self.table.quoted()), parameters }
    }

    /// DELETE of the row that the old values name.
    pub fn delete(&self) -> Built {
        let mut parameters = vec![];
        let condition = self.own(&mut parameters, true);
        Built { sql: format!("DELETE FROM ONLY {} WHERE {condition}", self.table.quoted()), parameters }
    }

    /// UPDATE of the columns in `set`; `old_known` says whether the change carries old values of the key.
    pub fn update(&self, set: &[usize], old_known: bool) -> Built {
        let mut parameters = vec![];
        let assignments = list(set.iter().map(|&column| {
            parameters.push(Parameter::New(column));
            format!("{} = ${}", quote_ident(&self.columns[column]), self.before + parameters.len())
        }));
        let condition = self.own(&mut parameters, old_known);
        Built { sql: format!("UPDATE ONLY {} SET {assignments} WHERE {condition}", self.table.quoted()), parameters }
    }

    /// DELETE and INSERT in one statement; columns that are not in `set` keep what the row had.
    pub fn replace(&self, set: &[usize], old_known: bool) -> Built {
        let table = self.table.quoted();
        let mut parameters = vec![];
        let condition = self.own(&mut parameters, old_known);
        let (mut names, mut values) = (vec![], vec![]);
        for column in self.peer.columns.iter().filter(|c| !c.generated) {
            let carried = set.iter().find(|&&n| self.columns[n] == column.name);
            names.push(quote_ident(&column.name));
            values.push(match carried {
                Some(&n) => {
                    parameters.push(Parameter::New(n));
                    format!("${}::{}", self.before + parameters.len(), column.type_sql())
                }
                None => format!("d.{}", quote_ident(&column.name)),
            });
        }
        let (names, values) = (list(names.into_iter()), list(values.into_iter()));
        Built {
            sql: format!(
                "WITH d AS (DELETE FROM ONLY {table} WHERE {condition} RETURNING *) \
                 INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE SELECT {values} FROM d"
            ),
            parameters,
        }
    }

    /// The condition that finds the row, unless somebody else wrote it last and that is to be noticed.
    fn own(&self, parameters: &mut Vec<Parameter>, old_known: bool) -> String {
        self.condition(parameters, old_known) + &self.peer.written_by_task("xmin")
    }

    /// The condition that finds the row; adds its parameters.
    pub fn condition(&self, parameters: &mut Vec<Parameter>, old_known: bool) -> String {
        let source = |n: usize| if old_known { Parameter::Old(n) } else { Parameter::New(n) };
        match self.locate {
            Locate::Key(columns) => {
                let mut condition = String::new();
                for (n, (column, key)) in columns.iter().enumerate() {
                    parameters.push(source(*column));
                    let and = if n == 0 { "" } else { " AND " };
                    let (name, operator_schema) = (quote_ident(&key.name), quote_ident(&key.operator_schema));
                    let (number, type_sql) = (self.before + parameters.len(), self.type_of(*column));
                    write!(condition, "{and}{name} OPERATOR({operator_schema}.{}) ${number}::{type_sql}", key.operator)
                        .expect("writing to a string does not fail");
                }
                condition
            }
            Locate::Image(columns) => {
                let mut mine = vec![];
                let mut theirs = vec![];
                for &n in columns {
                    parameters.push(source(n));
                    let (name, number, type_sql) = (quote_ident(&self.columns[n]), self.before + parameters.len(), self.type_of(n));
                    // Text and binary input may lay out the same value differently; its text form is one.
                    let cast = if self.peer.column(&self.columns[n]).is_some_and(|c| c.one_image) { "" } else { "::pg_catalog.text" };
                    mine.push(format!("{name}{cast}"));
                    theirs.push(format!("${number}::{type_sql}{cast}"));
                }
                let (mine, theirs) = (list(mine.into_iter()), list(theirs.into_iter()));
                format!(
                    "ctid = (SELECT ctid FROM ONLY {} WHERE ROW({mine})::record OPERATOR(pg_catalog.*=) ROW({theirs})::record LIMIT 1)",
                    self.table.quoted()
                )
            }
        }
    }
}

/// TRUNCATE of some tables in one command.
pub fn truncate(tables: &[&TableName], cascade: bool, restart_identity: bool) -> String {
    let names = list(tables.iter().map(|t| format!("ONLY {}", t.quoted())));
    let restart = if restart_identity { " RESTART IDENTITY" } else { "" };
    let cascade = if cascade { " CASCADE" } else { "" };
    format!("TRUNCATE TABLE {names}{restart}{cascade}")
}

/// DELETE of all rows whose key lies in one of some ranges. Bounds are in the form that the server wrote them in.
pub fn empty_ranges(table: &TableName, column: &str, ranges: &[KeyRange]) -> String {
    let conditions: Vec<String> = ranges.iter().map(|range| format!("({})", in_range(column, range))).collect();
    format!("DELETE FROM ONLY {} WHERE {}", table.quoted(), conditions.join(" OR "))
}

/// The condition that a key lies in a range.
pub fn in_range(column: &str, range: &KeyRange) -> String {
    let column = quote_ident(column);
    let bound = |bound: &Option<Bound>, operator: &str| {
        bound.as_ref().map(|b| format!("{column} OPERATOR(pg_catalog.{operator}) {}", quote_literal(&b.text)))
    };
    let conditions: Vec<String> = [bound(&range.lower, ">="), bound(&range.upper, "<")].into_iter().flatten().collect();
    if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") }
}

fn list(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::apply::peer_table::Column;
    use crate::apply::peer_table::Notices;

    fn column(name: &str, identity_always: bool) -> Column {
        Column {
            name: name.into(),
            type_oid: 23,
            type_schema: "pg_catalog".into(),
            type_name: "int4".into(),
            typmod: -1,
            generated: false,
            identity_always,
            in_arrays: true,
            one_image: name != "toasted",
        }
    }

    fn key(name: &str) -> KeyColumn {
        KeyColumn { name: name.into(), operator_schema: "pg_catalog".into(), operator: "=".into(), deterministic: true }
    }

    #[test]
    fn statements_name_each_column_once_and_in_the_order_of_their_parameters() {
        let table = TableName::new("s", "t\"x");
        let peer = PeerTable {
            partitioned: false,
            watched: false,
            notices_others: Notices::None,
            origin: Arc::default(),
            acts_as: None,
            deferred: vec![],
            deferrable_keys: false,
            columns: vec![column("b", false), column("a", false)],
            keys: vec![],
        };
        let columns = ["a".to_owned(), "b".to_owned()];
        let locate = Locate::Key(vec![(0, key("a"))]);
        let shape = Shape { table: &table, peer: &peer, columns: &columns, locate: &locate, before: 0 };
        assert_eq!(shape.insert().sql, r#"INSERT INTO "s"."t""x" ("a", "b") OVERRIDING SYSTEM VALUE VALUES ($1, $2)"#);
        assert_eq!(
            shape.update(&[1], false),
            Built {
                sql: r#"UPDATE ONLY "s"."t""x" SET "b" = $1 WHERE "a" OPERATOR("pg_catalog".=) $2::"pg_catalog"."int4""#.into(),
                parameters: vec![Parameter::New(1), Parameter::New(0)],
            }
        );
        assert_eq!(shape.update(&[0, 1], true).parameters, [Parameter::New(0), Parameter::New(1), Parameter::Old(0)]);
        assert_eq!(shape.delete().parameters, [Parameter::Old(0)]);
        assert!(shape.delete().tested().sql.starts_with(r#"WITH part_1 AS (DELETE FROM ONLY "s"."t""x" WHERE "a" "#));
        let text = Shape {
            peer: &PeerTable { columns: vec![column("b", false), Column { one_image: false, ..column("a", false) }], ..peer.clone() },
            locate: &Locate::Image(vec![0]),
            ..shape
        };
        assert!(text.delete().sql.contains(r#"ROW("a"::pg_catalog.text)::record"#));
        let image = Shape { locate: &Locate::Image(vec![0, 1]), ..shape };
        assert_eq!(
            image.delete().sql,
            r#"DELETE FROM ONLY "s"."t""x" WHERE ctid = (SELECT ctid FROM ONLY "s"."t""x" WHERE ROW("a", "b")::record OPERATOR(pg_catalog.*=) ROW($1::"pg_catalog"."int4", $2::"pg_catalog"."int4")::record LIMIT 1)"#
        );
    }

    #[test]
    fn replace_keeps_what_the_change_does_not_carry() {
        let table = TableName::new("s", "t");
        let peer = PeerTable {
            partitioned: false,
            watched: false,
            notices_others: Notices::None,
            origin: Arc::default(),
            acts_as: None,
            deferred: vec![],
            deferrable_keys: false,
            columns: vec![column("id", true), column("toasted", false)],
            keys: vec![],
        };
        let columns = ["id".to_owned(), "toasted".to_owned()];
        let locate = Locate::Key(vec![(0, key("id"))]);
        let shape = Shape { table: &table, peer: &peer, columns: &columns, locate: &locate, before: 0 };
        let built = shape.replace(&[0], true);
        assert!(
            built.sql.ends_with(r#"("id", "toasted") OVERRIDING SYSTEM VALUE SELECT $2::"pg_catalog"."int4", d."toasted" FROM d"#),
            "{}",
            built.sql
        );
        assert_eq!(built.parameters, [Parameter::Old(0), Parameter::New(0)]);
    }

    #[test]
    fn truncate_names_all_tables_in_one_command() {
        let (a, b) = (TableName::new("s", "a"), TableName::new("s", "b"));
        assert_eq!(truncate(&[&a, &b], true, true), r#"TRUNCATE TABLE ONLY "s"."a", ONLY "s"."b" RESTART IDENTITY CASCADE"#);
    }
}
