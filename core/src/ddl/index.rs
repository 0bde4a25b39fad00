//! Indexes, what is set on them, and their place under partitioned indexes.

use std::collections::{HashMap, HashSet};

use crate::{
    catalog::{Address, Index, class},
    ddl::split_where,
    finding::{Finding, Severity},
    name::{quote_ident, quote_qualified},
    plan::{
        When,
        draft::{Draft, Node, Render, after_table, derived, derived_class, rank, relation},
        lookup::Lookup,
    },
};

pub(crate) fn draft<'a>(lookup: &Lookup<'a>, draft: &mut Draft<'a>) {
    let by_oid: HashMap<u32, &Index> = lookup.catalog.indexes.iter().map(|i| (i.object.oid, i)).collect();
    let foreign = with_foreign_partitions(lookup);
    for i in &lookup.catalog.indexes {
        let Some((table, _)) = lookup.relation_name(i.table) else { continue };
        if !i.valid && !i.partitioned {
            draft.findings.push(invalid(i));
            continue;
        }
        let made_by = i.constraint.map_or(relation(i.object.oid), |k| Address::new(class::CONSTRAINT, k));
        let when = when(i, lookup);
        if i.constraint.is_none() {
            let mut node = node(i, lookup);
            if i.valid && foreign.contains(&i.table) {
                over_foreign_partitions(i, &mut node, lookup);
            }
            draft.nodes.push(node.when(when.clone()));
        }
        draft.nodes.extend(settings(i, &table, made_by).map(|n| n.when(when)));
        if let Some(parent) = i.parent.and_then(|p| by_oid.get(&p)) {
            draft.nodes.push(attach(i, parent, made_by));
        }
    }
}

/// A partitioned index has no rows of its own: it waits for all tables, as do indexes of materialized views.
fn when(i: &Index, lookup: &Lookup<'_>) -> When {
    match lookup.table(i.table) {
        Some(table) if table.kind != "p" => after_table(table),
        _ => When::AfterAll,
    }
}

fn node<'a>(i: &'a Index, lookup: &Lookup<'_>) -> Node<'a> {
    let o = &i.object;
    let ddl = definition(i, &i.definition, lookup);
    Node::new(relation(o.oid), "index", rank::INDEX, &o.schema, &o.name, ddl).follows(relation(i.table))
}

/// `definition`, which says nothing of a tablespace, with that of the index.
fn definition(i: &Index, definition: &str, lookup: &Lookup<'_>) -> String {
    let (head, condition) = split_where(definition);
    format!("{head}{}{condition};", lookup.tablespace(i.tablespace.as_ref()))
}

/// Partitioned tables with a foreign table among their partitions, at any depth.
fn with_foreign_partitions(lookup: &Lookup<'_>) -> HashSet<u32> {
    let mut found = HashSet::new();
    for table in lookup.catalog.tables.iter().filter(|t| t.kind == "f" && t.bound.is_some()) {
        let mut at = table.parents.first().copied();
        while let Some(parent) = at.filter(|&p| found.insert(p)) {
            at = lookup.table(parent).filter(|t| t.bound.is_some()).and_then(|t| t.parents.first().copied());
        }
    }
    found
}

/// A foreign partition never has an index to attach, so `ON ONLY` would stay invalid for ever. Without ONLY, once the indexes of
/// the other partitions are there, PostgreSQL attaches those and skips the foreign one.
fn over_foreign_partitions(i: &Index, node: &mut Node<'_>, lookup: &Lookup<'_>) {
    // pg_get_indexdef quotes a name only where it must.
    let quoted = quote_ident(&i.object.name);
    for name in [quoted.as_str(), &i.object.name] {
        if let Some((head, tail)) = i.definition.split_once(&format!("INDEX {name} ON ONLY ")) {
            node.render = Render::Text(definition(i, &format!("{head}INDEX {quoted} ON {tail}"), lookup));
            break;
        }
    }
    let mut open = vec![i.object.oid];
    while let Some(at) = open.pop() {
        for child in lookup.catalog.indexes.iter().filter(|c| c.parent == Some(at)) {
            node.needs.push(child.constraint.map_or(relation(child.object.oid), |k| Address::new(class::CONSTRAINT, k)));
            if at != i.object.oid {
                node.needs.push(derived(derived_class::ATTACH, child.object.oid));
            }
            open.push(child.object.oid);
        }
    }
}

/// CLUSTER ON, REPLICA IDENTITY USING INDEX, statistics targets of its columns.
fn settings<'a>(i: &'a Index, table: &str, made_by: Address) -> Option<Node<'a>> {
    let o = &i.object;
    let mut lines = Vec::new();
    if i.clustered {
        lines.push(format!("ALTER TABLE {table} CLUSTER ON {};", quote_ident(&o.name)));
    }
    if i.replica_identity {
        lines.push(format!("ALTER TABLE ONLY {table} REPLICA IDENTITY USING INDEX {};", quote_ident(&o.name)));
    }
    for (column, target) in &i.statistics {
        lines.push(format!("ALTER INDEX {} ALTER COLUMN {column} SET STATISTICS {target};", o.quoted()));
    }
    if lines.is_empty() {
        return None;
    }
    let address = derived(derived_class::INDEX_SETTING, o.oid);
    let mut node = Node::new(address, "index setting", rank::INDEX_SETTING, &o.schema, &o.name, lines.join("\n"))
        .identity(format!("settings of index {}", o.plain()))
        .follows(relation(i.table));
    node.needs.push(made_by);
    Some(node)
}

fn attach<'a>(i: &'a Index, parent: &Index, made_by: Address) -> Node<'a> {
    let (o, p) = (&i.object, &parent.object);
    let ddl = format!("ALTER INDEX {} ATTACH PARTITION {};", quote_qualified(&p.schema, &p.name), o.quoted());
    let mut node = Node::new(derived(derived_class::ATTACH, o.oid), "index attach", rank::ATTACH, &o.schema, &o.name, ddl)
        .identity(format!("index {} attached to {}", o.plain(), p.plain()))
        .when(When::AfterAll)
        .follows(relation(i.table));
    node.needs.push(made_by);
    node.needs.push(parent.constraint.map_or(relation(p.oid), |k| Address::new(class::CONSTRAINT, k)));
    // ALTER INDEX … SET STATISTICS goes down to what is attached by then; the child's own target is its own.
    node.needs.push(derived(derived_class::INDEX_SETTING, p.oid));
    node
}

fn invalid(i: &Index) -> Finding {
    Finding {
        item: "index_invalid",
        severity: Severity::Warning,
        object: format!("index {}", i.object.plain()),
        message: format!("index \"{}\" is not valid on the source and is not made", i.object.plain()),
        fix: Some(format!("REINDEX INDEX CONCURRENTLY {};", i.object.quoted())),
    }
}
