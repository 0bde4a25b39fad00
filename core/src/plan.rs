//! The plan of a task's schema: which objects, in which order, with which DDL, and when.
//!
//! `order` and `ddl` make it from a `catalog`; the extension shows it, the applier carries it out.

use std::fmt;

use crate::{finding::Finding, name::TableName};

/// Which of the three parts of a move an object belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Created before any row.
    PreData,
    /// The rows themselves: tables, sequence positions.
    Data,
    /// Created when rows are there.
    PostData,
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Section::PreData => "pre_data",
            Section::Data => "data",
            Section::PostData => "post_data",
        })
    }
}

/// When the applier carries an item out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// Before any row, in order.
    BeforeData,
    /// The rows of a table (`Section::Data`; no DDL).
    Copy(TableName),
    /// As soon as the rows of this one table are in, before its waiting changes: its indexes, its keys.
    AfterTable(TableName),
    /// When every table stands at one position, in order: foreign keys, triggers, parents' indexes, refreshes.
    AfterAll,
}

/// One step of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Position in the plan, from 1.
    pub ordinal: i32,
    /// Its section.
    pub section: Section,
    /// What it is, in PostgreSQL's words: `table`, `foreign key`, `comment`.
    pub kind: String,
    /// Unique within the plan: `table shop.orders`, `constraint orders_pkey on shop.orders`.
    pub identity: String,
    /// When the applier carries it out.
    pub when: When,
    /// The SQL, one or more statements that run in one transaction; everything in it is qualified. Empty for `When::Copy`.
    pub ddl: String,
    /// A statement that follows in a transaction of its own and lets others write meanwhile, such as VALIDATE CONSTRAINT.
    pub then: Option<String>,
    /// Identities of the items that must come first.
    pub depends_on: Vec<String>,
    /// Why it stands where it stands: a sentence a DBA understands.
    pub reason: String,
}

/// A whole plan.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// In the order of execution.
    pub items: Vec<Item>,
    /// What cannot be carried, by name, and what hangs on it.
    pub findings: Vec<Finding>,
}
