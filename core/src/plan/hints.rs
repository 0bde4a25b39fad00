//! Needs that only the text of a function's body shows.

use std::collections::HashMap;

use crate::{
    order::body,
    plan::draft::{Node, rank},
};

/// Functions and the objects their bodies name, by number: exact where qualified, else in the same schema, else the only one so named.
pub(crate) fn body_needs(nodes: &[Node<'_>]) -> Vec<(usize, usize)> {
    let mut qualified: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
    let mut unqualified: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, n) in nodes.iter().enumerate() {
        if (rank::TABLE..=rank::AGGREGATE).contains(&n.rank) && !n.schema.is_empty() && n.address.class >= 1000 {
            qualified.entry((&n.schema, &n.name)).or_default().push(at);
            unqualified.entry(&n.name).or_default().push(at);
        }
    }
    let mut needs = Vec::new();
    for (from, node) in nodes.iter().enumerate() {
        let Some(text) = node.body else { continue };
        for name in body::names(text) {
            let exact = match &name.qualifier {
                Some(schema) => qualified.get(&(schema.as_str(), name.name.as_str())),
                None => qualified.get(&(node.schema.as_str(), name.name.as_str())),
            };
            let only = unqualified.get(name.name.as_str()).filter(|list| list.len() == 1 && name.qualifier.is_none());
            needs.extend(exact.or(only).into_iter().flatten().filter(|&&to| to != from).map(|&to| (from, to)));
        }
    }
    needs
}
