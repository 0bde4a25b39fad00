//! The plan of a task's schema: which objects, in which order, with which DDL, and when.
//!
//! `order` and `ddl` make it from a `catalog`; the extension shows it, the applier carries it out.

mod attach;
pub(crate) mod draft;
mod graph;
mod hints;
mod items;
mod kept;
mod late_type;
pub(crate) mod lookup;
mod path;
mod select;
pub mod settings;
mod side_by_side;

pub(crate) use kept::with_parts;
pub use kept::{Kept, kept};
pub use side_by_side::{Parts, side_by_side};

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::{
    catalog::{Address, Catalog, Extension, class},
    ddl,
    finding::Finding,
    name::{Pattern, Selection, TableName},
    plan::lookup::Lookup,
    task::{NotMovable, Options, Tablespaces},
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
    /// The object in the catalogs it was read from, or an address derived from it.
    pub object: Address,
    /// When the applier carries it out.
    pub when: When,
    /// The SQL, one or more statements that run in one transaction; everything in it is qualified. Empty for `When::Copy`.
    pub ddl: String,
    /// What follows in a transaction of its own, behind the `ddl` of all others: it lets others write meanwhile, such as VALIDATE
    /// CONSTRAINT, or needs everything, such as REFRESH. `ddl` is empty where there is nothing else.
    pub then: Option<String>,
    /// Identity of the object that it is a part of, as an index is of its table, whether that is an item of the plan or not.
    pub of: Option<String>,
    /// Identities of the items that must come first.
    pub depends_on: Vec<String>,
    /// Why it stands where it stands: a sentence a DBA understands.
    pub reason: String,
}

impl Item {
    /// Whether it is an index, or a key that is one.
    pub fn is_index(&self) -> bool {
        matches!(self.kind.as_str(), "index" | "primary key" | "unique constraint" | "exclusion constraint")
    }

    /// Whether its `ddl` reads a table's rows, and so takes the longer the more there are.
    pub fn reads_rows(&self) -> bool {
        match self.kind.as_str() {
            "index" | "primary key" | "unique constraint" | "exclusion constraint" | "check constraint" => true,
            "foreign key" => self.then.is_none(),
            _ => false,
        }
    }
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
    pub(crate) low_level: BTreeSet<String>,
    pub(crate) left_out: BTreeSet<TableName>,
    pub(crate) conditions: BTreeMap<TableName, String>,
    pub(crate) tablespaces: BTreeSet<String>,
    pub(crate) kept: Kept,
    pub(crate) kept_tables: BTreeSet<TableName>,
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

    /// Tablespaces that its DDL names.
    pub fn tablespaces(&self) -> &BTreeSet<String> {
        &self.tablespaces
    }

    /// Identities of its functions in C and of the server itself, which a peer can only have with their library.
    pub fn low_level(&self) -> &BTreeSet<String> {
        &self.low_level
    }

    /// Tables that are selected and left out, since the peer lacks what they need; and those of extensions that are not carried.
    pub fn left_out(&self) -> &BTreeSet<TableName> {
        &self.left_out
    }

    /// Tables of extensions whose rows are carried, with the condition (`WHERE …`, or empty) for those that are the user's: these take
    /// the place of the peer's.
    pub fn conditions(&self) -> &BTreeMap<TableName, String> {
        &self.conditions
    }
}

/// Why the peer cannot have an object, and what would mend that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// What is so, as it follows the object's identity: `could not access file "x"`.
    pub reason: String,
    /// The SQL or the step that mends it.
    pub fix: Option<String>,
}

/// What the peer lacks, by identity.
pub type Lacks = BTreeMap<String, Lack>;

/// What is known of the peer that a plan is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer<'l> {
    /// Nothing: functions in C and of the server itself, outside extensions, are carried, each with a warning.
    Unknown,
    /// It has everything that the plan's objects need.
    HasAll,
    /// It cannot have these objects, nor what depends on them.
    Lacks(&'l Lacks),
}

/// What a plan may do beyond the options of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules<'l> {
    /// What becomes of objects that cannot be carried.
    pub not_movable: NotMovable,
    /// Which those are.
    pub peer: Peer<'l>,
    /// Where they come to lie.
    pub tablespaces: Tablespaces,
    /// Large objects are carried.
    pub large_objects: bool,
}

impl Rules<'_> {
    /// Those of a task, for a peer that has everything.
    pub fn of(options: &Options) -> Rules<'static> {
        Rules {
            not_movable: options.not_movable,
            peer: Peer::HasAll,
            tablespaces: options.tablespaces,
            large_objects: options.large_objects,
        }
    }
}

/// The plan of a task for a peer that is not known: what `selection` takes from `catalog`, in order.
pub fn plan(catalog: &Catalog, selection: &Selection, options: &Options) -> Plan {
    plan_by_rules(catalog, selection, Rules { peer: Peer::Unknown, ..Rules::of(options) })
}

/// The same under `rules`.
pub fn plan_by_rules(catalog: &Catalog, selection: &Selection, rules: Rules<'_>) -> Plan {
    let lookup = Lookup::new(catalog, rules.tablespaces);
    let mut draft = ddl::draft(&lookup);
    if let Peer::Lacks(lacks) = rules.peer {
        draft.nodes.iter_mut().for_each(|n| n.lack = lacks.get(&n.identity).cloned());
    }
    let mut attached = attach::Attached::new(catalog, &mut draft);
    let mut graph = graph::build(catalog, draft, hints::body_needs);
    let mut findings = std::mem::take(&mut graph.findings);
    let (taken, barred) = select::take(&graph, catalog, selection, rules.not_movable, &mut findings);
    if rules.peer == Peer::Unknown {
        select::warn_of_low_level(&graph, &taken, &mut findings);
    }
    attached.resolve(&graph, &mut findings);
    let extensions = catalog.extensions.iter().map(|x| {
        let node = graph.resolver.node(Address::new(class::EXTENSION, x.object.oid));
        (x, node.is_some_and(|at| taken[at] != select::Taken::No))
    });
    let extensions: Vec<(&Extension, bool)> = extensions.collect();
    let settings = settings::carry(extensions.iter().copied(), selection, rules.peer);
    findings.extend(settings.findings);
    let items = items::make(&graph, &lookup, &taken, &attached, settings.items, &mut findings);
    let named = |at: &usize| taken[*at] != select::Taken::No;
    let large_objects = catalog.others.iter().filter(|o| rules.large_objects && o.kind == "large objects");
    let roles = (0..taken.len()).filter(named).flat_map(|at| &graph.nodes[at].roles);
    let roles = roles.chain(large_objects.flat_map(|o| &o.roles)).cloned().collect();
    let low_level = (0..taken.len()).filter(named).map(|at| &graph.nodes[at]).filter(|n| n.low_level.is_some());
    let low_level = low_level.map(|n| n.identity.clone()).collect();
    let extensions = extensions.iter().filter(|(_, taken)| *taken).map(|(x, _)| (x.object.name.clone(), x.version.clone())).collect();
    let out = graph.nodes.iter().zip(&barred).filter(|(n, barred)| **barred && n.rank == draft::rank::TABLE);
    let left_out = out.map(|(n, _)| TableName::new(&n.schema, &n.name)).chain(settings.left_out).collect();
    let tablespaces = attach::tablespaces(catalog, &graph, &taken);
    let tablespaces = match rules.tablespaces {
        Tablespaces::Keep => tablespaces.into_keys().map(str::to_string).collect(),
        Tablespaces::Ignore => {
            findings.extend(tablespaces.into_iter().map(attach::other_tablespace));
            BTreeSet::new()
        }
    };
    if selection.include.contains(&Pattern::All) {
        let left = catalog.others.iter().filter(|o| !(rules.large_objects && o.kind == "large objects"));
        findings.extend(left.map(attach::not_carried));
    }
    let conditions = settings.conditions;
    Plan { items, findings, roles, extensions, low_level, left_out, tablespaces, conditions, ..Plan::default() }
}
