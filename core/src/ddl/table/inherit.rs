//! Children of plain inheritance.
//!
//! INHERITS puts the parents' columns first, in their order. Where a child's columns stand otherwise (its parent got a column
//! later, or it was made first and inherited afterwards), its columns are added one by one, the inherited ones through a
//! parent of its own that lives only within the same transaction: a column that comes from a parent counts as inherited, not as
//! declared, and goes on being so when the real parents take over.

use crate::{
    catalog::{Column, Constraint, Table},
    ddl::{Split, foreign_options, table::column},
    name::{quote_ident, quote_qualified},
    plan::lookup::Lookup,
};

/// Whether INHERITS gives the child's columns in the order they have and refuses nothing (`MergeAttributes` in tablecmds.c):
/// it does where parents differ in a default and the child declares none of its own.
pub(super) fn is_natural(table: &Table, lookup: &Lookup<'_>) -> bool {
    let conflicting = |c: &Column| {
        let mut defaults =
            table.parents.iter().flat_map(|&p| lookup.columns(p)).filter(|p| p.name == c.name).filter_map(|p| p.default.as_ref());
        let first = defaults.next();
        (c.only_inherited || c.default.is_none()) && defaults.any(|d| Some(d) != first)
    };
    let otherwise_generated = |c: &Column| {
        let mut parents = table.parents.iter().flat_map(|&p| lookup.columns(p)).filter(|p| p.name == c.name);
        c.generated.is_some() && parents.any(|p| p.default != c.default || p.generated != c.generated)
    };
    let columns = lookup.columns(table.object.oid);
    if columns.iter().any(|c| c.inherited > 1 && conflicting(c) || c.inherited > 0 && otherwise_generated(c)) {
        return false;
    }
    let mut names: Vec<&str> = Vec::new();
    let parents = table.parents.iter().flat_map(|&p| lookup.columns(p));
    for c in parents.chain(lookup.columns(table.object.oid).iter().filter(|c| !c.only_inherited)) {
        if !names.contains(&c.name.as_str()) {
            names.push(&c.name);
        }
    }
    names.iter().copied().eq(lookup.columns(table.object.oid).iter().map(|c| c.name.as_str()))
}

/// The child with all its columns where it declares them all, else column by column; then its parents.
pub(super) fn create(table: &Table, lookup: &Lookup<'_>, split: &Split) -> String {
    let name = table.object.quoted();
    let parents: Vec<String> = table.parents.iter().filter_map(|&p| lookup.table(p)).map(|p| p.object.quoted()).collect();
    let inherit = parents.iter().map(|parent| format!("ALTER TABLE {name} INHERIT {parent};"));
    let columns = lookup.columns(table.object.oid);
    if columns.iter().all(|c| !c.only_inherited) && inherited_checks(table, lookup, split).next().is_none() {
        let mut list: Vec<String> = columns.iter().map(|c| column::definition(table, c, lookup, split)).collect();
        list.extend(super::inline_checks(table, lookup, split).map(super::check_text));
        let create = format!("{} (\n    {}\n){}", super::head(table), list.join(",\n    "), super::tail(table, lookup));
        return std::iter::once(create).chain(inherit).collect::<Vec<_>>().join("\n");
    }
    let scaffold = quote_qualified(&table.object.schema, &format!("pgrelay_order_{}", table.object.oid));
    let mut lines = vec![format!("CREATE TABLE {scaffold} ();")];
    lines.push(format!("{} () INHERITS ({scaffold}){}", super::head(table), super::tail(table, lookup)));
    for c in columns {
        if !c.only_inherited {
            lines.push(format!("ALTER TABLE {name} ADD COLUMN {};", column::definition(table, c, lookup, split)));
        }
        if c.inherited > 0 {
            let not_null = if c.not_null_inherited { " NOT NULL" } else { "" };
            let (column, generation) = (quote_ident(&c.name), column::generation(c));
            let (type_name, collation) = (column::type_text(table, c, split), column::collation(table, c, split));
            let text = format!("{column} {type_name}{collation}{generation}{not_null}");
            lines.push(format!("ALTER TABLE {scaffold} ADD COLUMN {text};"));
            if c.only_inherited && c.not_null && !c.not_null_inherited {
                lines.push(format!("ALTER TABLE ONLY {name} ALTER COLUMN {} SET NOT NULL;", quote_ident(&c.name)));
            }
        }
    }
    for check in super::inline_checks(table, lookup, split) {
        lines.push(format!("ALTER TABLE {name} ADD {};", super::check_text(check)));
    }
    for check in inherited_checks(table, lookup, split) {
        lines.push(format!("ALTER TABLE {scaffold} ADD {};", super::check_text(check)));
    }
    lines.extend(inherit);
    lines.push(format!("ALTER TABLE {name} NO INHERIT {scaffold};"));
    lines.push(format!("DROP TABLE {scaffold};"));
    lines.join("\n")
}

/// CHECKs that the child only inherits and the parents have by then.
fn inherited_checks<'l>(table: &'l Table, lookup: &'l Lookup<'_>, split: &'l Split) -> impl Iterator<Item = &'l Constraint> {
    let here = move |k: &&Constraint| k.inherited > 0 && !k.local && !super::waits_for_parent(table, k, lookup, split);
    lookup.checks(table.object.oid).iter().copied().filter(here)
}

/// What the child's inherited columns have otherwise than the parents: defaults, NOT NULL, options.
pub(super) fn differences(table: &Table, lookup: &Lookup<'_>, split: &Split) -> String {
    let name = table.object.quoted();
    let scaffolded = !is_natural(table, lookup);
    let mut ddl = String::new();
    for c in lookup.columns(table.object.oid).iter().filter(|c| c.inherited > 0 && c.generated.is_none()) {
        let mut alter = |what: String| ddl.push_str(&format!("\nALTER TABLE ONLY {name} ALTER COLUMN {} {what};", quote_ident(&c.name)));
        let parents: Vec<&Column> = table.parents.iter().filter_map(|&p| lookup.columns(p).iter().find(|pc| pc.name == c.name)).collect();
        let inherited = if scaffolded { None } else { parents.iter().find_map(|p| column::default_text(p, split)) };
        match column::default_text(c, split) {
            Some(default) if c.only_inherited && inherited != Some(default) => alter(format!("SET DEFAULT {default}")),
            None if inherited.is_some() && c.identity.is_none() => alter("DROP DEFAULT".to_string()),
            _ => {}
        }
        if c.only_inherited && c.not_null && !c.not_null_inherited && !scaffolded && !parents.iter().any(|p| p.not_null) {
            alter("SET NOT NULL".to_string());
        }
        // INHERITS copies the compression that the parent has; storage that differs from the parent's is always in the catalog.
        if c.compression.is_none() && parents.iter().any(|p| p.compression.is_some()) && table.kind != "f" {
            alter("SET COMPRESSION default".to_string());
        }
        if c.only_inherited && !c.foreign_options.is_empty() {
            alter(foreign_options(&c.foreign_options).trim_start().to_string());
        }
    }
    ddl
}
