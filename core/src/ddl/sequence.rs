//! Sequences, and the columns that own them. Those of identity columns are made with their table.

use crate::{
    catalog::Sequence,
    ddl::owner,
    name::quote_ident,
    plan::{
        draft::{Draft, Node, derived, derived_class, rank, relation},
        lookup::Lookup,
    },
};

pub(crate) fn draft<'a>(lookup: &Lookup<'a>, draft: &mut Draft<'a>) {
    for s in lookup.catalog.sequences.iter().filter(|s| !s.identity) {
        draft.nodes.push(node(s));
        if let Some((table, column)) = s.table.zip(s.column.as_ref()) {
            draft.nodes.extend(owned_by(s, table, column, lookup));
        }
    }
}

/// Everything that `CREATE SEQUENCE` and `AS IDENTITY (…)` have in common.
pub(crate) fn options(s: &Sequence) -> String {
    format!(
        "START WITH {} INCREMENT BY {} MINVALUE {} MAXVALUE {} CACHE {} {}",
        s.start,
        s.increment,
        s.min,
        s.max,
        s.cache,
        if s.cycle { "CYCLE" } else { "NO CYCLE" }
    )
}

fn node<'a>(s: &'a Sequence) -> Node<'a> {
    let o = &s.object;
    let unlogged = if s.persistence == "u" { "UNLOGGED " } else { "" };
    let name = format!("SEQUENCE {}", o.quoted());
    let ddl = format!("CREATE {unlogged}{name} AS {} {};{}", s.type_name, options(s), owner(&name, o.owner.as_ref()));
    Node::new(relation(o.oid), "sequence", rank::SEQUENCE, &o.schema, &o.name, ddl).role(o.owner.as_ref())
}

fn owned_by<'a>(s: &'a Sequence, table: u32, column: &str, lookup: &Lookup<'a>) -> Option<Node<'a>> {
    let (quoted, plain) = lookup.relation_name(table)?;
    let o = &s.object;
    let ddl = format!("ALTER SEQUENCE {} OWNED BY {quoted}.{};", o.quoted(), quote_ident(column));
    let mut node = Node::new(derived(derived_class::OWNED_BY, o.oid), "sequence ownership", rank::PART, &o.schema, &o.name, ddl)
        .identity(format!("sequence {} owned by {plain}.{column}", o.plain()))
        .follows(relation(table));
    node.needs.push(relation(o.oid));
    Some(node)
}
