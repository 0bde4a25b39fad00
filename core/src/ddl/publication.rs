//! Publications, without pgrelay's own.

use crate::{
    catalog::{Address, Publication, class},
    ddl::{ident_list, literal, owner},
    name::quote_ident,
    plan::{
        When,
        draft::{Draft, Node, rank, relation},
        lookup::Lookup,
    },
};

pub(crate) fn draft<'a>(lookup: &Lookup<'a>, draft: &mut Draft<'a>) {
    draft.nodes.extend(lookup.catalog.publications.iter().map(|p| node(p, lookup)));
}

fn node<'a>(p: &'a Publication, lookup: &Lookup<'a>) -> Node<'a> {
    let name = format!("PUBLICATION {}", quote_ident(&p.object.name));
    let mut members: Vec<String> = Vec::new();
    for t in &p.tables {
        let Some((quoted, _)) = lookup.relation_name(t.table) else { continue };
        let columns = t.columns.as_ref().map(|c| format!(" ({})", ident_list(c))).unwrap_or_default();
        let filter = t.filter.as_ref().map(|f| format!(" WHERE ({f})")).unwrap_or_default();
        members.push(format!("TABLE ONLY {quoted}{columns}{filter}"));
    }
    members.extend(p.schemas.iter().map(|s| format!("TABLES IN SCHEMA {}", quote_ident(s))));
    let of = if p.all_tables { " FOR ALL TABLES".to_string() } else { String::new() };
    let mut options = format!("publish = {}, publish_via_partition_root = {}", literal(&p.publish), p.via_root);
    match p.generated.as_deref() {
        Some("s") => options.push_str(", publish_generated_columns = stored"),
        Some("n") | None => {}
        Some(_) => options.push_str(", publish_generated_columns = none"),
    }
    let mut ddl = format!("CREATE {name}{of} WITH ({options});{}", owner(&name, p.object.owner.as_ref()));
    for member in members {
        ddl.push_str(&format!("\nALTER {name} ADD {member};"));
    }
    let address = Address::new(class::PUBLICATION, p.object.oid);
    let mut node =
        Node::new(address, "publication", rank::PUBLICATION, "", &p.object.name, ddl).when(When::AfterAll).role(p.object.owner.as_ref());
    node.needs.extend(p.tables.iter().map(|t| relation(t.table)));
    let schemas = lookup.catalog.schemas.iter().filter(|s| p.schemas.contains(&s.object.name));
    node.needs.extend(schemas.map(|s| Address::new(class::SCHEMA, s.object.oid)));
    node
}
