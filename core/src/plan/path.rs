//! The search_path of what runs functions whose authors relied on one.
//!
//! Everything is rendered for an empty search_path, but the body of a function is not ours to change: one that names
//! `helper()` without its schema and has no search_path of its own fails when an index is built over it. What builds or checks
//! something by such functions runs under: the schemas of the functions, of what their bodies name, `public`, and those of
//! extensions. The same catalogs give the same path, whatever the settings of the database are.

use std::collections::{BTreeSet, HashMap};

use crate::{
    catalog::{Catalog, class},
    ddl::literal,
    name::quote_ident,
    plan::{draft::rank, graph::Graph},
};

/// Functions without a search_path of their own, and what follows them in every path.
pub(crate) struct Paths<'a> {
    unset: HashMap<u32, &'a str>,
    last: Vec<&'a str>,
}

impl<'a> Paths<'a> {
    pub fn new(catalog: &'a Catalog) -> Paths<'a> {
        // pg_get_functiondef puts each setting on a line of its own, before the body.
        let sets = |d: &str| d.split("\nAS ").next().is_some_and(|head| head.contains("\n SET search_path TO "));
        let unset = catalog.functions.iter().filter(|f| f.body.is_some() && !f.definition.as_deref().is_some_and(sets));
        let mut last = vec!["public"];
        last.extend(catalog.extensions.iter().map(|x| x.object.schema.as_str()).filter(|s| *s != "pg_catalog"));
        Paths { unset: unset.map(|f| (f.object.oid, f.object.schema.as_str())).collect(), last }
    }

    /// `ddl` of a node under the path that it needs.
    pub fn wrap(&self, graph: &Graph<'_>, at: usize, ddl: String) -> String {
        let runs = matches!(graph.nodes[at].rank, rank::KEY | rank::INDEX | rank::CHECK | rank::REFRESH);
        if ddl.is_empty() || !runs || self.unset.is_empty() {
            return ddl;
        }
        let schemas = self.schemas(graph, at);
        if schemas.is_empty() {
            return ddl;
        }
        let mut path: Vec<String> = Vec::new();
        for schema in schemas.into_iter().chain(self.last.iter().copied()).map(quote_ident) {
            if !path.contains(&schema) {
                path.push(schema);
            }
        }
        let set = |path: &str| format!("SELECT pg_catalog.set_config('search_path', {}, true);", literal(path));
        format!("{}\n{ddl}\n{}", set(&path.join(", ")), set(""))
    }

    /// The schemas of the functions that a node runs, each with those of what its body names.
    fn schemas<'s>(&'s self, graph: &'s Graph<'_>, at: usize) -> Vec<&'s str> {
        let mut found = Vec::new();
        let mut open = vec![at];
        let mut seen = BTreeSet::from([at]);
        while let Some(one) = open.pop() {
            let node = &graph.nodes[one];
            if let Some(schema) = self.unset.get(&node.address.oid).filter(|_| node.address.class == class::FUNCTION) {
                found.push(*schema);
                found.extend(graph.soft[one].iter().map(|&n| graph.nodes[n].schema.as_str()).filter(|s| !s.is_empty()));
            }
            let next = graph.needs[one].iter().chain(&graph.soft[one]).copied();
            // Views are run only to fill a materialized view.
            let run = |n: usize| {
                let rank = graph.nodes[n].rank;
                matches!(rank, rank::FUNCTION | rank::OPERATOR | rank::AGGREGATE)
                    || rank == rank::VIEW && graph.nodes[at].rank == rank::REFRESH
            };
            open.extend(next.filter(|&n| run(n) && seen.insert(n)));
        }
        found
    }
}
