//! Columns whose type needs their own table, as by a materialized view that reads it: the table is made with a stand-in, and
//! the column gets its type when that is there. No row is there by then, so nothing is rewritten.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::{
    catalog::{Address, Catalog, Table, class},
    ddl::table::column,
    plan::{
        draft::{Draft, Node, column_type, rank, relation},
        graph::{Edge, Resolver},
    },
};

/// What `give` looks things up in.
pub(super) struct LateTypes<'a> {
    catalog: &'a Catalog,
    resolver: &'a Resolver,
    parts: &'a HashMap<Address, usize>,
}

impl<'a> LateTypes<'a> {
    pub fn new(catalog: &'a Catalog, resolver: &'a Resolver, parts: &'a HashMap<Address, usize>) -> LateTypes<'a> {
        LateTypes { catalog, resolver, parts }
    }

    /// Makes the type of a column come later, in the whole family of tables that inherit it; false when it does so already.
    pub fn give(&self, table: usize, number: i32, draft: &mut Draft<'_>, edges: &mut Vec<Edge>, split: &mut BTreeSet<usize>) -> bool {
        let family = self.family(draft.nodes[table].address.oid, number);
        let Some(node) = self.node(&family).filter(|n| !draft.late_types.contains(&n.address)) else { return false };
        let tables: HashMap<u32, i32> = family.iter().copied().collect();
        let nodes: HashMap<usize, i32> = family.iter().filter_map(|&(t, n)| Some((self.resolver.node(relation(t))?, n))).collect();
        let later = draft.nodes.len();
        draft.nodes.push(node);
        draft.late_types.extend(family.iter().map(|&(t, n)| column_type(t, n)));
        for e in edges.iter_mut().filter(|e| e.column.is_some() && nodes.get(&e.from).copied() == e.column) {
            (e.from, e.column) = (later, None);
        }
        let edge = |from: usize, part: Option<usize>, to: usize| Edge { from, part, to, soft: false, column: None };
        edges.extend(nodes.keys().map(|&t| edge(later, None, t)));
        // PostgreSQL gives no other type to a column that something uses, in itself or in its row.
        for d in &self.catalog.dependencies {
            let uses = match d.3 {
                class::RELATION => d.5 > 0 && tables.get(&d.4) == Some(&d.5),
                class::TYPE => self.resolver.node(d.referenced()).is_some_and(|n| nodes.contains_key(&n)),
                _ => false,
            };
            if !uses {
                continue;
            }
            let part = self.parts.get(&d.object()).copied();
            let from = self.resolver.node(part.map_or(d.object(), |p| draft.parts[p].owner));
            match (part, from) {
                (Some(p), Some(from)) => {
                    if draft.parts[p].node.rank != rank::VIEW {
                        draft.parts[p].node.note = Some("made later, since its column gets its type later".to_string());
                        split.insert(p);
                    }
                    edges.push(edge(from, part, later));
                }
                (None, Some(from)) if !nodes.contains_key(&from) => edges.push(edge(from, None, later)),
                _ => {}
            }
        }
        true
    }

    /// The tables that share a column by inheritance, each with its number there; the one it comes from first.
    fn family(&self, table: u32, number: i32) -> Vec<(u32, i32)> {
        let by_oid: HashMap<u32, &Table> = self.catalog.tables.iter().map(|t| (t.object.oid, t)).collect();
        let columns = |t: u32| self.catalog.columns.get(&t).map(Vec::as_slice).unwrap_or_default();
        let Some(name) = columns(table).iter().find(|c| c.number == number).map(|c| c.name.as_str()) else { return vec![] };
        let own = |t: u32| columns(t).iter().find(|c| c.name == name);
        let mut root = table;
        while let Some(parent) = own(root).filter(|c| c.inherited > 0).and_then(|_| {
            let parents = by_oid.get(&root).map(|t| t.parents.as_slice()).unwrap_or_default();
            parents.iter().copied().find(|&p| own(p).is_some())
        }) {
            root = parent;
        }
        let mut family: Vec<(u32, i32)> = own(root).map(|c| (root, c.number)).into_iter().collect();
        let mut seen = HashSet::from([root]);
        let mut at = 0;
        while let Some(&(parent, _)) = family.get(at) {
            at += 1;
            for child in self.catalog.tables.iter().filter(|t| t.parents.contains(&parent)) {
                if let Some(c) = own(child.object.oid).filter(|_| seen.insert(child.object.oid)) {
                    family.push((child.object.oid, c.number));
                }
            }
        }
        family
    }

    fn node<'n>(&self, family: &[(u32, i32)]) -> Option<Node<'n>> {
        let find = |&(table, number): &(u32, i32)| {
            let t = self.catalog.tables.iter().find(|t| t.object.oid == table)?;
            Some((t, self.catalog.columns.get(&table)?.iter().find(|c| c.number == number)?))
        };
        let (t, c) = family.first().and_then(find)?;
        let o = &t.object;
        // Children get the type with the first, their settings not.
        let settings = family.iter().filter_map(find).map(|(t, c)| column::settings_of(&t.object.quoted(), [c]));
        let ddl = settings.fold(column::set_type(t, c), |ddl, settings| ddl + &settings);
        let mut node = Node::new(column_type(o.oid, c.number), "column type", rank::PART, &o.schema, &o.name, ddl);
        node = node.identity(format!("type of {}.{}", o.plain(), c.name)).follows(relation(o.oid));
        node.note = Some("made later, since the table and the type need each other".to_string());
        Some(node)
    }
}
