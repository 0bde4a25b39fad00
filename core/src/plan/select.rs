//! Which nodes of a graph a selection takes: what its patterns match, what belongs to that, what that needs.

use std::collections::BTreeSet;

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

/// Decides for every node; says what is left out, and which nodes could not be taken.
pub(crate) fn take(
    graph: &Graph<'_>,
    catalog: &Catalog,
    selection: &Selection,
    not_movable: NotMovable,
    findings: &mut Vec<Finding>,
) -> (Vec<Taken>, Vec<bool>) {
    let nothing = vec![false; graph.nodes.len()];
    let mut told = Vec::new();
    let mut taken = take_without(graph, catalog, selection, &nothing, &mut told);
    let barred = barred(graph, &taken, not_movable, findings);
    if barred.contains(&true) {
        // Chosen anew: what only they would have brought along does not come either.
        told.clear();
        taken = take_without(graph, catalog, selection, &barred, &mut told);
    }
    findings.append(&mut told);
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
    (taken, barred)
}

/// Decides for every node but the `barred` ones, which no other one needs.
fn take_without(graph: &Graph<'_>, catalog: &Catalog, selection: &Selection, barred: &[bool], findings: &mut Vec<Finding>) -> Vec<Taken> {
    let all = selection.include.contains(&Pattern::All);
    let picked = |(at, n): (usize, &Node<'_>)| if barred[at] { Taken::No } else { root(n, selection, all) };
    let mut taken: Vec<Taken> = graph.nodes.iter().enumerate().map(picked).collect();
    take_partitions(graph, catalog, selection, barred, &mut taken);
    let mut open: Vec<usize> = (0..taken.len()).filter(|&i| taken[i] != Taken::No).collect();
    close(graph, barred, &mut taken, &mut open);
    take_what_belongs(graph, barred, &mut taken, findings);
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
fn take_partitions(graph: &Graph<'_>, catalog: &Catalog, selection: &Selection, barred: &[bool], taken: &mut [Taken]) {
    let node = |oid: u32| graph.resolver.node(crate::plan::draft::relation(oid));
    let mut more = true;
    while more {
        more = false;
        for t in catalog.tables.iter().filter(|t| t.bound.is_some()) {
            let Some((one, parent)) = node(t.object.oid).zip(t.parents.first().and_then(|&p| node(p))) else { continue };
            let out = selection.exclude.iter().any(|p| p.matches(&t.object.schema, &t.object.name));
            if taken[parent] != Taken::No && taken[one] == Taken::No && !out && !barred[one] {
                taken[one] = Taken::Selected;
                more = true;
            }
        }
    }
}

/// Takes along what the open ones need, and functions, types and sequences that bodies name.
fn close(graph: &Graph<'_>, barred: &[bool], taken: &mut [Taken], open: &mut Vec<usize>) {
    while let Some(at) = open.pop() {
        let hints = graph.soft[at].iter().filter(|&&to| !matches!(graph.nodes[to].rank, rank::TABLE | rank::VIEW));
        for &to in graph.needs[at].iter().chain(hints) {
            if taken[to] == Taken::No && !barred[to] {
                taken[to] = Taken::NeededBy(at);
                open.push(to);
            }
        }
    }
}

/// Indexes, keys, triggers and the like of what is taken, and what they need in turn; foreign keys last, when all else is known.
fn take_what_belongs(graph: &Graph<'_>, barred: &[bool], taken: &mut [Taken], findings: &mut Vec<Finding>) {
    let belongs = |at: usize, taken: &[Taken]| {
        let owner = graph.nodes[at].follows.and_then(|a| graph.resolver.node(a));
        taken[at] == Taken::No && !barred[at] && owner.is_some_and(|o| taken[o] != Taken::No)
    };
    loop {
        let mut open: Vec<usize> = (0..taken.len()).filter(|&at| graph.nodes[at].references.is_none() && belongs(at, taken)).collect();
        if open.is_empty() {
            break;
        }
        open.iter().for_each(|&at| taken[at] = Taken::Selected);
        close(graph, barred, taken, &mut open);
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

/// For each node, the nodes that need it.
fn wanted_by(needs: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut wanted_by: Vec<Vec<usize>> = vec![vec![]; needs.len()];
    for (from, list) in needs.iter().enumerate() {
        list.iter().for_each(|&to| wanted_by[to].push(from));
    }
    wanted_by
}

/// What needs a node, whatever lies between, among what is taken.
fn dependents(at: usize, wanted_by: &[Vec<usize>], taken: &[Taken]) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut open = vec![at];
    while let Some(next) = open.pop() {
        open.extend(wanted_by[next].iter().copied().filter(|&by| taken[by] != Taken::No && by != at && found.insert(by)));
    }
    found
}

/// What cannot be carried, with all that needs it; both are named.
fn barred(graph: &Graph<'_>, taken: &[Taken], not_movable: NotMovable, findings: &mut Vec<Finding>) -> Vec<bool> {
    let mut barred = vec![false; graph.nodes.len()];
    let lacking: Vec<usize> = (0..taken.len()).filter(|&at| taken[at] != Taken::No && graph.nodes[at].lack.is_some()).collect();
    if lacking.is_empty() {
        return barred;
    }
    let severity = if not_movable == NotMovable::Report { Severity::Error } else { Severity::Warning };
    let (hard, soft) = (wanted_by(&graph.needs), wanted_by(&graph.soft));
    for at in lacking {
        let node = &graph.nodes[at];
        let Some(lack) = &node.lack else { continue };
        let with_it = dependents(at, &hard, taken);
        let texts = soft[at].iter().copied().filter(|&by| taken[by] != Taken::No && !with_it.contains(&by));
        let message = format!(
            "{} cannot be made on the peer: {}{}{}",
            node.identity,
            lack.reason,
            names("; left out with it: ", graph, with_it.iter().copied()),
            names("; made all the same, though their text names it: ", graph, texts),
        );
        findings.push(Finding { item: "not_movable", severity, object: node.identity.clone(), message, fix: lack.fix.clone() });
        barred[at] = true;
        with_it.into_iter().for_each(|by| barred[by] = true);
    }
    barred
}

/// Without a peer nobody knows whether it has the libraries of these functions.
pub(crate) fn warn_of_low_level(graph: &Graph<'_>, taken: &[Taken], findings: &mut Vec<Finding>) {
    let low = |at: &usize| taken[*at] != Taken::No && graph.nodes[*at].low_level.is_some();
    let all: Vec<usize> = (0..taken.len()).filter(low).collect();
    if all.is_empty() {
        return;
    }
    let hard = wanted_by(&graph.needs);
    for at in all {
        let node = &graph.nodes[at];
        let language = node.low_level.unwrap_or_default();
        let with_it = names("; with it goes: ", graph, dependents(at, &hard, taken).into_iter());
        findings.push(Finding {
            item: "low_level_function",
            severity: Severity::Warning,
            object: node.identity.clone(),
            message: format!("{} is written in {language} and is carried only when the peer has its library{with_it}", node.identity),
            fix: None,
        });
    }
}

fn names(intro: &str, graph: &Graph<'_>, nodes: impl Iterator<Item = usize>) -> String {
    let names: Vec<&str> = nodes.map(|at| graph.nodes[at].identity.as_str()).collect();
    match names.len() {
        0 => String::new(),
        n if n <= NAMED => format!("{intro}{}", names.join(", ")),
        n => format!("{intro}{} and {} more", names[..NAMED].join(", "), n - NAMED),
    }
}
