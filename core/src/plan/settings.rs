//! Rows that users keep in an extension's own tables: the tables come with the extension, with its rows; what matches the
//! condition that it gives for a dump is the user's and is carried.
//!
//! **Invariant**: pgrelay's own extension is in no catalog, so its tables are never among them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    catalog::{Extension, Settings},
    finding::{Finding, Severity},
    name::{Selection, TableName, quote_qualified},
    plan::{Item, Lack, Peer, Section, When, draft::relation},
};

/// What becomes of the settings of all extensions.
#[derive(Default)]
pub(crate) struct Carried {
    /// One for each table whose rows are carried.
    pub items: Vec<Item>,
    /// The condition (`WHERE …`, or empty) for the rows of each of these.
    pub conditions: BTreeMap<TableName, String>,
    /// The others.
    pub left_out: BTreeSet<TableName>,
    /// What is left out of an extension that is carried, and why.
    pub findings: Vec<Finding>,
}

/// Decides for each table: it is carried with its extension, unless it is excluded or `peer` lacks it.
pub(crate) fn carry<'a>(extensions: impl Iterator<Item = (&'a Extension, bool)>, selection: &Selection, peer: Peer<'_>) -> Carried {
    let mut carried = Carried::default();
    for (extension, taken) in extensions {
        for settings in &extension.config {
            let table = TableName::new(&settings.schema, &settings.name);
            let excluded = selection.exclude.iter().any(|p| p.matches(&table.schema, &table.name));
            let lack = match peer {
                Peer::Lacks(lacks) => lacks.get(&settings.identity()).cloned(),
                Peer::Unknown | Peer::HasAll => None,
            };
            let lack = lack.or_else(|| (settings.kind == "p").then(|| partitioned(settings)));
            if !taken || excluded || lack.is_some() {
                carried.findings.extend(lack.filter(|_| taken && !excluded).map(|lack| not_carried(extension, settings, lack)));
                carried.left_out.insert(table);
            } else if settings.kind == "r" {
                carried.items.push(rows(extension, settings));
                carried.conditions.insert(table, settings.condition.clone());
            }
        }
    }
    carried
}

fn partitioned(settings: &Settings) -> Lack {
    Lack { reason: "it is partitioned, and PostgreSQL's dump takes no rows of such a one either".to_string(), fix: fix(settings) }
}

/// What a DBA does by himself where pgrelay cannot.
pub fn fix(settings: &Settings) -> Option<String> {
    let table = quote_qualified(&settings.schema, &settings.name);
    if settings.kind == "S" {
        return Some(format!("SELECT last_value, is_called FROM {table} on the source, setval('…', …) on the peer."));
    }
    let rows = format!("SELECT * FROM {table} {}", settings.condition);
    Some(format!("COPY ({}) TO STDOUT on the source, COPY {table} FROM STDIN on the peer.", rows.trim_end()))
}

fn not_carried(extension: &Extension, settings: &Settings, lack: Lack) -> Finding {
    let what = if settings.kind == "S" { "the position of this sequence" } else { "the rows that users keep in this table" };
    Finding {
        item: "extension_settings",
        severity: Severity::Warning,
        object: format!("{}.{}", settings.schema, settings.name),
        message: format!("{what} of extension \"{}\" cannot be carried: {}", extension.object.name, lack.reason),
        fix: lack.fix,
    }
}

fn rows(extension: &Extension, settings: &Settings) -> Item {
    let name = &extension.object.name;
    let which = if settings.condition.is_empty() { "all of its rows" } else { "its rows that the extension says" };
    Item {
        ordinal: 0,
        section: Section::Data,
        kind: "rows".to_string(),
        identity: settings.identity(),
        object: relation(settings.oid),
        when: When::Copy(TableName::new(&settings.schema, &settings.name)),
        ddl: String::new(),
        then: None,
        of: None,
        depends_on: vec![format!("extension {name}")],
        reason: format!("extension {name} makes the table; {which} are the user's"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{catalog::Object, name::Pattern, plan::Lacks};

    fn settings(name: &str, kind: &str, condition: &str) -> Settings {
        let (schema, name) = ("ext".to_string(), name.to_string());
        Settings { oid: 1, schema, name, kind: kind.to_string(), condition: condition.to_string(), owned: true, readable: true }
    }

    #[test]
    fn rows_come_with_their_extension_unless_excluded_lacking_or_partitioned() {
        let object = Object { name: "x".to_string(), ..Object::default() };
        let config = vec![settings("a", "r", "WHERE own"), settings("b", "r", ""), settings("p", "p", ""), settings("s", "S", "")];
        let extension = Extension { object, version: "1".to_string(), schema_is_member: false, config };
        let lack = |s: &str| Lacks::from([(s.to_string(), Lack { reason: "no right".to_string(), fix: None })]);
        let selection = Selection { exclude: vec![Pattern::parse("ext.b").expect("pattern")], ..Selection::all() };

        let carried = carry([(&extension, true)].into_iter(), &selection, Peer::HasAll);
        assert_eq!(carried.conditions, BTreeMap::from([(TableName::new("ext", "a"), "WHERE own".to_string())]));
        assert_eq!(carried.items.iter().map(|i| i.identity.as_str()).collect::<Vec<_>>(), ["rows of table ext.a"]);
        assert_eq!(carried.findings.iter().map(|f| f.object.as_str()).collect::<Vec<_>>(), ["ext.p"], "what is excluded is no news");
        assert_eq!(carried.left_out.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["b", "p"]);

        let lacks = lack("rows of table ext.a");
        let carried = carry([(&extension, true)].into_iter(), &Selection::all(), Peer::Lacks(&lacks));
        assert_eq!(carried.conditions.keys().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["b"]);
        assert!(carried.findings.iter().any(|f| f.object == "ext.a" && f.message.ends_with("cannot be carried: no right")));

        let carried = carry([(&extension, false)].into_iter(), &Selection::all(), Peer::HasAll);
        assert!(carried.items.is_empty() && carried.findings.is_empty(), "an extension that does not come brings nothing");
        assert_eq!(
            fix(&settings("a", "r", "WHERE own")).expect("a fix").split(" TO").next(),
            Some("COPY (SELECT * FROM \"ext\".\"a\" WHERE own)")
        );
    }
}
