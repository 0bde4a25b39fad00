//! Differences of structure between source and peer, each with the DDL that would mend the peer.
//!
//! Both catalogs are planned in the same way and compared item by item: what a plan prints is what a task would make.
//! `drop` says how each object goes away, `mend` how one becomes like the source's.
//! **Invariant**: an object that is equal on both sides is never a difference, whatever else differs.

mod drop;
mod keep;
mod mend;
mod table;

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

pub use keep::{Keeping, keep};

use crate::{
    catalog::Catalog,
    name::Selection,
    plan::{Item, Peer, Plan, Rules, When, draft::derived_class, plan_by_rules},
    task::NotMovable,
};

/// How the sides differ in an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The peer does not have it.
    Missing,
    /// Only the peer has it.
    Extra,
    /// Both have it, not alike.
    Different,
    /// The task has not come to it yet.
    Later,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Way::Missing => "missing",
            Way::Extra => "extra",
            Way::Different => "different",
            Way::Later => "later",
        })
    }
}

/// One difference, a row of `verify_schema`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// As `plan::Item::kind`.
    pub kind: String,
    /// As `plan::Item::identity`.
    pub identity: String,
    /// How the sides differ.
    pub way: Way,
    /// SQL for the peer; none for what comes later by itself.
    pub fix: Option<String>,
}

/// How far the task is on the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// Everything that comes before the rows is made.
    pub before_data: bool,
    /// Everything is made.
    pub after_data: bool,
}

/// Replica identities of the source as they were before pgrelay changed them: oid of the table, `relreplident`, index.
pub fn put_back_identities(catalog: &mut Catalog, before: &[(u32, String, Option<String>)]) {
    for (table, identity, index) in before {
        for t in catalog.tables.iter_mut().filter(|t| t.object.oid == *table) {
            t.replica_identity.clone_from(identity);
        }
        for i in catalog.indexes.iter_mut().filter(|i| i.table == *table) {
            i.replica_identity = Some(&i.object.name) == index.as_ref();
        }
    }
}

/// Compares what `selection` takes by `rules`, less what the peer lacks: extra objects first, those that need others before these, then the
/// others in the order of the plan, so that the fixes can be run from the first to the last.
pub fn compare(source: &Catalog, peer: &Catalog, selection: &Selection, rules: Rules<'_>, reached: Reached) -> Vec<Difference> {
    let wanted = plan_of(source, selection, rules);
    let has_all = Rules { peer: Peer::HasAll, ..rules };
    let found = plan_of(peer, selection, has_all);
    let all = Selection::all();
    // What is selected only because something else needs it may be selected on one side alone.
    let (source_all, peer_all) = match *selection == all {
        true => (None, None),
        false => (Some(plan_of(source, &all, has_all)), Some(plan_of(peer, &all, has_all))),
    };
    let there = by_identity(peer_all.as_ref().unwrap_or(&found));
    let known: HashSet<&str> = items(&wanted).chain(source_all.iter().flat_map(items)).map(|i| i.identity.as_str()).collect();
    let left_out = if rules.peer == Peer::HasAll { Plan::default() } else { plan_of(source, selection, has_all) };
    let left_out: HashSet<&str> = items(&left_out).map(|i| i.identity.as_str()).collect();
    let mend = mend::Mend::new(source, peer, rules.tablespaces);

    let extra = items(&found).filter(|i| !known.contains(i.identity.as_str()) && !left_out.contains(i.identity.as_str()));
    let mut differences: Vec<Difference> = extra.map(|i| difference(i, Way::Extra, Some(mend.extra(i)))).collect();
    differences.reverse();
    for item in items(&wanted) {
        let at_its_turn = if item.when == When::BeforeData { reached.before_data } else { reached.after_data };
        match there.get(item.identity.as_str()) {
            None if at_its_turn => differences.push(difference(item, Way::Missing, Some(mend.missing(item)))),
            None => differences.push(difference(item, Way::Later, None)),
            Some(other) if mend::same(item, other) => {}
            Some(_) if !at_its_turn => differences.push(difference(item, Way::Later, None)),
            Some(other) => differences.push(difference(item, Way::Different, Some(mend.different(item, other)))),
        }
    }
    differences
}

fn plan_of(catalog: &Catalog, selection: &Selection, rules: Rules<'_>) -> Plan {
    plan_by_rules(catalog, selection, Rules { not_movable: NotMovable::Skip, ..rules })
}

/// Items that are objects: no rows, and no shells, which are there when their types are.
fn items(plan: &Plan) -> impl Iterator<Item = &Item> {
    plan.items.iter().filter(|i| !matches!(i.when, When::Copy(_)) && i.object.class != derived_class::SHELL)
}

fn by_identity(plan: &Plan) -> HashMap<&str, &Item> {
    items(plan).map(|i| (i.identity.as_str(), i)).collect()
}

fn difference(item: &Item, way: Way, fix: Option<String>) -> Difference {
    Difference { kind: item.kind.clone(), identity: item.identity.clone(), way, fix }
}
