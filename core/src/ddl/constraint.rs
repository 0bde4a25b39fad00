//! Keys, exclusion constraints and foreign keys. CHECKs are with their table or domain.

use std::collections::HashMap;

use crate::{
    catalog::{Address, Constraint, Table, class},
    ddl::{split_where, with_parameters},
    name::quote_ident,
    plan::{
        When,
        draft::{Draft, Node, after_table, rank, relation},
        lookup::Lookup,
    },
};

pub(crate) fn draft<'a>(lookup: &Lookup<'a>, draft: &mut Draft<'a>) {
    let mut of_partitioned: HashMap<u32, Vec<Address>> = HashMap::new();
    for k in lookup.catalog.constraints.iter().filter(|k| k.kind == "f") {
        if let Some(table) = k.table.filter(|&t| lookup.table(t).is_some_and(|t| t.kind == "p")) {
            of_partitioned.entry(table).or_default().push(Address::new(class::CONSTRAINT, k.oid));
        }
    }
    for k in &lookup.catalog.constraints {
        let Some(table) = k.table.and_then(|t| lookup.table(t)) else { continue };
        match k.kind.as_str() {
            "p" | "u" | "x" => draft.nodes.push(key(k, table, lookup)),
            "f" => {
                let mut node = foreign_key(k, table, lookup);
                node.needs.extend(above(table, lookup).flat_map(|t| of_partitioned.get(&t).into_iter().flatten()));
                draft.nodes.push(node);
            }
            _ => {}
        }
    }
}

/// The partitioned tables above a partition. Their foreign keys come before its own: PostgreSQL would take one of these that says
/// the same for its part of theirs.
fn above<'l>(table: &'l Table, lookup: &'l Lookup<'_>) -> impl Iterator<Item = u32> + use<'l> {
    let parent = |t: &Table| t.bound.as_ref().and(t.parents.first().copied());
    std::iter::successors(parent(table), move |&p| lookup.table(p).and_then(parent))
}

fn node<'a>(k: &'a Constraint, table: &Table, kind: &'static str, rank: u8, ddl: String) -> Node<'a> {
    Node::new(Address::new(class::CONSTRAINT, k.oid), kind, rank, &table.object.schema, &k.name, ddl)
        .identity(format!("constraint {} on {}", k.name, table.object.plain()))
        .follows(relation(table.object.oid))
}

fn key<'a>(k: &'a Constraint, table: &Table, lookup: &Lookup<'_>) -> Node<'a> {
    let kind = match k.kind.as_str() {
        "p" => "primary key",
        "u" => "unique constraint",
        _ => "exclusion constraint",
    };
    let (columns, deferrable) = split_deferrable(&k.definition);
    let (columns, condition) = split_where(columns);
    let storage = with_parameters(&k.options) + &lookup.tablespace_of_constraint(k.oid);
    let definition = format!("{columns}{storage}{condition}{deferrable}");
    let ddl = format!("ALTER TABLE ONLY {} ADD CONSTRAINT {} {definition};", table.object.quoted(), quote_ident(&k.name));
    let when = if table.kind == "p" { When::AfterAll } else { after_table(table) };
    node(k, table, kind, rank::KEY, ddl).when(when)
}

/// A key's definition, and the words at its end that storage parameters come before.
fn split_deferrable(definition: &str) -> (&str, &str) {
    for words in [" DEFERRABLE INITIALLY DEFERRED", " DEFERRABLE"] {
        if let Some(columns) = definition.strip_suffix(words) {
            return (columns, words);
        }
    }
    (definition, "")
}

/// Added NOT VALID, then validated while others write. Partitioned tables before 18 know no such thing; where the referenced
/// table is partitioned, VALIDATE would leave the constraints on its partitions as not valid.
fn foreign_key<'a>(k: &'a Constraint, table: &Table, lookup: &Lookup<'a>) -> Node<'a> {
    let partitioned = table.kind == "p" || k.references.and_then(|r| lookup.table(r)).is_some_and(|t| t.kind == "p");
    let name = quote_ident(&k.name);
    let quoted = table.object.quoted();
    let in_two_steps = !partitioned && k.validated && !k.definition.ends_with("NOT ENFORCED");
    let only = if table.kind == "p" { "" } else { "ONLY " };
    let suffix = if in_two_steps { " NOT VALID" } else { "" };
    let ddl = format!("ALTER TABLE {only}{quoted} ADD CONSTRAINT {name} {}{suffix};", k.definition);
    let mut node = node(k, table, "foreign key", rank::FOREIGN_KEY, ddl).when(When::AfterAll);
    node.then = in_two_steps.then(|| format!("ALTER TABLE ONLY {quoted} VALIDATE CONSTRAINT {name};"));
    node.references = k.references.map(relation);
    node
}
