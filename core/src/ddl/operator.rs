//! Operators, operator families and classes.

use crate::{
    catalog::{Address, Family, OpClass, Operator, class},
    ddl::owner,
    name::quote_ident,
    plan::{
        draft::{Draft, Node, rank},
        lookup::Lookup,
    },
};

pub(crate) fn draft<'a>(lookup: &Lookup<'a>, draft: &mut Draft<'a>) {
    draft.nodes.extend(lookup.catalog.operators.iter().filter(|o| o.function.is_some()).map(operator));
    draft.nodes.extend(lookup.catalog.families.iter().map(family));
    draft.nodes.extend(lookup.catalog.op_classes.iter().map(op_class));
}

/// A commutator or negator that does not exist yet becomes a shell, which its own CREATE OPERATOR fills.
fn operator<'a>(o: &'a Operator) -> Node<'a> {
    let name = format!("{}.{}", quote_ident(&o.object.schema), o.object.name);
    let mut list = vec![format!("FUNCTION = {}", o.function.as_deref().unwrap_or_default())];
    let mut push = |word: &str, value: &Option<String>| list.extend(value.as_ref().map(|v| format!("{word} = {v}")));
    push("LEFTARG", &o.left);
    push("RIGHTARG", &o.right);
    push("COMMUTATOR", &o.commutator);
    push("NEGATOR", &o.negator);
    push("RESTRICT", &o.restrict);
    push("JOIN", &o.join);
    list.extend(o.hashes.then(|| "HASHES".to_string()));
    list.extend(o.merges.then(|| "MERGES".to_string()));
    let side = |t: &Option<String>| t.clone().unwrap_or_else(|| "NONE".to_string());
    let signature = format!("({}, {})", side(&o.left), side(&o.right));
    let ddl =
        format!("CREATE OPERATOR {name} ({});{}", list.join(", "), owner(&format!("OPERATOR {name} {signature}"), o.object.owner.as_ref()));
    Node::new(Address::new(class::OPERATOR, o.object.oid), "operator", rank::OPERATOR, &o.object.schema, &o.object.name, ddl)
        .identity(format!("operator {}{signature}", o.object.plain()))
        .role(o.object.owner.as_ref())
}

fn family<'a>(f: &'a Family) -> Node<'a> {
    let o = &f.object;
    let name = format!("OPERATOR FAMILY {} USING {}", o.quoted(), quote_ident(&f.method));
    let mut ddl = format!("CREATE {name};");
    if !f.members.is_empty() {
        ddl.push_str(&format!("\nALTER {name} ADD\n    {};", f.members.join(",\n    ")));
    }
    ddl.push_str(&owner(&name, o.owner.as_ref()));
    Node::new(Address::new(class::FAMILY, o.oid), "operator family", rank::OTHER, &o.schema, &o.name, ddl)
        .identity(format!("operator family {} for {}", o.plain(), f.method))
        .role(o.owner.as_ref())
}

fn op_class<'a>(c: &'a OpClass) -> Node<'a> {
    let o = &c.object;
    let name = format!("OPERATOR CLASS {} USING {}", o.quoted(), quote_ident(&c.method));
    let default = if c.is_default { "DEFAULT " } else { "" };
    let mut members = c.members.clone();
    // A class needs at least one item; the type stored is one and changes nothing where it is the type itself.
    match &c.storage {
        Some(storage) => members.push(format!("STORAGE {storage}")),
        None if members.is_empty() => members.push(format!("STORAGE {}", c.type_name)),
        None => {}
    }
    let ddl = format!(
        "CREATE OPERATOR CLASS {} {default}FOR TYPE {} USING {} FAMILY {} AS\n    {};{}",
        o.quoted(),
        c.type_name,
        quote_ident(&c.method),
        c.family,
        members.join(",\n    "),
        owner(&name, o.owner.as_ref())
    );
    Node::new(Address::new(class::OP_CLASS, o.oid), "operator class", rank::OTHER, &o.schema, &o.name, ddl)
        .identity(format!("operator class {} for {}", o.plain(), c.method))
        .role(o.owner.as_ref())
}
