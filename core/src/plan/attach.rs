//! Comments, labels and grants: tied to the nodes of the objects they are on.

use std::collections::{BTreeMap, HashMap};

use crate::{
    catalog::{Acl, Address, Catalog, Index, Other, class},
    ddl::attached,
    finding::{Finding, Severity},
    plan::{
        When,
        draft::{Draft, Node, derived_class, rank, relation},
        graph::Graph,
        select::Taken,
    },
};

/// Comments and labels by the node whose DDL they follow.
pub(crate) struct Attached<'a> {
    catalog: &'a Catalog,
    by_node: HashMap<usize, String>,
}

impl<'a> Attached<'a> {
    /// Adds nodes for grants and default privileges to the draft.
    pub fn new(catalog: &'a Catalog, draft: &mut Draft<'a>) -> Attached<'a> {
        let mut by_object: BTreeMap<Address, Vec<&Acl>> = BTreeMap::new();
        for acl in &catalog.acls {
            by_object.entry(Address::new(acl.class, acl.oid)).or_default().push(acl);
        }
        for (address, acls) in by_object {
            draft.nodes.push(grants(address, &acls));
        }
        draft.nodes.extend(catalog.default_acls.iter().map(|d| default_privileges(d, catalog)));
        Attached { catalog, by_node: HashMap::new() }
    }

    /// Finds the node of each comment and label.
    pub fn resolve(&mut self, graph: &Graph<'_>, findings: &mut Vec<Finding>) {
        for c in &self.catalog.comments {
            match graph.resolver.node(Address::new(c.0, c.1)) {
                Some(node) => self.by_node.entry(node).or_default().push_str(&attached::comment(c)),
                None => findings.push(left_out("comment", &c.3)),
            }
        }
        for l in &self.catalog.labels {
            match graph.resolver.node(Address::new(l.0, l.1)) {
                Some(node) => self.by_node.entry(node).or_default().push_str(&attached::label(l)),
                None => findings.push(left_out("security label", &l.4)),
            }
        }
    }

    /// What follows the node's own DDL.
    pub fn text(&self, node: usize) -> &str {
        self.by_node.get(&node).map(String::as_str).unwrap_or_default()
    }
}

/// Grants stand apart from their object, at the end: what is made in between is made with its makers' rights.
fn grants<'a>(address: Address, acls: &[&Acl]) -> Node<'a> {
    let target = acls.first().map(|a| a.target.as_str()).unwrap_or_default();
    let own = Address::new(derived_class::GRANTS + address.class, address.oid);
    let mut node = Node::new(own, "grants", rank::GRANTS, "", target, attached::grants(acls)).identity(format!("grants on {target}"));
    node.roles = attached::roles(acls.iter().flat_map(|a| a.acl.iter().chain(&a.base))).into_iter().collect();
    // The system's own objects are there; its privileges follow only when everything does.
    if address.oid >= FIRST_USER_OID || address.class == class::SCHEMA {
        node = node.follows(address);
    } else {
        node.when = When::AfterAll;
    }
    node
}

/// Objects below this OID are initdb's (`FirstNormalObjectId` in access/transam.h).
const FIRST_USER_OID: u32 = 16384;

fn default_privileges<'a>(d: &'a crate::catalog::DefaultAcl, catalog: &Catalog) -> Node<'a> {
    let schema = d.schema.as_ref().map(|s| format!(" in schema {s}")).unwrap_or_default();
    let identity = format!("default privileges of {} on {}{schema}", d.role, d.kind);
    let mut node = Node::new(
        Address::new(class::DEFAULT_ACL, d.oid),
        "default privileges",
        rank::GRANTS,
        "",
        &d.role,
        attached::default_privileges(d),
    )
    .identity(identity)
    .when(When::AfterAll);
    node.roles = attached::roles(d.acl.iter().chain(&d.base)).into_iter().chain([d.role.clone()]).collect();
    if let Some(schema) = catalog.schemas.iter().find(|s| Some(&s.object.name) == d.schema.as_ref()) {
        node = node.follows(Address::new(class::SCHEMA, schema.object.oid));
    }
    node
}

fn left_out(what: &str, target: &str) -> Finding {
    Finding {
        item: "not_carried",
        severity: Severity::Warning,
        object: target.to_string(),
        message: format!("the {what} on {target} is left out, since its object is not made"),
        fix: None,
    }
}

/// What no plan carries.
pub(crate) fn not_carried(other: &Other) -> Finding {
    let (object, message) = match other.kind.as_str() {
        "large objects" => ("large objects".to_string(), format!("{} large objects are not carried", other.name)),
        kind => (format!("{kind} {}", other.name), format!("the {kind} \"{}\" is not carried", other.name)),
    };
    Finding { item: "not_carried", severity: Severity::Warning, object, message, fix: None }
}

/// Tablespaces of their own in which objects of the plan lie, with the number of these.
pub(crate) fn tablespaces<'c>(catalog: &'c Catalog, graph: &Graph<'_>, taken: &[Taken]) -> BTreeMap<&'c str, usize> {
    let tables = catalog.tables.iter().map(|t| (&t.tablespace, relation(t.object.oid)));
    let views = catalog.views.iter().map(|v| (&v.tablespace, relation(v.object.oid)));
    let made_by = |i: &Index| i.constraint.map_or(relation(i.object.oid), |k| Address::new(class::CONSTRAINT, k));
    let indexes = catalog.indexes.iter().map(|i| (&i.tablespace, made_by(i)));
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for (tablespace, address) in tables.chain(views).chain(indexes) {
        let made = graph.resolver.node(address).is_some_and(|at| taken[at] != Taken::No);
        if let Some(tablespace) = tablespace.as_deref().filter(|_| made) {
            *count.entry(tablespace).or_default() += 1;
        }
    }
    count
}

/// What lies in a tablespace and comes into the peer's default.
pub(crate) fn other_tablespace((tablespace, count): (&str, usize)) -> Finding {
    Finding {
        item: "tablespace",
        severity: Severity::Warning,
        object: format!("tablespace {tablespace}"),
        message: format!("{count} tables or indexes of tablespace \"{tablespace}\" are made in the peer's default tablespace"),
        fix: Some("None needed; the option tablespaces = keep puts them into the peer's tablespace of that name.".to_string()),
    }
}
