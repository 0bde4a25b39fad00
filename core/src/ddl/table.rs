//! Tables of every kind with their columns, and the pieces that can be made later: defaults and CHECK constraints.
//!
//! Partitions are made with all columns in their own order, then attached. Children of plain inheritance are made with INHERITS
//! where that gives the order of columns they have; `inherit` does the others.

pub(crate) mod column;
mod inherit;

use crate::{
    catalog::{Address, Constraint, Table, class},
    ddl::{Split, foreign_options, owner, with_parameters},
    name::quote_ident,
    plan::{
        When,
        draft::{Draft, Node, Part, Render, derived, derived_class, rank, relation},
        lookup::Lookup,
    },
};

pub(crate) fn draft<'a>(lookup: &Lookup<'a>, draft: &mut Draft<'a>) {
    for table in &lookup.catalog.tables {
        draft.nodes.push(node(table));
        default_parts(table, lookup, draft);
        check_parts(table, lookup, draft);
        validations(table, lookup, draft);
        draft.nodes.extend(row_security(table));
    }
}

/// Word for a table in CREATE and DROP.
fn word(table: &Table) -> &'static str {
    if table.kind == "f" { "FOREIGN TABLE" } else { "TABLE" }
}

fn node<'a>(table: &'a Table) -> Node<'a> {
    let o = &table.object;
    let kind = if table.kind == "f" { "foreign table" } else { "table" };
    let mut node = Node::new(relation(o.oid), kind, rank::TABLE, &o.schema, &o.name, String::new()).role(o.owner.as_ref());
    node.render = Render::Table(table);
    node.needs.extend(table.parents.iter().map(|&p| relation(p)));
    node
}

/// Whether the table's own text names every column: a partition's does, and that of a table without parents.
fn is_explicit(table: &Table) -> bool {
    table.parents.is_empty() || table.bound.is_some()
}

/// The whole DDL of a table, without the parts in `split`.
pub(crate) fn create(table: &Table, lookup: &Lookup<'_>, split: &Split) -> String {
    let name = table.object.quoted();
    let mut ddl = if is_explicit(table) || inherit::is_natural(table, lookup) {
        natural(table, lookup, split)
    } else {
        inherit::create(table, lookup, split)
    };
    if !is_explicit(table) {
        ddl.push_str(&inherit::differences(table, lookup, split));
    }
    ddl.push_str(&column::settings(table, lookup, split));
    if let Some(bound) = &table.bound {
        for parent in table.parents.iter().filter_map(|&p| lookup.table(p)) {
            ddl.push_str(&format!("\nALTER TABLE ONLY {} ATTACH PARTITION {name} {bound};", parent.object.quoted()));
        }
    }
    match table.replica_identity.as_str() {
        _ if table.kind == "f" => {}
        "f" => ddl.push_str(&format!("\nALTER TABLE ONLY {name} REPLICA IDENTITY FULL;")),
        "n" => ddl.push_str(&format!("\nALTER TABLE ONLY {name} REPLICA IDENTITY NOTHING;")),
        _ => {}
    }
    ddl + &owner(&format!("{} {name}", word(table)), table.object.owner.as_ref())
}

/// `CREATE TABLE` with everything in it.
fn natural(table: &Table, lookup: &Lookup<'_>, split: &Split) -> String {
    let mut list: Vec<String> = Vec::new();
    for c in lookup.columns(table.object.oid) {
        if table.of_type.is_some() {
            list.extend(column::typed(table, c, lookup, split));
        } else if is_explicit(table) || !c.only_inherited {
            list.push(column::definition(table, c, lookup, split));
        }
    }
    list.extend(inline_checks(table, lookup, split).map(check_text));
    let columns = match (&table.of_type, list.is_empty()) {
        (Some(of), true) => format!(" OF {of}"),
        (Some(of), false) => format!(" OF {of} (\n    {}\n)", list.join(",\n    ")),
        (None, true) => " (\n)".to_string(),
        (None, false) => format!(" (\n    {}\n)", list.join(",\n    ")),
    };
    let parents: Vec<String> = table.parents.iter().filter_map(|&p| lookup.table(p)).map(|p| p.object.quoted()).collect();
    let inherits = if is_explicit(table) { String::new() } else { format!(" INHERITS ({})", parents.join(", ")) };
    head(table) + &columns + &inherits + &tail(table, lookup)
}

/// `CREATE UNLOGGED TABLE "schema"."name"`.
fn head(table: &Table) -> String {
    let unlogged = if table.persistence == "u" { "UNLOGGED " } else { "" };
    format!("CREATE {unlogged}{} {}", word(table), table.object.quoted())
}

/// What follows the columns.
fn tail(table: &Table, lookup: &Lookup<'_>) -> String {
    let mut text = String::new();
    if let Some(key) = &table.partition_key {
        text.push_str(&format!(" PARTITION BY {key}"));
    }
    if let Some(method) = &table.method {
        text.push_str(&format!(" USING {}", quote_ident(method)));
    }
    text.push_str(&with_parameters(&table.options));
    text.push_str(&lookup.tablespace(table.tablespace.as_ref()));
    if let Some(server) = &table.server {
        text.push_str(&format!(" SERVER {}{}", quote_ident(server), foreign_options(&table.foreign_options)));
    }
    text + ";"
}

fn check_text(check: &Constraint) -> String {
    format!("CONSTRAINT {} {}", quote_ident(&check.name), check.definition)
}

/// The CHECKs in the table's own text: an inherited one only where the text names everything, and only if the parent has it by then.
fn inline_checks<'l>(table: &'l Table, lookup: &'l Lookup<'_>, split: &'l Split) -> impl Iterator<Item = &'l Constraint> {
    let here = move |k: &&Constraint| {
        if split.contains(&Address::new(class::CONSTRAINT, k.oid)) {
            return false;
        }
        k.local || is_explicit(table) && !waits_for_parent(table, k, lookup, split)
    };
    lookup.checks(table.object.oid).iter().copied().filter(here)
}

/// Whether a parent's CHECK of that name is made later and then comes to the child by itself.
fn waits_for_parent(table: &Table, check: &Constraint, lookup: &Lookup<'_>, split: &Split) -> bool {
    check.inherited > 0
        && table.parents.iter().filter_map(|&p| lookup.table(p)).any(|parent| {
            lookup
                .checks(parent.object.oid)
                .iter()
                .filter(|k| k.name == check.name && !k.no_inherit)
                .any(|k| split.contains(&Address::new(class::CONSTRAINT, k.oid)) || waits_for_parent(parent, k, lookup, split))
        })
}

fn default_parts<'a>(table: &'a Table, lookup: &Lookup<'a>, draft: &mut Draft<'a>) {
    let o = &table.object;
    for c in lookup.columns(o.oid).iter().filter(|c| c.generated.is_none()) {
        let Some((default, oid)) = c.default.as_ref().zip(c.default_oid) else { continue };
        let ddl = format!("ALTER TABLE ONLY {} ALTER COLUMN {} SET DEFAULT {default};", o.quoted(), quote_ident(&c.name));
        let node = Node::new(Address::new(class::DEFAULT, oid), "default", rank::PART, &o.schema, &o.name, ddl)
            .identity(format!("default of {}.{}", o.plain(), c.name))
            .follows(relation(o.oid));
        draft.parts.push(Part { owner: relation(o.oid), node, forced: false });
    }
}

/// A CHECK that is not valid waits for the rows, which may break it.
fn check_parts<'a>(table: &'a Table, lookup: &Lookup<'a>, draft: &mut Draft<'a>) {
    let o = &table.object;
    for check in lookup.checks(o.oid).iter().filter(|k| k.local) {
        let ddl = format!("ALTER TABLE {} ADD {};", o.quoted(), check_text(check));
        let when = if check.validated { When::BeforeData } else { When::AfterAll };
        let node = Node::new(Address::new(class::CONSTRAINT, check.oid), "check constraint", rank::CHECK, &o.schema, &check.name, ddl)
            .identity(format!("constraint {} on {}", check.name, o.plain()))
            .when(when)
            .follows(relation(o.oid));
        draft.parts.push(Part { owner: relation(o.oid), node, forced: !check.validated });
    }
}

/// A child's CHECK that is valid where its parent's is not: the parent's comes as not valid to both.
fn validations<'a>(table: &'a Table, lookup: &Lookup<'a>, draft: &mut Draft<'a>) {
    let o = &table.object;
    for check in lookup.checks(o.oid).iter().filter(|k| k.validated && k.inherited > 0) {
        let parents = table.parents.iter().flat_map(|&p| lookup.checks(p));
        let Some(parent) = parents.into_iter().find(|k| k.name == check.name && !k.validated) else { continue };
        let address = derived(derived_class::VALIDATION, check.oid);
        let mut node = Node::new(address, "validation", rank::FOREIGN_KEY, &o.schema, &check.name, String::new())
            .identity(format!("validation of constraint {} on {}", check.name, o.plain()))
            .when(When::AfterAll)
            .follows(relation(o.oid));
        node.needs.push(Address::new(class::CONSTRAINT, parent.oid));
        node.then = Some(format!("ALTER TABLE {} VALIDATE CONSTRAINT {};", o.quoted(), quote_ident(&check.name)));
        draft.nodes.push(node);
    }
}

fn row_security<'a>(table: &'a Table) -> Option<Node<'a>> {
    let o = &table.object;
    let mut lines = Vec::new();
    if table.row_security {
        lines.push(format!("ALTER TABLE {} ENABLE ROW LEVEL SECURITY;", o.quoted()));
    }
    if table.force_row_security {
        lines.push(format!("ALTER TABLE ONLY {} FORCE ROW LEVEL SECURITY;", o.quoted()));
    }
    if lines.is_empty() {
        return None;
    }
    let address = derived(derived_class::ROW_SECURITY, o.oid);
    Some(
        Node::new(address, "row security", rank::POLICY, &o.schema, &o.name, lines.join("\n"))
            .identity(format!("row security of {}", o.plain()))
            .when(When::AfterAll)
            .follows(relation(o.oid)),
    )
}
