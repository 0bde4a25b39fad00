//! What is on the peer already, and what the plan needs there and does not find.

use std::collections::{BTreeSet, HashMap};

use super::{ExtensionFacts, Facts, PEER, PeerFacts, PeerObject, PeerTableFacts, RoleNeeded, TableFacts, error, ok, warning};
use crate::{
    finding::Finding,
    name::{TableName, quote_ident, quote_literal, quote_qualified},
    plan::{Lack, Lacks},
    task::ExistingObjects,
};

/// Which of PostgreSQL's name spaces a kind of object takes a name in: relation, type, routine, schema.
fn name_spaces(kind: &str) -> u8 {
    const RELATION: u8 = 1;
    const TYPE: u8 = 2;
    match kind {
        "table" | "partitioned table" | "foreign table" | "view" | "materialized view" | "composite type" => RELATION | TYPE,
        "sequence" | "index" => RELATION,
        "type" | "enum" | "enum type" | "domain" | "range" | "range type" | "base type" => TYPE,
        "function" | "procedure" | "aggregate" | "window function" => 4,
        "schema" => 8,
        _ => 0,
    }
}

/// Whether an object of this kind is created in a schema.
pub(super) fn in_a_schema(kind: &str) -> bool {
    (1..8).contains(&name_spaces(kind))
}

pub(super) fn existing_objects(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "existing_objects";
    let Ok(peer) = &facts.peer else { return };
    if !facts.options.stages.schema {
        return;
    }
    let mut by_name: HashMap<&str, Vec<&PeerObject>> = HashMap::new();
    for object in &peer.objects {
        by_name.entry(&object.name).or_default().push(object);
    }
    let before = out.len();
    for object in &facts.plan.objects {
        let public = object.kind == "schema" && object.name == "public";
        if public || peer.made.contains(&object.identity()) {
            continue;
        }
        let same_space = |there: &&&PeerObject| name_spaces(&there.kind) & name_spaces(&object.kind) != 0;
        if let Some(there) = by_name.get(object.name.as_str()).and_then(|found| found.iter().find(same_space)) {
            out.push(error(
                ITEM,
                &object.name,
                format!("the peer has a {} of this name, and the task would create a {}", there.kind, object.kind),
                format!("DROP {} {}; -- on the peer, if nobody needs it there", there.kind.to_uppercase(), there.quoted),
            ));
        }
    }
    if out.len() == before {
        out.push(ok(ITEM, PEER, "nothing on the peer has a name that the task needs for what it makes"));
    }
}

pub(super) fn peer_tables(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "peer_tables";
    let Ok(peer) = &facts.peer else { return };
    let kept = &facts.plan.kept_tables;
    let makes_tables = facts.options.stages.schema;
    if makes_tables && kept.is_empty() {
        return;
    }
    let there = peer.tables_by_name();
    let before = out.len();
    let there_before = |t: &&TableFacts| t.kind != 'f' && (!makes_tables || kept.contains(&TableName::new(&t.schema, &t.name)));
    for table in facts.source.tables.iter().filter(there_before) {
        let Some(found) = there.get(&(table.schema.as_str(), table.name.as_str())) else {
            out.push(error(
                ITEM,
                format!("{}.{}", table.schema, table.name),
                "the peer does not have the table, and the task has no schema stage",
                "Create the table on the peer, or give the task the stage schema.",
            ));
            continue;
        };
        let copied = peer.copied.contains(&(table.schema.clone(), table.name.clone()));
        let keeps = facts.options.existing_objects == ExistingObjects::Keep;
        out.extend(peer_table(table, found, &peer.server.role.name, (facts.options.stages.copy && !copied).then_some(keeps)));
    }
    if out.len() == before {
        out.push(ok(
            ITEM,
            PEER,
            "the peer has every table that the task does not make, empty where it is to be copied, and its role may write to it",
        ));
    }
}

fn peer_table(table: &TableFacts, found: &PeerTableFacts, role: &str, to_copy: Option<bool>) -> Vec<Finding> {
    const ITEM: &str = "peer_tables";
    let (quoted, shown) = (quote_qualified(&table.schema, &table.name), format!("{}.{}", table.schema, table.name));
    let mut findings = Vec::new();
    let mut grants = Vec::new();
    if !found.schema_usage {
        grants.push(format!("GRANT USAGE ON SCHEMA {} TO {};", quote_ident(&table.schema), quote_ident(role)));
    }
    if !found.lacks.is_empty() {
        grants.push(format!("GRANT {} ON {quoted} TO {};", found.lacks.join(", "), quote_ident(role)));
    }
    if !grants.is_empty() {
        findings.push(error(ITEM, &shown, format!("role \"{role}\" may not write to the table on the peer"), grants.join(" ")));
    }
    if let Some(keeps) = to_copy.filter(|_| found.has_pages) {
        findings.push(warning(
            ITEM,
            &shown,
            if keeps {
                "the table on the peer may hold rows already: they stay where one of the source's has the same key, until the stream changes it"
            } else {
                "the table on the peer may hold rows already, and the source's are added to them"
            },
            format!("TRUNCATE {quoted}; -- on the peer, if nobody needs the rows"),
        ));
    }
    findings
}

pub(super) fn peer_roles(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "peer_roles";
    let Ok(peer) = &facts.peer else { return };
    if !facts.options.stages.schema {
        return;
    }
    let before = out.len();
    let owners = facts.source.roles.iter().map(|r| r.name.as_str());
    let named = facts.plan.roles.iter().filter(|r| !owners.clone().any(|o| o == *r)).map(|r| RoleNeeded { name: r.clone(), owns: false });
    for needed in facts.source.roles.iter().cloned().chain(named) {
        if peer.rights.roles.iter().any(|r| r.name == needed.name) {
            continue;
        }
        let role = quote_ident(&needed.name);
        let (uses, fix) = if needed.owns {
            let grant = format!(" GRANT {role} TO {};", quote_ident(&peer.server.role.name));
            ("owns objects", format!("CREATE ROLE {role};{}", if peer.server.role.superuser { "" } else { grant.as_str() }))
        } else {
            ("has rights on objects, or is named by them,", format!("CREATE ROLE {role};"))
        };
        out.push(error(
            ITEM,
            format!("role {}", needed.name),
            format!("the role {uses} on the source and does not exist on the peer"),
            fix,
        ));
    }
    if out.len() == before {
        out.push(ok(ITEM, PEER, "the peer has every role that owns something selected or has rights on it"));
    }
}

pub(super) fn extensions(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "extensions";
    let Ok(peer) = &facts.peer else { return };
    if !facts.options.stages.schema {
        return;
    }
    let before = out.len();
    for needed in facts.plan.objects.iter().filter(|o| o.kind == "extension") {
        let version = facts.source.extensions.iter().find(|e| e.name == needed.name).map_or("", |e| e.version.as_str());
        let found = peer.rights.extensions.iter().find(|e| e.name == needed.name);
        if let Some((message, fix)) = extension(&needed.name, version, found, &peer.server.role.name) {
            out.push(error(ITEM, format!("extension {}", needed.name), message, fix));
        }
    }
    if out.len() == before {
        out.push(ok(
            ITEM,
            PEER,
            "the peer has, or can create, every extension that the task makes, in the source's version or a later one",
        ));
    }
}

/// Which extensions, by name and the source's version, the peer cannot have.
pub fn lacking_extensions(peer: &PeerFacts, needed: &BTreeSet<(String, String)>) -> Lacks {
    let lack = |(name, version): &(String, String)| {
        let found = peer.rights.extensions.iter().find(|e| e.name == *name);
        let (reason, fix) = extension(name, version, found, &peer.server.role.name)?;
        Some((format!("extension {name}"), Lack { reason, fix: Some(fix) }))
    };
    needed.iter().filter_map(lack).collect()
}

/// What is wrong with one extension on the peer, and its fix.
fn extension(name: &str, version: &str, found: Option<&ExtensionFacts>, role: &str) -> Option<(String, String)> {
    let install =
        |why: String| Some((why, format!("Install the files of extension \"{name}\" in version {version} or later on the peer's server.")));
    let Some(found) = found else {
        return install("the peer's server does not have the extension".to_owned());
    };
    let later = found.default_version.as_deref().filter(|v| !is_lower(v, version));
    match (&found.installed_version, later) {
        (Some(there), Some(available)) if is_lower(there, version) => Some((
            format!("the peer's database has version {there}, the source's has {version}"),
            format!("ALTER EXTENSION {} UPDATE TO {};", quote_ident(name), quote_literal(available).trim()),
        )),
        (Some(there), None) if is_lower(there, version) => {
            install(format!("the peer's database has version {there}, the source's has {version}"))
        }
        (Some(_), _) => None,
        (None, None) => install(format!(
            "the peer's server offers version {}, the source's database has {version}",
            found.default_version.as_deref().unwrap_or("none")
        )),
        (None, Some(_)) if !found.creatable => Some((
            format!("only a superuser may create the extension, and role \"{role}\" is none"),
            format!("CREATE EXTENSION {}; -- as a superuser, in the peer's database", quote_ident(name)),
        )),
        (None, Some(_)) => None,
    }
}

/// Versions of extensions are free text; their numbers, in order, say which is lower.
fn is_lower(version: &str, than: &str) -> bool {
    let numbers = |v: &str| -> Vec<u64> {
        v.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty()).map(|part| part.parse().unwrap_or(u64::MAX)).collect()
    };
    numbers(version) < numbers(than)
}

pub(super) fn event_triggers(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "event_triggers";
    let Ok(peer) = &facts.peer else { return };
    if !facts.options.stages.schema {
        return;
    }
    if peer.rights.event_triggers.is_empty() {
        out.push(ok(ITEM, PEER, "no event trigger fires on what the task creates"));
    }
    out.extend(peer.rights.event_triggers.iter().map(|name| {
        warning(
            ITEM,
            format!("event trigger {name}"),
            "the peer's event trigger may fire on what the task creates there",
            format!("ALTER EVENT TRIGGER {} DISABLE;", quote_ident(name)),
        )
    }));
}
