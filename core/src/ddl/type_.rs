//! Types: enum, domain, composite, range, base, shell; collations and conversions.

use crate::{
    catalog::{Address, Base, Collation, Conversion, Range, Type, class},
    ddl::{Split, literal, owner},
    name::{quote_ident, quote_qualified},
    plan::{
        When,
        draft::{Draft, Node, Part, Render, derived, derived_class, rank},
        lookup::Lookup,
    },
};

pub(crate) fn draft<'a>(lookup: &Lookup<'a>, draft: &mut Draft<'a>) {
    for t in &lookup.catalog.types {
        let shell = draft_shell(t, draft);
        draft.nodes.push(node(t, shell));
        if t.kind == "domain" {
            domain_parts(t, lookup, draft);
        }
    }
    draft.nodes.extend(lookup.catalog.collations.iter().map(collation));
    draft.nodes.extend(lookup.catalog.conversions.iter().map(conversion));
}

fn address(t: &Type) -> Address {
    Address::new(class::TYPE, t.object.oid)
}

/// A base type, and a range with a canonical function, exist as a shell before their functions; returns the shell's address.
fn draft_shell<'a>(t: &'a Type, draft: &mut Draft<'a>) -> Option<Address> {
    if t.base.is_none() && t.range.as_ref().is_none_or(|r| r.canonical.is_none()) {
        return None;
    }
    let shell = derived(derived_class::SHELL, t.object.oid);
    let mut node =
        Node::new(shell, "shell type", rank::TYPE, &t.object.schema, &t.object.name, format!("CREATE TYPE {};", t.object.quoted()));
    node.follows = Some(address(t));
    node.note = Some("made as a shell first, since the type and its functions need each other".to_string());
    draft.nodes.push(node);
    draft.shells.push((address(t), shell));
    Some(shell)
}

fn node<'a>(t: &'a Type, shell: Option<Address>) -> Node<'a> {
    let o = &t.object;
    let (kind, position) = if t.kind == "domain" { ("domain", rank::DOMAIN) } else { ("type", rank::TYPE) };
    let mut node = Node::new(address(t), kind, position, &o.schema, &o.name, text(t)).role(o.owner.as_ref());
    node.needs.extend(shell);
    if t.kind == "domain" {
        node.render = Render::Domain(t);
    }
    node
}

fn text(t: &Type) -> String {
    let name = t.object.quoted();
    let definition = match t.kind.as_str() {
        "enum" => format!("CREATE TYPE {name} AS ENUM ({});", t.labels.iter().map(|l| literal(l)).collect::<Vec<_>>().join(", ")),
        "composite" => {
            let attribute = |a: &crate::catalog::Attribute| format!("{} {}{}", quote_ident(&a.name), a.type_name, collate(&a.collation));
            format!("CREATE TYPE {name} AS ({});", t.attributes.iter().map(attribute).collect::<Vec<_>>().join(", "))
        }
        "range" => t.range.as_ref().map(|r| range(&name, r)).unwrap_or_default(),
        "base" => t.base.as_ref().map(|b| base(&name, b)).unwrap_or_default(),
        _ => format!("CREATE TYPE {name};"),
    };
    if t.kind == "shell" { definition } else { definition + &owner(&format!("TYPE {name}"), t.object.owner.as_ref()) }
}

/// ` COLLATE x`, or nothing.
pub(crate) fn collate(collation: &Option<String>) -> String {
    collation.as_ref().map(|c| format!(" COLLATE {c}")).unwrap_or_default()
}

fn clauses(list: &[(&str, Option<String>)]) -> String {
    let one = |(word, value): &(&str, Option<String>)| value.as_ref().map(|v| format!("    {word} = {v}"));
    list.iter().filter_map(one).collect::<Vec<_>>().join(",\n")
}

fn range(name: &str, r: &Range) -> String {
    let multirange = r.multirange.as_ref().zip(r.multirange_schema.as_ref()).map(|(m, s)| quote_qualified(s, m));
    let list = clauses(&[
        ("SUBTYPE", Some(r.subtype.clone())),
        ("MULTIRANGE_TYPE_NAME", multirange),
        ("SUBTYPE_OPCLASS", r.opclass.clone()),
        ("COLLATION", r.collation.clone()),
        ("CANONICAL", r.canonical.clone()),
        ("SUBTYPE_DIFF", r.diff.clone()),
    ]);
    format!("CREATE TYPE {name} AS RANGE (\n{list}\n);")
}

fn base(name: &str, b: &Base) -> String {
    let align = match b.align.as_str() {
        "c" => "char",
        "s" => "int2",
        "i" => "int4",
        _ => "double",
    };
    let storage = match b.storage.as_str() {
        "p" => "plain",
        "e" => "external",
        "x" => "extended",
        _ => "main",
    };
    let default = b.default.as_ref().map(|d| if b.default_is_expression { d.clone() } else { literal(d) });
    let mut list = clauses(&[
        ("INPUT", Some(b.input.clone())),
        ("OUTPUT", Some(b.output.clone())),
        ("RECEIVE", b.receive.clone()),
        ("SEND", b.send.clone()),
        ("TYPMOD_IN", b.typmod_in.clone()),
        ("TYPMOD_OUT", b.typmod_out.clone()),
        ("ANALYZE", b.analyze.clone()),
        ("SUBSCRIPT", b.subscript.clone()),
        ("INTERNALLENGTH", Some(if b.length < 0 { "VARIABLE".to_string() } else { b.length.to_string() })),
        ("ALIGNMENT", Some(align.to_string())),
        ("STORAGE", Some(storage.to_string())),
        ("CATEGORY", Some(literal(&b.category))),
        ("PREFERRED", Some(b.preferred.to_string())),
        ("DELIMITER", Some(literal(&b.delimiter))),
        ("ELEMENT", b.element.clone()),
        ("COLLATABLE", Some(b.collatable.to_string())),
        ("DEFAULT", default),
    ]);
    if b.by_value {
        list.push_str(",\n    PASSEDBYVALUE");
    }
    format!("CREATE TYPE {name} (\n{list}\n);")
}

/// A domain with those of its constraints that need not wait.
pub(crate) fn domain(t: &Type, lookup: &Lookup<'_>, split: &Split) -> String {
    let Some(d) = &t.domain else { return String::new() };
    let name = t.object.quoted();
    let mut ddl = format!("CREATE DOMAIN {name} AS {}{}", d.base, collate(&d.collation));
    if let Some(default) = &d.default {
        ddl.push_str(&format!(" DEFAULT {default}"));
    }
    if d.not_null {
        ddl.push_str(" NOT NULL");
    }
    for check in lookup.domain_checks(t.object.oid).iter().filter(|k| !split.contains(&Address::new(class::CONSTRAINT, k.oid))) {
        ddl.push_str(&format!("\n    CONSTRAINT {} {}", quote_ident(&check.name), check.definition));
    }
    ddl + ";" + &owner(&format!("DOMAIN {name}"), t.object.owner.as_ref())
}

/// Each CHECK can be added later; one that is not valid must be, since the rows may break it.
fn domain_parts<'a>(t: &'a Type, lookup: &Lookup<'a>, draft: &mut Draft<'a>) {
    let o = &t.object;
    for check in lookup.domain_checks(o.oid) {
        let ddl = format!("ALTER DOMAIN {} ADD CONSTRAINT {} {};", o.quoted(), quote_ident(&check.name), check.definition);
        let when = if check.validated { When::BeforeData } else { When::AfterAll };
        // Without a CHECK a cast to the domain is another expression to who compares indexes (`eval_const_expressions` in clauses.c),
        // and a session goes on to know it so: one that comes late comes after indexes and their attaching.
        let position = if check.validated { rank::PART } else { rank::FOREIGN_KEY };
        let node = Node::new(Address::new(class::CONSTRAINT, check.oid), "check constraint", position, &o.schema, &check.name, ddl)
            .identity(format!("constraint {} on domain {}", check.name, o.plain()))
            .when(when)
            .follows(address(t));
        draft.parts.push(Part { owner: address(t), node, forced: !check.validated });
    }
}

fn collation<'a>(c: &'a Collation) -> Node<'a> {
    let o = &c.object;
    let name = o.quoted();
    let provider = match c.provider.as_str() {
        "i" => "icu",
        "b" => "builtin",
        _ => "libc",
    };
    let mut list = vec![format!("PROVIDER = {provider}")];
    if !c.deterministic {
        list.push("DETERMINISTIC = false".to_string());
    }
    match (&c.locale, &c.collate, &c.ctype) {
        (Some(locale), ..) => list.push(format!("LOCALE = {}", literal(locale))),
        (None, Some(collate), Some(ctype)) if collate == ctype => list.push(format!("LOCALE = {}", literal(collate))),
        (None, collate, ctype) => {
            list.extend(collate.as_ref().map(|c| format!("LC_COLLATE = {}", literal(c))));
            list.extend(ctype.as_ref().map(|c| format!("LC_CTYPE = {}", literal(c))));
        }
    }
    list.extend(c.rules.as_ref().map(|r| format!("RULES = {}", literal(r))));
    let definition = match &c.collate {
        Some(locale) if c.provider == "c" && c.any_encoding => format!("FROM pg_catalog.{}", quote_ident(locale)),
        _ => format!("({})", list.join(", ")),
    };
    let ddl = format!("CREATE COLLATION {name} {definition};{}", owner(&format!("COLLATION {name}"), o.owner.as_ref()));
    Node::new(Address::new(class::COLLATION, o.oid), "collation", rank::OTHER, &o.schema, &o.name, ddl).role(o.owner.as_ref())
}

fn conversion<'a>(c: &'a Conversion) -> Node<'a> {
    let o = &c.object;
    let name = o.quoted();
    let default = if c.is_default { "DEFAULT " } else { "" };
    let ddl = format!(
        "CREATE {default}CONVERSION {name} FOR {} TO {} FROM {};{}",
        literal(&c.from),
        literal(&c.to),
        c.function,
        owner(&format!("CONVERSION {name}"), o.owner.as_ref())
    );
    Node::new(Address::new(class::CONVERSION, o.oid), "conversion", rank::OTHER, &o.schema, &o.name, ddl).role(o.owner.as_ref())
}
