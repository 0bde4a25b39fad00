//! The DDL that makes one object of the peer like the source's: ALTER where that is simple, else DROP and CREATE, said so.

use std::collections::HashMap;

use super::{drop, table};
use crate::{
    catalog::{Acl, Address, Catalog, DefaultAcl, class},
    ddl::{attached, sequence},
    name::{quote_ident, quote_literal},
    plan::{
        Item,
        draft::{derived_class, relation},
        lookup::Lookup,
    },
    task::Tablespaces,
};

/// First line of a fix that no ALTER can do.
const ANEW: &str = "-- no simple ALTER does this: the object is dropped and made anew\n";

/// Both catalogs, ready to look objects up.
pub(super) struct Mend<'a> {
    source: Lookup<'a>,
    peer: Lookup<'a>,
    drops: HashMap<Address, String>,
}

/// Whether two items make the same thing. The order of comments and grants follows oids, which differ.
pub(super) fn same(a: &Item, b: &Item) -> bool {
    let sorted = |text: &str| {
        let mut list: Vec<String> = text.split(";\n").map(|s| s.trim_end_matches(';').to_string()).collect();
        list.sort_unstable();
        list
    };
    a.then == b.then && a.ddl == b.ddl || sorted(&comparable(a)) == sorted(&comparable(b))
}

/// Everything that an item runs, without the oid in the name of a helper that some children are made by.
fn comparable(item: &Item) -> String {
    let helper = format!("pgrelay_order_{}", item.object.oid);
    let text = whole(item);
    if text.contains(&helper) { text.replace(&helper, "pgrelay_order") } else { text }
}

/// Everything that an item runs.
fn whole(item: &Item) -> String {
    match &item.then {
        Some(then) if item.ddl.is_empty() => then.clone(),
        Some(then) => format!("{}\n{then}", item.ddl),
        None => item.ddl.clone(),
    }
}

impl<'a> Mend<'a> {
    pub(super) fn new(source: &'a Catalog, peer: &'a Catalog, tablespaces: Tablespaces) -> Mend<'a> {
        Mend { source: Lookup::new(source, tablespaces), peer: Lookup::new(peer, tablespaces), drops: drop::statements(peer) }
    }

    /// Makes what the peer does not have.
    pub(super) fn missing(&self, item: &Item) -> String {
        whole(item)
    }

    /// Takes away what only the peer has.
    pub(super) fn extra(&self, item: &Item) -> String {
        let none: [&Acl; 0] = [];
        match item.object.class {
            class::DEFAULT_ACL => self.default_privileges(None, item.object.oid),
            class if class >= derived_class::GRANTS => grants(&none, &acls(self.peer.catalog, item.object)),
            derived_class::VALIDATION => "-- a constraint that is valid cannot become invalid again, and need not".to_string(),
            _ => self.drop(item),
        }
    }

    fn drop(&self, item: &Item) -> String {
        self.drops.get(&item.object).cloned().unwrap_or_else(|| format!("-- {} goes away with the object it is on", item.identity))
    }

    /// Makes `other`, the peer's, like `item`, the source's.
    pub(super) fn different(&self, item: &Item, other: &Item) -> String {
        if item.ddl == other.ddl
            && let Some(then) = &item.then
        {
            return then.clone();
        }
        let (body, mut added) = parts(&comparable(item));
        let (other_body, other_added) = parts(&comparable(other));
        if self.source.catalog.sequences.iter().any(|s| s.table.is_some() && relation(s.object.oid) == item.object) {
            // It has its table's owner, and changes it with the table.
            added.retain(|s| !s.contains(" OWNER TO "));
        }
        let altered = if body == other_body { Some(vec![]) } else { self.altered(item, other) };
        if let Some(altered) = altered {
            // A comment goes before the column that it is on.
            let added = added.into_iter().filter(|s| !other_added.contains(s)).collect::<Vec<_>>();
            let lines = [gone(&whole(item), &other_added), altered, added].concat();
            return if lines.is_empty() { "-- follows the table that owns it".to_string() } else { lines.join("\n") };
        }
        format!("{ANEW}{}\n{}", self.drop(other), whole(item))
    }

    /// What ALTER can do, apart from owner, comments and labels; none where it cannot do all.
    fn altered(&self, item: &Item, other: &Item) -> Option<Vec<String>> {
        match item.object.class {
            derived_class::GRANTS..derived_class::COLUMN_TYPE => {
                let (wanted, found) = (acls(self.source.catalog, item.object), acls(self.peer.catalog, other.object));
                Some(vec![grants(&wanted, &found)])
            }
            class::DEFAULT_ACL => Some(vec![self.default_privileges(Some(item.object.oid), other.object.oid)]),
            class::FUNCTION if item.kind != "aggregate" => function(item, other),
            class::EXTENSION => self.extension(item, other),
            class::RELATION => self.relation(item, other),
            _ => None,
        }
    }

    fn relation(&self, item: &Item, other: &Item) -> Option<Vec<String>> {
        if let Some((wanted, found)) = self.source.table(item.object.oid).zip(self.peer.table(other.object.oid)) {
            return table::alter(wanted, &self.source, found, &self.peer);
        }
        let of = |catalog: &'a Catalog, oid: u32| catalog.sequences.iter().find(|s| s.object.oid == oid);
        let (wanted, found) = of(self.source.catalog, item.object.oid).zip(of(self.peer.catalog, other.object.oid))?;
        let name = wanted.object.quoted();
        let mut lines = vec![format!("ALTER SEQUENCE {name} AS {} {};", wanted.type_name, sequence::options(wanted))];
        if wanted.persistence != found.persistence {
            lines.push(format!("ALTER SEQUENCE {name} SET {};", if wanted.persistence == "u" { "UNLOGGED" } else { "LOGGED" }));
        }
        Some(lines)
    }

    fn extension(&self, item: &Item, other: &Item) -> Option<Vec<String>> {
        let of = |catalog: &'a Catalog, oid: u32| catalog.extensions.iter().find(|x| x.object.oid == oid);
        let (wanted, found) = of(self.source.catalog, item.object.oid).zip(of(self.peer.catalog, other.object.oid))?;
        let name = quote_ident(&wanted.object.name);
        let mut lines = Vec::new();
        if wanted.version != found.version {
            lines.push(format!("ALTER EXTENSION {name} UPDATE TO {};", quote_literal(&wanted.version).trim_start()));
        }
        if wanted.object.schema != found.object.schema {
            lines.push(format!("ALTER EXTENSION {name} SET SCHEMA {};", quote_ident(&wanted.object.schema)));
        }
        Some(lines)
    }

    /// From the peer's entry to the source's, or to none.
    fn default_privileges(&self, wanted: Option<u32>, found: u32) -> String {
        let of = |catalog: &Catalog, oid: u32| catalog.default_acls.iter().find(|d| d.oid == oid).cloned();
        let Some(found) = of(self.peer.catalog, found) else { return String::new() };
        let acl = wanted.and_then(|oid| of(self.source.catalog, oid)).map_or_else(|| found.base.clone(), |d| d.acl);
        attached::default_privileges(&DefaultAcl { acl, base: found.acl.clone(), ..found })
    }
}

/// The privileges that an item of grants is about.
fn acls(catalog: &Catalog, item: Address) -> Vec<&Acl> {
    catalog.acls.iter().filter(|a| a.class + derived_class::GRANTS == item.class && a.oid == item.oid).collect()
}

/// From the peer's privileges to the source's. What is in only one of the lists has what a new object has in the other.
fn grants(wanted: &[&Acl], found: &[&Acl]) -> String {
    let twin = |list: &[&Acl], a: &Acl| list.iter().find(|b| b.column == a.column).map(|b| b.acl.clone());
    let mut steps: Vec<Acl> = Vec::new();
    for a in wanted {
        steps.push(Acl { base: twin(found, a).unwrap_or_else(|| a.base.clone()), ..(*a).clone() });
    }
    for a in found.iter().filter(|a| twin(wanted, a).is_none()) {
        steps.push(Acl { acl: a.base.clone(), base: a.acl.clone(), ..(*a).clone() });
    }
    attached::grants(&steps.iter().collect::<Vec<_>>())
}

/// CREATE OR REPLACE keeps name, arguments and result, which its first two lines hold.
fn function(item: &Item, other: &Item) -> Option<Vec<String>> {
    let head = |i: &Item| i.ddl.lines().take(2).map(str::to_string).collect::<Vec<_>>();
    let (body, _) = parts(&item.ddl);
    (head(item) == head(other)).then(|| vec![body])
}

/// The object itself, and what follows it: its owner, comments and labels, each a statement.
fn parts(text: &str) -> (String, Vec<String>) {
    let mut body = text.trim_end();
    let mut added = Vec::new();
    while let Some((before, last)) = body.rsplit_once(";\n") {
        let owner = last.starts_with("ALTER ") && last.contains(" OWNER TO ");
        if !owner && !last.starts_with("COMMENT ON ") && !last.starts_with("SECURITY LABEL ") {
            break;
        }
        added.push(format!("{};", last.trim_end_matches(';')));
        body = before;
    }
    added.sort_unstable();
    (format!("{};", body.trim_end_matches(';')), added)
}

/// Takes away comments and labels that only the peer has.
fn gone(wanted: &str, found: &[String]) -> Vec<String> {
    let about = |s: &str| s.split_once(" IS ").map(|(target, _)| format!("{target} IS "));
    found.iter().filter_map(|s| about(s)).filter(|t| !wanted.contains(t)).map(|t| format!("{t}NULL;")).collect()
}
