//! Views, their stubs, and materialized views.

use crate::{
    catalog::{Address, View, class},
    ddl::{Split, owner, table::column, type_::collate, with_parameters},
    name::quote_ident,
    plan::{
        When,
        draft::{Draft, Node, Part, Render, derived, derived_class, rank, relation},
        lookup::Lookup,
    },
};

pub(crate) fn draft<'a>(lookup: &Lookup<'a>, draft: &mut Draft<'a>) {
    for v in &lookup.catalog.views {
        let o = &v.object;
        if v.materialized {
            materialized(v, lookup, draft);
            continue;
        }
        let mut node = Node::new(relation(o.oid), "view", rank::VIEW, &o.schema, &o.name, String::new()).role(o.owner.as_ref());
        node.render = Render::View(v);
        draft.nodes.push(node);
        let query = Node::new(Address::new(class::REWRITE, v.rule), "view query", rank::VIEW, &o.schema, &o.name, replace(v, lookup))
            .identity(format!("query of view {}", o.plain()))
            .follows(relation(o.oid));
        draft.parts.push(Part { owner: relation(o.oid), node: query, forced: false });
    }
}

/// The view, or where its query is split off, a stub of the same columns.
pub(crate) fn create(v: &View, lookup: &Lookup<'_>, split: &Split) -> String {
    let o = &v.object;
    let ownership = owner(&format!("VIEW {}", o.quoted()), o.owner.as_ref());
    if !split.contains(&Address::new(class::REWRITE, v.rule)) {
        return replace(v, lookup).replacen("CREATE OR REPLACE", "CREATE", 1) + &ownership;
    }
    let column = |c: &crate::catalog::Column| format!("NULL::{}{} AS {}", c.type_name, collate(&c.collation), quote_ident(&c.name));
    let columns = lookup.columns(o.oid).iter().map(column).collect::<Vec<_>>().join(",\n    ");
    format!("CREATE VIEW {} AS SELECT\n    {columns};{ownership}", o.quoted())
}

fn replace(v: &View, lookup: &Lookup<'_>) -> String {
    let o = &v.object;
    let mut ddl = format!("CREATE OR REPLACE VIEW {}{} AS\n{};", o.quoted(), with_parameters(&v.options), v.definition);
    for c in lookup.columns(o.oid) {
        if let Some(default) = &c.default {
            ddl.push_str(&format!("\nALTER TABLE ONLY {} ALTER COLUMN {} SET DEFAULT {default};", o.quoted(), quote_ident(&c.name)));
        }
    }
    ddl
}

/// Made empty; filled when everything else is there.
fn materialized<'a>(v: &'a View, lookup: &Lookup<'a>, draft: &mut Draft<'a>) {
    let o = &v.object;
    let method = v.method.as_ref().map(|m| format!(" USING {}", quote_ident(m))).unwrap_or_default();
    let ddl = format!(
        "CREATE MATERIALIZED VIEW {}{method}{}{} AS\n{}\n  WITH NO DATA;{}{}",
        o.quoted(),
        with_parameters(&v.options),
        lookup.tablespace(v.tablespace.as_ref()),
        v.definition,
        column::settings_of(&o.quoted(), lookup.columns(o.oid)),
        owner(&format!("MATERIALIZED VIEW {}", o.quoted()), o.owner.as_ref())
    );
    draft.nodes.push(Node::new(relation(o.oid), "materialized view", rank::VIEW, &o.schema, &o.name, ddl).role(o.owner.as_ref()));
    if v.populated {
        let mut refresh = Node::new(derived(derived_class::REFRESH, o.oid), "refresh", rank::REFRESH, &o.schema, &o.name, String::new())
            .identity(format!("refresh of materialized view {}", o.plain()))
            .when(When::AfterAll)
            .follows(relation(o.oid));
        refresh.then = Some(format!("REFRESH MATERIALIZED VIEW {};", o.quoted()));
        draft.nodes.push(refresh);
    }
}
