//! Which nodes of a graph a selection takes: what its patterns match, what belongs to that, what that needs.

use crate::{
    catalog::{Catalog, class},
    finding::{Finding, Severity},
    name::{Pattern, Selection},
    plan::{
        draft::{Node, rank},
        graph::Graph,
    },
    task::NotMovable,
};

/// How many names a finding lists before it counts the rest.
const NAMED: usize = 20;

/// For each node, why it is in the plan: none, because it is selected, or because another needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    No,
    Selected,
    NeededBy(usize),
}

/// Decides for every node; says what is left out.
pub(crate) fn take(
    graph: &Graph<'_>,
    catalog: &Catalog,
    selection: &Selection,
    not_movable: NotMovable,
    findings: &mut Vec<Finding>,
) -> Vec<Taken> {
    let all = selection.include.contains(&Pattern::All);
    let mut taken: Vec<Taken> = graph.nodes.iter().map(|n| root(n, selection, all)).collect();
    take_partitions(graph, catalog, selection, &mut taken);
    let mut open: Vec<usize> = (0..taken.len()).filter(|&i| taken[i] != Taken::No).collect();
    close(graph, &mut taken, &mut open);
    take_what_belongs(graph, &mut taken, findings);
    leave_out_not_movable(graph, &mut taken, not_movable, findings);
    for (at, node) in graph.nodes.iter().enumerate() {
        if let Taken::NeededBy(by) = taken[at]
            && node.rank == rank::TABLE
            && node.address.class == class::RELATION
        {
            findings.push(Finding {
                item: "comes_along",
                severity: Severity::Warning,
                object: node.identity.clone(),
                message: format!(
                    "{} is not selected but {} needs it: it comes along with its rows",
                    node.identity, graph.nodes[by].identity
                ),
                fix: None,
            });
        }
    }
    taken
}

/// Selected by the patterns themselves.
fn root(node: &Node<'_>, selection: &Selection, all: bool) -> Taken {
    let picked = if node.follows.is_some() {
        false
    } else if node.address.class == class::SCHEMA {
        selection.matches(&node.name, "*")
            || selection.include.iter().any(|p| *p == Pattern::Schema(node.name.clone())) && !excluded(node, selection)
    } else if node.schema.is_empty() || node.address.class == class::EXTENSION {
        all
    } else {
        selection.matches(&node.schema, &node.name)
    };
    if picked { Taken::Selected } else { Taken::No }
}

fn excluded(schema: &Node<'_>, selection: &Selection) -> bool {
    selection.exclude.contains(&Pattern::Schema(schema.name.clone()))
}

/// The partitions of a selected table are its rows; an excluded one is left out.
fn take_partitions(graph: &Graph<'_>, catalog: &Catalog, selection: &Selection, taken: &mut [Taken]) {
    let node = |oid: u32| graph.resolver.node(crate::plan::draft::relation(oid));
    let mut more = true;
    while more {
        more = false;
        for t in catalog.tables.iter().filter(|t| t.bound.is_some()) {
            let Some((one, parent)) = node(t.object.oid).zip(t.parents.first().and_then(|&p| node(p))) else { continue };
            let out = selection.exclude.iter().any(|p| p.matches(&t.object.schema, &t.object.name));
            if taken[parent] != Taken::No && taken[one] == Taken::No && !out {
                taken[one] = Taken::Selected;
                more = true;
            }
        }
    }
}

/// Takes along what the open ones need, and functions, types and sequences that bodies name.
fn close(graph: &Graph<'_>, taken: &mut [Taken], open: &mut Vec<usize>) {
    while let Some(at) = open.pop() {
        let hints = graph.soft[at].iter().filter(|&&to| !matches!(graph.nodes[to].rank, rank::TABLE | rank::VIEW));
        for &to in graph.needs[at].iter().chain(hints) {
            if taken[to] == Taken::No {
                taken[to] = Taken::NeededBy(at);
                open.push(to);
            }
        }
    }
}

/// Indexes, keys, triggers and the like of what is taken, and what they need in turn; foreign keys last, when all else is known.
fn take_what_belongs(graph: &Graph<'_>, taken: &mut [Taken], findings: &mut Vec<Finding>) {
    let belongs = |at: usize, taken: &[Taken]| {
        let owner = graph.nodes[at].follows.and_then(|a| graph.resolver.node(a));
        taken[at] == Taken::No && owner.is_some_and(|o| taken[o] != Taken::No)
    };
    loop {
        let mut open: Vec<usize> = (0..taken.len()).filter(|&at| graph.nodes[at].references.is_none() && belongs(at, taken)).collect();
        if open.is_empty() {
            break;
        }
        open.iter().for_each(|&at| taken[at] = Taken::Selected);
        close(graph, taken, &mut open);
    }
    for at in 0..taken.len() {
        let node = &graph.nodes[at];
        let Some(references) = node.references.filter(|_| belongs(at, taken)) else { continue };
        match graph.resolver.node(references).filter(|&r| taken[r] != Taken::No) {
            Some(_) => taken[at] = Taken::Selected,
            None => findings.push(Finding {
                item: "foreign_key_left_out",
                severity: Severity::Warning,
                object: node.identity.clone(),
                message: format!("the foreign key {} is left out, since the table it refers to is not selected", node.identity),
                fix: None,
            }),
        }
    }
}

/// Takes out what cannot be carried, with all that needs it, and names both.
fn leave_out_not_movable(graph: &Graph<'_>, taken: &mut [Taken], not_movable: NotMovable, findings: &mut Vec<Finding>) {
    let mut wanted_by: Vec<Vec<usize>> = vec![vec![]; graph.nodes.len()];
    for (from, list) in graph.needs.iter().enumerate() {
        list.iter().for_each(|&to| wanted_by[to].push(from));
    }
    let severity = if not_movable == NotMovable::Report { Severity::Error } else { Severity::Warning };
    let mut out: Vec<usize> = Vec::new();
    for at in (0..taken.len()).filter(|&i| taken[i] != Taken::No) {
        let node = &graph.nodes[at];
        let Some(reason) = &node.not_movable else { continue };
        let mut dependents: Vec<usize> = Vec::new();
        let mut open = vec![at];
        while let Some(next) = open.pop() {
            for &by in wanted_by[next].iter().filter(|&&by| taken[by] != Taken::No) {
                if by != at && !dependents.contains(&by) {
                    dependents.push(by);
                    open.push(by);
                }
            }
        }
        dependents.sort_unstable();
        findings.push(Finding {
            item: "not_movable",
            severity,
            object: node.identity.clone(),
            message: format!(
                "{} {reason}{}",
                node.identity,
                and_dependents(&dependents.iter().map(|&d| graph.nodes[d].identity.as_str()).collect::<Vec<_>>())
            ),
            fix: None,
        });
        out.push(at);
        out.extend(dependents);
    }
    out.iter().for_each(|&at| taken[at] = Taken::No);
}

fn and_dependents(names: &[&str]) -> String {
    match names.len() {
        0 => String::new(),
        n if n <= NAMED => format!("; left out with it: {}", names.join(", ")),
        n => format!("; left out with it: {} and {} more", names[..NAMED].join(", "), n - NAMED),
    }
}
