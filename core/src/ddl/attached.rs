//! What every kind of object can carry: comments, security labels, privileges; and default privileges.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    catalog::{Acl, Comment, DefaultAcl, Grant, Label},
    ddl::literal,
    name::quote_ident,
};

pub(crate) fn comment(c: &Comment) -> String {
    format!("\nCOMMENT ON {} IS {};", c.3, literal(&c.4))
}

pub(crate) fn label(l: &Label) -> String {
    format!("\nSECURITY LABEL FOR {} ON {} IS {};", quote_ident(&l.3), l.4, literal(&l.5))
}

/// REVOKE and GRANT from what a new object has to what the source's has: first the object's own, then its columns'.
pub(crate) fn grants(acls: &[&Acl]) -> String {
    let mut acls = acls.to_vec();
    acls.sort_by_key(|a| a.sub);
    let mut lines = Vec::new();
    for a in acls {
        let what = |privilege: &str| match &a.column {
            Some(column) => format!("{privilege} ({}) ON {}", quote_ident(column), a.target),
            None => format!("{privilege} ON {}", a.target),
        };
        lines.extend(differences(&a.acl, &a.base, &a.owner, &what, ""));
    }
    lines.join("\n")
}

/// The roles that grants name.
pub(crate) fn roles<'g>(grants: impl IntoIterator<Item = &'g Grant>) -> BTreeSet<String> {
    grants.into_iter().flat_map(|g| [Some(g.0.clone()), g.1.clone()]).flatten().collect()
}

fn grantee(g: &Grant) -> String {
    g.1.as_ref().map_or_else(|| "PUBLIC".to_string(), |role| quote_ident(role))
}

/// Statements from `base` to `acl`; `what` makes `SELECT ON TABLE x` of a privilege.
fn differences<'g>(acl: &'g [Grant], base: &[Grant], owner: &'g str, what: &dyn Fn(&str) -> String, prefix: &str) -> Vec<String> {
    let held = |list: &[Grant], g: &Grant| list.iter().find(|o| o.1 == g.1 && o.2 == g.2 && (o.0 == g.0)).map(|o| o.3);
    let mut lines = Vec::new();
    for g in base {
        match held(acl, g) {
            None => lines.push(format!("{prefix}REVOKE {} FROM {};", what(&g.2), grantee(g))),
            Some(false) if g.3 => lines.push(format!("{prefix}REVOKE GRANT OPTION FOR {} FROM {};", what(&g.2), grantee(g))),
            _ => {}
        }
    }
    let wanted = acl.iter().filter(|g| held(base, g).is_none_or(|option| g.3 && !option));
    for g in in_order_of_grantors(wanted.collect(), owner) {
        let option = if g.3 { " WITH GRANT OPTION" } else { "" };
        let grant = format!("{prefix}GRANT {} TO {}{option};", what(&g.2), grantee(g));
        if g.0 == owner {
            lines.push(grant);
        } else {
            lines.push(format!("SET LOCAL ROLE {};\n{grant}\nSET LOCAL ROLE NONE;", quote_ident(&g.0)));
        }
    }
    lines
}

/// Nobody grants before he has been granted: the owner's grants first, then those of whom they reached with grant option.
fn in_order_of_grantors<'g>(grants: Vec<&'g Grant>, owner: &'g str) -> Vec<&'g Grant> {
    let mut by_grantor: BTreeMap<&str, Vec<&Grant>> = BTreeMap::new();
    for g in grants {
        by_grantor.entry(&g.0).or_default().push(g);
    }
    let mut order = Vec::new();
    let mut next: Vec<&str> = vec![owner];
    while let Some(grantor) = next.pop().or_else(|| by_grantor.keys().next().copied()) {
        for g in by_grantor.remove(grantor).unwrap_or_default() {
            order.push(g);
            if g.3 {
                next.extend(g.1.as_deref());
            }
        }
    }
    order
}

/// `ALTER DEFAULT PRIVILEGES …` of one entry.
pub(crate) fn default_privileges(d: &DefaultAcl) -> String {
    let kind = match d.kind.as_str() {
        "r" => "TABLES",
        "S" => "SEQUENCES",
        "f" => "FUNCTIONS",
        "T" => "TYPES",
        "L" => "LARGE OBJECTS",
        _ => "SCHEMAS",
    };
    let schema = d.schema.as_ref().map(|s| format!(" IN SCHEMA {}", quote_ident(s))).unwrap_or_default();
    let prefix = format!("ALTER DEFAULT PRIVILEGES FOR ROLE {}{schema} ", quote_ident(&d.role));
    differences(&d.acl, &d.base, &d.role, &|privilege| format!("{privilege} ON {kind}"), &prefix).join("\n")
}
