//! From a graph and what is taken of it to the items of a plan: phases, order, reasons.

use std::collections::{BTreeMap, HashMap};

use crate::{
    catalog::class,
    ddl,
    finding::{Finding, Severity},
    name::TableName,
    order,
    plan::{
        Item, Section, When,
        attach::Attached,
        draft::{Node, Render, rank},
        graph::Graph,
        lookup::Lookup,
        path::Paths,
        select::Taken,
    },
};

/// How many needs a reason names.
const NAMED: usize = 3;

pub(crate) fn make(
    graph: &Graph<'_>,
    lookup: &Lookup<'_>,
    taken: &[Taken],
    attached: &Attached<'_>,
    settings: Vec<Item>,
    findings: &mut Vec<Finding>,
) -> Vec<Item> {
    let order = sorted(graph, taken, findings);
    let when = phases(graph, taken, &order);
    let paths = Paths::new(lookup.catalog);
    let mut phased: BTreeMap<u8, Vec<Item>> = BTreeMap::new();
    for &at in &order {
        let node = &graph.nodes[at];
        let phase = rank_of(&when[at]);
        let section = if phase == 0 { Section::PreData } else { Section::PostData };
        let mut needs = needs(graph, taken, at);
        // A hint to what comes in a later phase is not followed.
        needs.retain(|&n| graph.needs[at].contains(&n) || rank_of(&when[n]) <= phase);
        let mut ddl = paths.wrap(graph, at, render(node, graph, lookup));
        let mut then = node.then.clone().map(|then| paths.wrap(graph, at, then));
        match &mut then {
            Some(then) if ddl.is_empty() => then.push_str(attached.text(at)),
            _ => ddl.push_str(attached.text(at)),
        }
        phased.entry(phase).or_default().push(Item {
            ordinal: 0,
            section,
            kind: node.kind.to_string(),
            identity: node.identity.clone(),
            object: node.address,
            when: when[at].clone(),
            ddl: ddl.trim_start().to_string(),
            then,
            of: node.follows.and_then(|a| graph.resolver.node(a)).map(|n| graph.nodes[n].identity.clone()),
            depends_on: needs.iter().map(|&n| graph.nodes[n].identity.clone()).collect(),
            reason: reason(graph, taken, at, &needs),
        });
        if node.address.class == class::RELATION && lookup.table(node.address.oid).is_some_and(|t| t.kind == "r") {
            phased.entry(1).or_default().push(rows(node));
        }
    }
    phased.entry(1).or_default().extend(settings);
    let mut items: Vec<Item> = phased.into_values().flatten().collect();
    tell_apart(&mut items);
    items.iter_mut().zip(1..).for_each(|(item, ordinal)| item.ordinal = ordinal);
    items
}

/// Names are shown as they are, so table `t.q` of schema `s` and table `q` of schema `s.t` read the same: the later of two
/// gets a number, since marks and comparisons go by identity.
fn tell_apart(items: &mut [Item]) {
    let mut seen: HashMap<String, u32> = HashMap::new();
    for item in items {
        let count = seen.entry(item.identity.clone()).or_default();
        *count += 1;
        if *count > 1 {
            item.identity = format!("{} ({count})", item.identity);
        }
    }
}

fn rank_of(when: &When) -> u8 {
    match when {
        When::BeforeData => 0,
        When::Copy(_) => 1,
        When::AfterTable(_) => 2,
        When::AfterAll => 3,
    }
}

fn rows(table: &Node<'_>) -> Item {
    Item {
        ordinal: 0,
        section: Section::Data,
        kind: "rows".to_string(),
        identity: format!("rows of {}", table.identity),
        object: table.address,
        when: When::Copy(TableName::new(&table.schema, &table.name)),
        ddl: String::new(),
        then: None,
        of: None,
        depends_on: vec![table.identity.clone()],
        reason: "rows are copied when all tables are there, each table on its own".to_string(),
    }
}

/// Hard and soft needs that are in the plan.
fn needs(graph: &Graph<'_>, taken: &[Taken], at: usize) -> Vec<usize> {
    let mut needs: Vec<usize> =
        graph.needs[at].iter().chain(&graph.soft[at]).copied().filter(|&n| n != at && taken[n] != Taken::No).collect();
    needs.sort_unstable();
    needs.dedup();
    needs
}

/// Every taken node after what it needs.
fn sorted(graph: &Graph<'_>, taken: &[Taken], findings: &mut Vec<Finding>) -> Vec<usize> {
    let mut list: order::Needs = (0..taken.len()).map(|at| if taken[at] == Taken::No { vec![] } else { needs(graph, taken, at) }).collect();
    let order = loop {
        match order::sort(&list) {
            Ok(order) => break order,
            // `graph` has broken every circle; should one be left, its members still come, in the order of their kinds, and it is told.
            Err(stuck) => {
                let Some(&first) = stuck.first() else { break vec![] };
                findings.push(Finding {
                    item: "circle",
                    severity: Severity::Warning,
                    object: graph.nodes[first].identity.clone(),
                    message: format!("{} stands in a circle that could not be broken", graph.nodes[first].identity),
                    fix: None,
                });
                list[first].clear();
            }
        }
    };
    order.into_iter().filter(|&at| taken[at] != Taken::No).collect()
}

/// When each is carried out: not before what it needs.
fn phases(graph: &Graph<'_>, taken: &[Taken], order: &[usize]) -> Vec<When> {
    let mut when: Vec<When> = graph.nodes.iter().map(|n| n.when.clone()).collect();
    for &at in order {
        for need in graph.needs[at].iter().copied().filter(|&n| n != at && taken[n] != Taken::No) {
            let later = match (&when[at], &when[need]) {
                (_, When::BeforeData | When::Copy(_)) => false,
                (When::AfterAll, _) => false,
                (When::AfterTable(own), When::AfterTable(other)) => own != other,
                _ => true,
            };
            if later {
                when[at] = When::AfterAll;
            }
        }
    }
    when
}

fn render(node: &Node<'_>, graph: &Graph<'_>, lookup: &Lookup<'_>) -> String {
    match &node.render {
        Render::Text(text) => text.clone(),
        Render::Table(table) => ddl::table::create(table, lookup, &graph.split),
        Render::Domain(domain) => ddl::type_::domain(domain, lookup, &graph.split),
        Render::View(view) => ddl::view::create(view, lookup, &graph.split),
    }
}

fn reason(graph: &Graph<'_>, taken: &[Taken], at: usize, needs: &[usize]) -> String {
    let named: Vec<usize> = needs.iter().copied().filter(|&n| graph.nodes[n].rank != rank::SCHEMA || needs.len() == 1).collect();
    let mut text = match named.len() {
        0 => "needs nothing else of this plan".to_string(),
        n if n <= NAMED => format!("needs {}", list(graph, &named)),
        n => format!("needs {} and {} more", list(graph, &named[..NAMED]), n - NAMED),
    };
    if let Some(note) = &graph.nodes[at].note {
        text.push_str(&format!("; {note}"));
    }
    if let Taken::NeededBy(by) = taken[at] {
        text.push_str(&format!("; not selected itself, {} needs it", graph.nodes[by].identity));
    }
    text
}

fn list(graph: &Graph<'_>, nodes: &[usize]) -> String {
    nodes.iter().map(|&n| graph.nodes[n].identity.as_str()).collect::<Vec<_>>().join(", ")
}
