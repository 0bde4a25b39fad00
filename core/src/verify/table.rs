//! From one table to another with ALTER TABLE: columns, defaults, NOT NULL, settings, CHECKs.
//!
//! What it can do is neutralized in copies of both tables; where these still differ, ALTER cannot do it all.

use std::collections::HashMap;

use crate::{
    catalog::{Column, Constraint, Table},
    ddl::{Split, parameters, table::column, type_::collate},
    name::quote_ident,
    plan::lookup::Lookup,
};

/// The statements; none when some of it takes a new table.
pub(super) fn alter(wanted: &Table, source: &Lookup<'_>, found: &Table, peer: &Lookup<'_>) -> Option<Vec<String>> {
    if neutral(wanted, source) != neutral(found, peer) {
        return None;
    }
    let name = wanted.object.quoted();
    let mut lines = Vec::new();
    columns(wanted, source, found, peer, &mut lines)?;
    checks(wanted, source, found, peer, &mut lines);
    if wanted.persistence != found.persistence {
        lines.push(format!("ALTER TABLE {name} SET {};", if wanted.persistence == "u" { "UNLOGGED" } else { "LOGGED" }));
    }
    if source.keeps_tablespaces() && wanted.tablespace != found.tablespace {
        let tablespace = wanted.tablespace.as_deref().unwrap_or("pg_default");
        lines.push(format!("ALTER TABLE {name} SET TABLESPACE {};", quote_ident(tablespace)));
    }
    lines.extend(options(&format!("ALTER TABLE {name}"), &wanted.options, &found.options));
    if wanted.replica_identity != found.replica_identity {
        match wanted.replica_identity.as_str() {
            "f" => lines.push(format!("ALTER TABLE ONLY {name} REPLICA IDENTITY FULL;")),
            "n" => lines.push(format!("ALTER TABLE ONLY {name} REPLICA IDENTITY NOTHING;")),
            "d" => lines.push(format!("ALTER TABLE ONLY {name} REPLICA IDENTITY DEFAULT;")),
            // The item of the index's settings says which.
            _ => {}
        }
    }
    Some(lines)
}

/// What no ALTER here changes, with parents by name.
fn neutral(table: &Table, lookup: &Lookup<'_>) -> String {
    let parents: Vec<_> = table.parents.iter().map(|&p| lookup.relation_name(p)).collect();
    let mut t = table.clone();
    t.object.oid = 0;
    t.object.owner = None;
    t.parents.clear();
    t.options.clear();
    t.tablespace = None;
    (t.persistence, t.replica_identity) = (String::new(), String::new());
    (t.row_security, t.force_row_security) = (false, false);
    format!("{t:?} {parents:?}")
}

/// What of a column no ALTER here changes.
fn neutral_column(c: &Column) -> String {
    let kept = Column {
        name: c.name.clone(),
        not_null_name: c.not_null_name.clone(),
        not_null_inherited: c.not_null_inherited,
        identity: c.identity.clone(),
        generated: c.generated.clone(),
        default: c.default.clone().filter(|_| c.generated.is_some()),
        only_inherited: c.only_inherited,
        inherited: c.inherited,
        storage: c.storage.clone(),
        foreign_options: c.foreign_options.clone(),
        ..Column::default()
    };
    format!("{kept:?}")
}

fn columns(wanted: &Table, source: &Lookup<'_>, found: &Table, peer: &Lookup<'_>, lines: &mut Vec<String>) -> Option<()> {
    let name = wanted.object.quoted();
    let (ours, theirs) = (source.columns(wanted.object.oid), peer.columns(found.object.oid));
    let by_name: HashMap<&str, &Column> = theirs.iter().map(|c| (c.name.as_str(), c)).collect();
    let gone: Vec<&Column> = theirs.iter().filter(|c| !ours.iter().any(|o| o.name == c.name)).collect();
    let is_new = |c: &&Column| !by_name.contains_key(c.name.as_str());
    // New columns come last: anywhere else, or with others in another order, the table would not be the source's.
    let kept: Vec<&str> = ours.iter().filter(|c| !is_new(c)).map(|c| c.name.as_str()).collect();
    let order: Vec<&str> = theirs.iter().map(|c| c.name.as_str()).filter(|n| kept.contains(n)).collect();
    if kept != order || ours.iter().skip(kept.len()).any(|c| !is_new(&c)) || wanted.of_type.is_some() && kept.len() < ours.len() {
        return None;
    }
    if gone.iter().any(|c| c.inherited > 0) {
        return None;
    }
    lines.extend(gone.iter().map(|c| format!("ALTER TABLE {name} DROP COLUMN {};", quote_ident(&c.name))));
    for c in ours {
        match by_name.get(c.name.as_str()) {
            None => lines.push(format!("ALTER TABLE {name} ADD COLUMN {};", column::definition(wanted, c, source, &Split::new()))),
            Some(other) if neutral_column(c) != neutral_column(other) => return None,
            Some(other) => alter_column(&name, c, other, lines),
        }
    }
    let new: Vec<Column> = ours.iter().filter(is_new).cloned().collect();
    lines.extend(Some(column::settings_of(&name, &new)).filter(|s| !s.is_empty()).map(|s| s.trim_start().to_string()));
    Some(())
}

fn alter_column(table: &str, wanted: &Column, found: &Column, lines: &mut Vec<String>) {
    let column = quote_ident(&wanted.name);
    let mut alter = |what: String| lines.push(format!("ALTER TABLE {table} ALTER COLUMN {column} {what};"));
    let retyped = (&wanted.type_name, &wanted.collation) != (&found.type_name, &found.collation);
    if retyped {
        if found.default.is_some() && found.generated.is_none() {
            alter("DROP DEFAULT".to_string());
        }
        alter(format!("TYPE {}{} USING {column}::{}", wanted.type_name, collate(&wanted.collation), wanted.type_name));
    }
    if wanted.generated.is_none() && (retyped || wanted.default != found.default) {
        match &wanted.default {
            Some(default) => alter(format!("SET DEFAULT {default}")),
            None if !retyped => alter("DROP DEFAULT".to_string()),
            None => {}
        }
    }
    if wanted.not_null != found.not_null {
        alter(if wanted.not_null { "SET NOT NULL" } else { "DROP NOT NULL" }.to_string());
    }
    if wanted.compression != found.compression {
        let method = match wanted.compression.as_deref() {
            Some("l") => "lz4",
            Some(_) => "pglz",
            None => "default",
        };
        alter(format!("SET COMPRESSION {method}"));
    }
    if wanted.statistics != found.statistics {
        alter(format!("SET STATISTICS {}", wanted.statistics.unwrap_or(-1)));
    }
    lines.extend(options(&format!("ALTER TABLE {table} ALTER COLUMN {column}"), &wanted.options, &found.options));
}

/// RESET of what only the peer has, SET of what differs.
fn options(alter: &str, wanted: &[String], found: &[String]) -> Vec<String> {
    let name = |o: &String| o.split_once('=').map_or(o.as_str(), |(name, _)| name).to_string();
    let names: Vec<String> = wanted.iter().map(name).collect();
    let quoted = |n: String| match n.strip_prefix("toast.") {
        Some(n) => format!("toast.{}", quote_ident(n)),
        None => quote_ident(&n),
    };
    let gone: Vec<String> = found.iter().map(name).filter(|n| !names.contains(n)).map(quoted).collect();
    let changed: Vec<String> = wanted.iter().filter(|o| !found.contains(o)).cloned().collect();
    let reset = (!gone.is_empty()).then(|| format!("{alter} RESET ({});", gone.join(", ")));
    let set = (!changed.is_empty()).then(|| format!("{alter} SET ({});", parameters(&changed)));
    reset.into_iter().chain(set).collect()
}

/// CHECKs by name; one that differs goes and comes anew.
fn checks(wanted: &Table, source: &Lookup<'_>, found: &Table, peer: &Lookup<'_>, lines: &mut Vec<String>) {
    let name = wanted.object.quoted();
    let own = |k: &&&Constraint| k.local && k.validated;
    let (ours, theirs) = (source.checks(wanted.object.oid), peer.checks(found.object.oid));
    let same = |a: &Constraint, b: &Constraint| (&a.name, &a.definition) == (&b.name, &b.definition);
    for k in theirs.iter().filter(own).filter(|k| !ours.iter().any(|o| same(o, k))) {
        lines.push(format!("ALTER TABLE {name} DROP CONSTRAINT {};", quote_ident(&k.name)));
    }
    for k in ours.iter().filter(own).filter(|k| !theirs.iter().any(|o| same(o, k))) {
        lines.push(format!("ALTER TABLE {name} ADD CONSTRAINT {} {};", quote_ident(&k.name), k.definition));
    }
}
