//! From a draft to a graph: what each node needs, which pieces stand alone, and how circles are broken.

use std::collections::{BTreeSet, HashMap};

use crate::{
    catalog::{Address, Catalog, class},
    ddl::Split,
    finding::{Finding, Severity},
    order,
    plan::{
        When,
        draft::{Draft, Node, Part, derived_class, rank},
        late_type::LateTypes,
    },
};

/// Classes of pg_amop and pg_amproc, whose rows belong to an operator class or family.
const FAMILY_MEMBERS: [u32; 2] = [2602, 2603];

/// One need: `part` says which piece of the node has it, when one has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edge {
    pub from: usize,
    pub part: Option<usize>,
    pub to: usize,
    pub soft: bool,
    /// The number of the column of a table whose type needs it.
    pub column: Option<i32>,
}

/// Nodes in their final form with what each needs.
pub(crate) struct Graph<'a> {
    /// Sorted by rank, schema, name.
    pub nodes: Vec<Node<'a>>,
    /// Hard needs, then soft ones, of each node.
    pub needs: Vec<Vec<usize>>,
    pub soft: Vec<Vec<usize>>,
    pub split: Split,
    pub resolver: Resolver,
    pub findings: Vec<Finding>,
}

/// Which node stands for an address: itself, or what it is part of.
#[derive(Default)]
pub(crate) struct Resolver {
    nodes: HashMap<Address, usize>,
    up: HashMap<Address, Address>,
}

impl Resolver {
    /// The node of an object, of the object it is an internal part of, or of its extension.
    pub fn node(&self, address: Address) -> Option<usize> {
        let mut at = address;
        for _ in 0..8 {
            if let Some(&node) = self.nodes.get(&at) {
                return Some(node);
            }
            at = *self.up.get(&at)?;
        }
        None
    }
}

/// Builds the graph, breaks its circles.
pub(crate) fn build<'a>(catalog: &Catalog, mut draft: Draft<'a>, body_needs: impl Fn(&[Node<'a>]) -> Vec<(usize, usize)>) -> Graph<'a> {
    draft.nodes.sort_by(|a, b| (a.rank, &a.schema, &a.name, &a.identity).cmp(&(b.rank, &b.schema, &b.name, &b.identity)));
    let mut resolver = Resolver {
        nodes: draft.nodes.iter().enumerate().map(|(i, n)| (n.address, i)).collect(),
        up: catalog.dependencies.iter().filter(|d| is_part(d)).map(|d| (d.object(), d.referenced())).collect(),
    };
    let parts: HashMap<Address, usize> = draft.parts.iter().enumerate().map(|(i, p)| (p.node.address, i)).collect();
    let mut edges = collect(catalog, &draft, &resolver, &parts);
    edges.extend(body_needs(&draft.nodes).into_iter().map(|(from, to)| Edge { from, part: None, to, soft: true, column: None }));
    let mut split: BTreeSet<usize> = (0..draft.parts.len()).filter(|&p| draft.parts[p].forced).collect();
    wait_for_tables(&mut draft, &edges, &mut split);
    split_what_is_late(&mut draft, &edges, &mut split);
    let mut findings = Vec::new();
    let late = LateTypes::new(catalog, &resolver, &parts);
    break_circles(&mut draft, &mut edges, &mut split, &mut findings, &late);
    finish(draft, edges, split, &mut resolver, findings)
}

/// Whether this row of pg_depend says that the one is a part of the other.
fn is_part(d: &crate::catalog::Dependency) -> bool {
    match d.6 {
        'i' | 'e' => true,
        'a' => FAMILY_MEMBERS.contains(&d.0),
        // A partition's copy of a trigger.
        'P' => d.0 == class::TRIGGER && d.3 == class::TRIGGER,
        _ => false,
    }
}

/// Needs from pg_depend, from schemas by name, and from what the nodes say themselves.
fn collect(catalog: &Catalog, draft: &Draft<'_>, resolver: &Resolver, parts: &HashMap<Address, usize>) -> Vec<Edge> {
    let mut edges = Vec::new();
    let shells: HashMap<Address, Address> = draft.shells.iter().copied().collect();
    let mut io: BTreeSet<(Address, Address)> = BTreeSet::new();
    for d in &catalog.dependencies {
        if shells.contains_key(&d.object()) && d.3 == class::FUNCTION {
            io.insert((d.referenced(), d.object()));
        }
    }
    let owned: BTreeSet<u32> = catalog.sequences.iter().map(|s| s.object.oid).collect();
    for d in &catalog.dependencies {
        // A partition's index or key is attached later; a sequence that a column owns comes before its table.
        if d.6 == 'P' || d.6 == 'a' && d.0 == class::RELATION && owned.contains(&d.1) {
            continue;
        }
        let part = parts.get(&d.object()).copied();
        let from = match part {
            Some(p) => resolver.node(draft.parts[p].owner),
            None => resolver.node(d.object()),
        };
        let mut referenced = d.referenced();
        if io.contains(&(d.object(), referenced)) {
            referenced = shells[&referenced];
        }
        if let (Some(from), Some(to)) = (from, resolver.node(referenced))
            && (from != to || part.is_some_and(|p| reads_itself(d, &draft.parts[p])))
        {
            let column = (d.0 == class::RELATION && d.2 > 0 && d.3 == class::TYPE).then_some(d.2);
            edges.push(Edge { from, part, to, soft: false, column });
        }
    }
    let schemas = schemas(catalog, resolver);
    for (from, node) in draft.nodes.iter().enumerate() {
        let own = node.needs.iter().filter_map(|&a| resolver.node(a));
        let schema = schemas.get(node.schema.as_str()).copied();
        edges.extend(own.chain(schema).filter(|&to| to != from).map(|to| Edge { from, part: None, to, soft: false, column: None }));
    }
    edges
}

/// Whether a piece uses the row type of its own table or view, or a view's query the view itself: it comes when that is there.
/// Every rule of a view depends on the view as a whole.
fn reads_itself(d: &crate::catalog::Dependency, part: &Part<'_>) -> bool {
    d.3 == class::TYPE && part.owner.class == class::RELATION
        || d.3 == class::RELATION && d.5 > 0 && part.node.rank == rank::VIEW && part.owner == d.referenced()
}

/// Nodes that make each schema: itself, or the extension it is a member of.
fn schemas<'c>(catalog: &'c Catalog, resolver: &Resolver) -> HashMap<&'c str, usize> {
    let made = catalog.schemas.iter().map(|s| (s.object.name.as_str(), Address::new(class::SCHEMA, s.object.oid)));
    let of_extensions = catalog.extensions.iter().filter(|x| x.schema_is_member);
    let of_extensions = of_extensions.map(|x| (x.object.schema.as_str(), Address::new(class::EXTENSION, x.object.oid)));
    of_extensions.chain(made).filter_map(|(name, address)| Some((name, resolver.node(address)?))).collect()
}

/// A CHECK that calls a function which reads tables waits until all rows are there: they come in any order.
fn wait_for_tables(draft: &mut Draft<'_>, edges: &[Edge], split: &mut BTreeSet<usize>) {
    let mut calls: HashMap<usize, Vec<usize>> = HashMap::new();
    for e in edges.iter().filter(|e| draft.nodes[e.from].rank == rank::FUNCTION) {
        let reads = e.soft || draft.nodes[e.from].body.is_none();
        let target = draft.nodes[e.to].rank;
        if target == rank::FUNCTION || reads && (target == rank::TABLE || target == rank::VIEW) {
            calls.entry(e.from).or_default().push(e.to);
        }
    }
    for e in edges {
        let Some(part) = e.part.filter(|&p| draft.parts[p].node.rank == rank::CHECK) else { continue };
        let (mut seen, mut open) = (BTreeSet::new(), vec![e.to]);
        while let Some(at) = open.pop().filter(|_| draft.nodes[e.to].rank == rank::FUNCTION) {
            if draft.nodes[at].rank != rank::FUNCTION {
                let node = &mut draft.parts[part].node;
                node.when = When::AfterAll;
                node.note = Some("its function reads tables, so it waits until all rows are there".to_string());
                split.insert(part);
                break;
            }
            if seen.insert(at) {
                open.extend(calls.get(&at).into_iter().flatten());
            }
        }
    }
}

/// A piece that needs what comes after the data, as a view that groups by a primary key does, comes after it too.
fn split_what_is_late(draft: &mut Draft<'_>, edges: &[Edge], split: &mut BTreeSet<usize>) {
    let late = |e: &&Edge| draft.nodes[e.to].when != When::BeforeData;
    split.extend(edges.iter().filter(late).filter_map(|e| e.part));
    for part in edges.iter().filter(|e| e.from == e.to).filter_map(|e| e.part) {
        draft.parts[part].node.note = Some("made later, since it reads the very object that it is part of".to_string());
        split.insert(part);
    }
}

fn needs(count: usize, edges: &[Edge], split: &BTreeSet<usize>) -> order::Needs {
    let mut needs: order::Needs = vec![vec![]; count];
    for e in edges.iter().filter(|e| e.part.is_none_or(|p| !split.contains(&p))) {
        needs[e.from].push(e.to);
    }
    needs.iter_mut().for_each(|list| {
        list.sort_unstable();
        list.dedup();
    });
    needs
}

/// Circles are broken in this order: hints from bodies, defaults and CHECKs, queries of views, types of columns, and at last one
/// need by force.
fn break_circles(
    draft: &mut Draft<'_>,
    edges: &mut Vec<Edge>,
    split: &mut BTreeSet<usize>,
    findings: &mut Vec<Finding>,
    late: &LateTypes<'_>,
) {
    let mark = |count: usize, edges: &[Edge], split: &BTreeSet<usize>| {
        let mut member = vec![usize::MAX; count];
        let groups = order::cycles(&needs(count, edges, split));
        for (number, group) in groups.iter().enumerate() {
            group.iter().for_each(|&i| member[i] = number);
        }
        (groups.len(), member)
    };
    wait_for_whole_circles(draft, edges);
    let (_, member) = mark(draft.nodes.len(), edges, split);
    let inside = |e: &Edge, member: &[usize]| member[e.from] != usize::MAX && member[e.from] == member[e.to];
    edges.retain(|e| !(e.soft && inside(e, &member)));
    let (_, member) = mark(draft.nodes.len(), edges, split);
    for e in edges.iter().filter(|e| inside(e, &member)) {
        if let Some(part) = e.part.filter(|&p| draft.parts[p].node.rank != rank::VIEW) {
            draft.parts[part].node.note = Some("added later, since the object and what it calls need each other".to_string());
            split.insert(part);
        }
    }
    loop {
        let (groups, member) = mark(draft.nodes.len(), edges, split);
        // Of each circle one need is given up at a time, all circles in one pass.
        let (mut views, mut columns, mut others) = (vec![None; groups], vec![None; groups], vec![None; groups]);
        let within = |e: &Edge| e.part.is_none_or(|p| !split.contains(&p)) && inside(e, &member);
        for e in edges.iter().filter(|e| within(e)) {
            let group = member[e.from];
            views[group] = views[group].into_iter().chain(e.part).min();
            columns[group] = columns[group].or_else(|| e.column.filter(|_| draft.nodes[e.from].rank == rank::TABLE).map(|c| (e.from, c)));
            others[group].get_or_insert((e.from, e.to));
        }
        if groups == 0 {
            break;
        }
        for (group, other) in others.into_iter().enumerate() {
            if let Some(part) = views[group] {
                draft.parts[part].node.note = Some("replaces a stub, since the view and what needs it need each other".to_string());
                split.insert(part);
            } else if !columns[group].is_some_and(|(table, column)| late.give(table, column, draft, edges, split))
                && let Some((from, to)) = other
            {
                findings.push(unbreakable(&draft.nodes[from].identity, &draft.nodes[to].identity));
                edges.retain(|e| (e.from, e.to) != (from, to));
            }
        }
    }
}

fn unbreakable(one: &str, other: &str) -> Finding {
    Finding {
        item: "circle",
        severity: Severity::Warning,
        object: one.to_string(),
        message: format!("\"{one}\" and \"{other}\" need each other in a way that cannot be broken"),
        fix: None,
    }
}

/// Functions that call each other in their bodies may come in any order, but whoever runs one of them when it is made, such
/// as a table with a generated column, runs them all: it waits for each, unless that one needs it to be there first. So does a
/// function whose body calls one of them, for those that run it in turn.
fn wait_for_whole_circles(draft: &Draft<'_>, edges: &mut Vec<Edge>) {
    let count = draft.nodes.len();
    let is_function = |at: usize| draft.nodes[at].rank == rank::FUNCTION;
    let (mut calls, mut hard) = (vec![vec![]; count], vec![vec![]; count]);
    for e in edges.iter() {
        if is_function(e.from) && is_function(e.to) {
            calls[e.from].push(e.to);
        }
        if !e.soft {
            hard[e.from].push(e.to);
        }
    }
    for group in order::cycles(&calls) {
        let callers: Vec<Edge> = edges.iter().filter(|e| group.contains(&e.to) && !group.contains(&e.from)).copied().collect();
        for caller in callers {
            let others = group.iter().filter(|&&other| other != caller.to && !reaches(&hard, other, caller.from));
            edges.extend(others.map(|&to| Edge { to, ..caller }));
        }
    }
}

/// Whether one node needs another, directly or not.
fn reaches(needs: &[Vec<usize>], from: usize, to: usize) -> bool {
    let mut seen = BTreeSet::from([from]);
    let mut left = vec![from];
    while let Some(at) = left.pop() {
        if at == to {
            return true;
        }
        left.extend(needs[at].iter().filter(|&&next| seen.insert(next)));
    }
    false
}

/// Gives the pieces that stand alone nodes of their own and numbers all anew.
fn finish<'a>(
    draft: Draft<'a>,
    edges: Vec<Edge>,
    split: BTreeSet<usize>,
    resolver: &mut Resolver,
    mut findings: Vec<Finding>,
) -> Graph<'a> {
    findings.extend(draft.findings);
    let mut parts: Vec<Option<Node<'a>>> = Vec::new();
    let mut owners = Vec::new();
    for (at, part) in draft.parts.into_iter().enumerate() {
        let alone = split.contains(&at);
        resolver.up.insert(part.node.address, part.owner);
        owners.push(alone.then(|| resolver.nodes.get(&part.owner).copied()).flatten());
        parts.push(alone.then_some(part.node));
    }
    let mut nodes: Vec<(Node<'a>, usize)> = draft.nodes.into_iter().zip(0..).collect();
    let base = nodes.len();
    let split_addresses: Split = parts.iter().flatten().map(|n| n.address).chain(draft.late_types).collect();
    nodes.extend(parts.into_iter().enumerate().filter_map(|(at, n)| Some((n?, base + at))));
    nodes.sort_by(|(a, _), (b, _)| (a.rank, &a.schema, &a.name, &a.identity).cmp(&(b.rank, &b.schema, &b.name, &b.identity)));
    let renumbered: HashMap<usize, usize> = nodes.iter().enumerate().map(|(new, (_, old))| (*old, new)).collect();
    let nodes: Vec<Node<'a>> = nodes.into_iter().map(|(n, _)| n).collect();
    let mut hard: Vec<Vec<usize>> = vec![vec![]; nodes.len()];
    let mut soft: Vec<Vec<usize>> = vec![vec![]; nodes.len()];
    for e in &edges {
        let from = e.part.filter(|p| split.contains(p)).map_or(e.from, |p| base + p);
        if let (Some(&from), Some(&to)) = (renumbered.get(&from), renumbered.get(&e.to)) {
            if e.soft { soft[from].push(to) } else { hard[from].push(to) }
        }
    }
    for (at, owner) in owners.iter().enumerate() {
        if let Some((part, owner)) = renumbered.get(&(base + at)).zip(owner.and_then(|o| renumbered.get(&o))) {
            hard[*part].push(*owner);
        }
    }
    for list in hard.iter_mut().chain(soft.iter_mut()) {
        list.sort_unstable();
        list.dedup();
    }
    resolver.nodes = nodes.iter().enumerate().map(|(i, n)| (n.address, i)).collect();
    let resolver = std::mem::take(resolver);
    order_refreshes(&nodes, &resolver, &mut hard, &soft);
    Graph { nodes, needs: hard, soft, split: split_addresses, resolver, findings }
}

/// A materialized view is filled after those that it reads, through views and functions too.
fn order_refreshes(nodes: &[Node<'_>], resolver: &Resolver, hard: &mut [Vec<usize>], soft: &[Vec<usize>]) {
    let refresh = |at: usize| resolver.node(Address::new(derived_class::REFRESH, nodes[at].address.oid));
    let mut more = Vec::new();
    for (own, node) in nodes.iter().enumerate().filter(|(_, n)| n.rank == rank::REFRESH) {
        let mut open: Vec<usize> = node.follows.and_then(|a| resolver.node(a)).into_iter().collect();
        let mut seen: BTreeSet<usize> = open.iter().copied().collect();
        while let Some(at) = open.pop() {
            let next = hard[at].iter().chain(&soft[at]).copied();
            open.extend(next.filter(|&n| matches!(nodes[n].rank, rank::VIEW | rank::FUNCTION) && seen.insert(n)));
        }
        let read = seen.into_iter().filter(|&at| nodes[at].kind == "materialized view").filter_map(refresh);
        more.extend(read.filter(|&other| other != own).map(|other| (own, other)));
    }
    more.into_iter().for_each(|(own, other)| hard[own].push(other));
}
