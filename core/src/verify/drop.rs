//! How each object of a catalog goes away: DROP, or what takes the place of it.

use std::collections::HashMap;

use crate::{
    catalog::{Address, Catalog, Object, class},
    name::quote_ident,
    plan::{
        draft::{derived, derived_class, relation},
        lookup::Lookup,
    },
    task::Tablespaces,
};

/// The statement for each object, by its address.
pub(super) fn statements(catalog: &Catalog) -> HashMap<Address, String> {
    let lookup = Lookup::new(catalog, Tablespaces::Ignore);
    let mut all = HashMap::new();
    named(catalog, &mut all);
    routines(catalog, &mut all);
    relations(catalog, &mut all);
    on_tables(&lookup, &mut all);
    settings(&lookup, &mut all);
    all
}

fn put(all: &mut HashMap<Address, String>, class: u32, oid: u32, what: String) {
    all.insert(Address::new(class, oid), format!("DROP {what};"));
}

fn word(text: &str, o: &Object) -> String {
    format!("{text} {}", if o.schema.is_empty() { quote_ident(&o.name) } else { o.quoted() })
}

fn named(catalog: &Catalog, all: &mut HashMap<Address, String>) {
    catalog.schemas.iter().for_each(|s| put(all, class::SCHEMA, s.object.oid, format!("SCHEMA {}", quote_ident(&s.object.name))));
    catalog.extensions.iter().for_each(|x| put(all, class::EXTENSION, x.object.oid, format!("EXTENSION {}", quote_ident(&x.object.name))));
    catalog.languages.iter().for_each(|l| put(all, class::LANGUAGE, l.object.oid, word("LANGUAGE", &l.object)));
    for t in &catalog.types {
        put(all, class::TYPE, t.object.oid, word(if t.kind == "domain" { "DOMAIN" } else { "TYPE" }, &t.object));
    }
    catalog.collations.iter().for_each(|c| put(all, class::COLLATION, c.object.oid, word("COLLATION", &c.object)));
    catalog.conversions.iter().for_each(|c| put(all, class::CONVERSION, c.object.oid, word("CONVERSION", &c.object)));
    for m in &catalog.access_methods {
        put(all, class::ACCESS_METHOD, m.oid, format!("ACCESS METHOD {}", quote_ident(&m.name)));
    }
    for t in &catalog.text_search {
        let kind = match t.kind.as_str() {
            "parser" => "PARSER",
            "template" => "TEMPLATE",
            "dictionary" => "DICTIONARY",
            _ => "CONFIGURATION",
        };
        put(all, t.class, t.object.oid, word(&format!("TEXT SEARCH {kind}"), &t.object));
    }
    for f in &catalog.foreign {
        let of = quote_ident(f.of.as_deref().unwrap_or_default());
        let user = if f.public { "PUBLIC".to_string() } else { quote_ident(&f.name) };
        match f.kind.as_str() {
            "wrapper" => put(all, class::WRAPPER, f.oid, format!("FOREIGN DATA WRAPPER {}", quote_ident(&f.name))),
            "server" => put(all, class::SERVER, f.oid, format!("SERVER {}", quote_ident(&f.name))),
            _ => put(all, class::USER_MAPPING, f.oid, format!("USER MAPPING FOR {user} SERVER {of}")),
        }
    }
    catalog.event_triggers.iter().for_each(|t| put(all, class::EVENT_TRIGGER, t.object.oid, word("EVENT TRIGGER", &t.object)));
    catalog.publications.iter().for_each(|p| put(all, class::PUBLICATION, p.object.oid, word("PUBLICATION", &p.object)));
    catalog.statistics.iter().for_each(|s| put(all, class::STATISTICS, s.object.oid, word("STATISTICS", &s.object)));
}

fn routines(catalog: &Catalog, all: &mut HashMap<Address, String>) {
    for f in &catalog.functions {
        let (kind, arguments) = match f.kind.as_str() {
            "p" => ("PROCEDURE", f.arguments.as_str()),
            "a" if f.arguments.is_empty() => ("AGGREGATE", "*"),
            "a" => ("AGGREGATE", f.arguments.as_str()),
            _ => ("FUNCTION", f.arguments.as_str()),
        };
        put(all, class::FUNCTION, f.object.oid, format!("{kind} {}({arguments})", f.object.quoted()));
    }
    for o in &catalog.operators {
        let side = |t: &Option<String>| t.clone().unwrap_or_else(|| "NONE".to_string());
        let name = format!("{}.{}", quote_ident(&o.object.schema), o.object.name);
        put(all, class::OPERATOR, o.object.oid, format!("OPERATOR {name} ({}, {})", side(&o.left), side(&o.right)));
    }
    for f in &catalog.families {
        put(all, class::FAMILY, f.object.oid, format!("OPERATOR FAMILY {} USING {}", f.object.quoted(), quote_ident(&f.method)));
    }
    for c in &catalog.op_classes {
        put(all, class::OP_CLASS, c.object.oid, format!("OPERATOR CLASS {} USING {}", c.object.quoted(), quote_ident(&c.method)));
    }
    for c in &catalog.casts {
        let (class, word) = if c.transform { (class::TRANSFORM, "TRANSFORM") } else { (class::CAST, "CAST") };
        put(all, class, c.oid, format!("{word} {}", c.name));
    }
}

fn relations(catalog: &Catalog, all: &mut HashMap<Address, String>) {
    for t in &catalog.tables {
        put(all, class::RELATION, t.object.oid, word(if t.kind == "f" { "FOREIGN TABLE" } else { "TABLE" }, &t.object));
    }
    for v in &catalog.views {
        put(all, class::RELATION, v.object.oid, word(if v.materialized { "MATERIALIZED VIEW" } else { "VIEW" }, &v.object));
    }
    catalog.sequences.iter().for_each(|s| put(all, class::RELATION, s.object.oid, word("SEQUENCE", &s.object)));
    catalog.indexes.iter().for_each(|i| put(all, class::RELATION, i.object.oid, word("INDEX", &i.object)));
}

fn on_tables(lookup: &Lookup<'_>, all: &mut HashMap<Address, String>) {
    let catalog = lookup.catalog;
    let on = |table: u32| lookup.relation_name(table).map(|(quoted, _)| quoted);
    let domains: HashMap<u32, &Object> = catalog.types.iter().map(|t| (t.object.oid, &t.object)).collect();
    for k in &catalog.constraints {
        let name = quote_ident(&k.name);
        let of = match (k.table.and_then(on), k.domain.and_then(|d| domains.get(&d))) {
            (Some(table), _) => format!("ALTER TABLE {table} DROP CONSTRAINT {name};"),
            (None, Some(domain)) => format!("ALTER DOMAIN {} DROP CONSTRAINT {name};", domain.quoted()),
            (None, None) => continue,
        };
        all.insert(Address::new(class::CONSTRAINT, k.oid), of);
    }
    for t in &catalog.triggers {
        let Some(table) = on(t.table) else { continue };
        put(all, class::TRIGGER, t.oid, format!("TRIGGER {} ON {table}", quote_ident(&t.name)));
        let enable = format!("ALTER TABLE ONLY {table} ENABLE TRIGGER {};", quote_ident(&t.name));
        all.insert(derived(derived_class::TRIGGER_STATE, t.oid), enable);
    }
    for r in &catalog.rules {
        on(r.table).into_iter().for_each(|t| put(all, class::REWRITE, r.oid, format!("RULE {} ON {t}", quote_ident(&r.name))));
    }
    for p in &catalog.policies {
        on(p.table).into_iter().for_each(|t| put(all, class::POLICY, p.oid, format!("POLICY {} ON {t}", quote_ident(&p.name))));
    }
    for (relation, columns) in &catalog.columns {
        let Some(table) = on(*relation) else { continue };
        for (c, oid) in columns.iter().filter_map(|c| Some((c, c.default_oid?))) {
            let sql = format!("ALTER TABLE ONLY {table} ALTER COLUMN {} DROP DEFAULT;", quote_ident(&c.name));
            all.insert(Address::new(class::DEFAULT, oid), sql);
        }
    }
}

/// What is no object of its own is set back to what a new one has.
fn settings(lookup: &Lookup<'_>, all: &mut HashMap<Address, String>) {
    let catalog = lookup.catalog;
    for s in &catalog.sequences {
        all.insert(derived(derived_class::OWNED_BY, s.object.oid), format!("ALTER SEQUENCE {} OWNED BY NONE;", s.object.quoted()));
    }
    for t in &catalog.tables {
        let name = t.object.quoted();
        let sql = format!("ALTER TABLE {name} DISABLE ROW LEVEL SECURITY;\nALTER TABLE ONLY {name} NO FORCE ROW LEVEL SECURITY;");
        all.insert(derived(derived_class::ROW_SECURITY, t.object.oid), sql);
    }
    for v in catalog.views.iter().filter(|v| v.materialized) {
        let sql = format!("REFRESH MATERIALIZED VIEW {} WITH NO DATA;", v.object.quoted());
        all.insert(derived(derived_class::REFRESH, v.object.oid), sql);
    }
    for i in &catalog.indexes {
        let Some((table, _)) = lookup.relation_name(i.table) else { continue };
        let mut lines = Vec::new();
        if i.clustered {
            lines.push(format!("ALTER TABLE {table} SET WITHOUT CLUSTER;"));
        }
        if i.replica_identity {
            lines.push(format!("ALTER TABLE ONLY {table} REPLICA IDENTITY DEFAULT;"));
        }
        let back = |(column, _): &(i32, i32)| format!("ALTER INDEX {} ALTER COLUMN {column} SET STATISTICS -1;", i.object.quoted());
        lines.extend(i.statistics.iter().map(back));
        all.insert(derived(derived_class::INDEX_SETTING, i.object.oid), lines.join("\n"));
        // There is no DETACH for an index.
        let drop = all.get(&relation(i.object.oid)).cloned().unwrap_or_default();
        all.insert(derived(derived_class::ATTACH, i.object.oid), drop);
    }
}
