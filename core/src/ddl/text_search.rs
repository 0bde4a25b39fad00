//! Text search parsers, templates, dictionaries, configurations.

use crate::{
    catalog::{Address, TextSearch},
    ddl::owner,
    name::quote_ident,
    plan::{
        draft::{Draft, Node, rank},
        lookup::Lookup,
    },
};

pub(crate) fn draft<'a>(lookup: &Lookup<'a>, draft: &mut Draft<'a>) {
    draft.nodes.extend(lookup.catalog.text_search.iter().map(node));
}

fn node<'a>(t: &'a TextSearch) -> Node<'a> {
    let o = &t.object;
    let (kind, word) = match t.kind.as_str() {
        "parser" => ("text search parser", "PARSER"),
        "template" => ("text search template", "TEMPLATE"),
        "dictionary" => ("text search dictionary", "DICTIONARY"),
        _ => ("text search configuration", "CONFIGURATION"),
    };
    let name = format!("TEXT SEARCH {word} {}", o.quoted());
    let mut ddl = format!("CREATE {name} ({});", t.clauses);
    for (token, dictionaries) in &t.mappings {
        ddl.push_str(&format!("\nALTER {name} ADD MAPPING FOR {} WITH {dictionaries};", quote_ident(token)));
    }
    ddl.push_str(&owner(&name, o.owner.as_ref()));
    Node::new(Address::new(t.class, o.oid), kind, rank::OTHER, &o.schema, &o.name, ddl).role(o.owner.as_ref())
}
