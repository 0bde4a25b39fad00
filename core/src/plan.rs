//! The plan of a task's schema: which objects, in which order, with which DDL, and when.
//!
//! `order` and `ddl` make it from a `catalog`; the extension shows it, the applier carries it out.

mod attach;
pub(crate) mod draft;
mod graph;
mod hints;
mod items;
pub(crate) mod lookup;
mod select;

use std::{collections::BTreeSet, fmt};

use crate::{
    catalog::{Address, Catalog, class},
    ddl,
    finding::Finding,
    name::{Pattern, Selection, TableName},
    plan::lookup::Lookup,
    task::{NotMovable, Options},
};

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
    /// What follows in a transaction of its own, behind the `ddl` of all others: it lets others write meanwhile, such as VALIDATE
    /// CONSTRAINT, or needs everything, such as REFRESH. `ddl` is empty where there is nothing else.
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
    pub(crate) roles: BTreeSet<String>,
    pub(crate) extensions: BTreeSet<(String, String)>,
}

impl Plan {
    /// Roles that the plan's DDL names and the peer must have.
    pub fn roles(&self) -> BTreeSet<String> {
        self.roles.clone()
    }

    /// Extensions that the plan makes, each with its version.
    pub fn extensions(&self) -> BTreeSet<(String, String)> {
        self.extensions.clone()
    }
}

/// What a plan may do beyond the options of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// What becomes of objects that cannot be carried.
    pub not_movable: NotMovable,
    /// C and internal functions outside extensions are made all the same: the peer has their libraries.
    pub low_level_functions: bool,
}

/// The plan of a task: what `selection` takes from `catalog`, in order, and what it leaves out.
pub fn plan(catalog: &Catalog, selection: &Selection, options: &Options) -> Plan {
    plan_by_rules(catalog, selection, Rules { not_movable: options.not_movable, low_level_functions: false })
}

/// The same under `rules`.
pub fn plan_by_rules(catalog: &Catalog, selection: &Selection, rules: Rules) -> Plan {
    let lookup = Lookup::new(catalog);
    let mut draft = ddl::draft(&lookup);
    if rules.low_level_functions {
        draft.nodes.iter_mut().for_each(|n| n.not_movable = None);
    }
    let mut attached = attach::Attached::new(catalog, &mut draft);
    let mut graph = graph::build(catalog, draft, hints::body_needs);
    let mut findings = std::mem::take(&mut graph.findings);
    let taken = select::take(&graph, catalog, selection, rules.not_movable, &mut findings);
    attached.resolve(&graph, &mut findings);
    let items = items::make(&graph, &lookup, &taken, &attached, &mut findings);
    let named = |at: &usize| taken[*at] != select::Taken::No;
    let roles = (0..taken.len()).filter(named).flat_map(|at| graph.nodes[at].roles.iter().cloned()).collect();
    let extensions = catalog.extensions.iter().filter(|x| {
        let node = graph.resolver.node(Address::new(class::EXTENSION, x.object.oid));
        node.is_some_and(|at| taken[at] != select::Taken::No)
    });
    let extensions = extensions.map(|x| (x.object.name.clone(), x.version.clone())).collect();
    findings.extend(attach::tablespaces(catalog, &graph, &taken));
    if selection.include.contains(&Pattern::All) {
        findings.extend(catalog.others.iter().map(attach::not_carried));
    }
    Plan { items, findings, roles, extensions }
}
