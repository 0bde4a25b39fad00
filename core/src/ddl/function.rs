//! Functions, procedures, aggregates; casts and transforms.

use crate::{
    catalog::{Address, Aggregate, Cast, Function, class},
    ddl::{literal, owner},
    plan::{
        draft::{Draft, Node, rank},
        lookup::Lookup,
    },
};

pub(crate) fn draft<'a>(lookup: &Lookup<'a>, draft: &mut Draft<'a>) {
    draft.nodes.extend(lookup.catalog.functions.iter().map(function));
    draft.nodes.extend(lookup.catalog.casts.iter().map(cast));
}

fn function<'a>(f: &'a Function) -> Node<'a> {
    let o = &f.object;
    let (kind, word, position) = match f.kind.as_str() {
        "p" => ("procedure", "PROCEDURE", rank::FUNCTION),
        "a" => ("aggregate", "AGGREGATE", rank::AGGREGATE),
        _ => ("function", "FUNCTION", rank::FUNCTION),
    };
    let arguments = if f.kind == "a" && f.arguments.is_empty() { "*" } else { &f.arguments };
    let signature = format!("{}({arguments})", o.quoted());
    let definition = match (&f.definition, &f.aggregate) {
        (Some(definition), _) => format!("{};", definition.trim_end_matches('\n')),
        (None, Some(a)) => aggregate(&o.quoted(), a),
        (None, None) => String::new(),
    };
    let ddl = definition + &owner(&format!("{word} {signature}"), o.owner.as_ref());
    let mut node = Node::new(Address::new(class::FUNCTION, o.oid), kind, position, &o.schema, &o.name, ddl)
        .identity(format!("{kind} {}({})", o.plain(), f.arguments))
        .role(o.owner.as_ref());
    node.body = f.body.as_deref();
    if f.kind != "a" && (f.language == "c" || f.language == "internal") {
        node.low_level = Some(if f.language == "c" { "C" } else { "the internal language" });
    }
    node
}

fn modify(word: &str) -> &'static str {
    match word {
        "s" => "SHAREABLE",
        "w" => "READ_WRITE",
        _ => "READ_ONLY",
    }
}

fn aggregate(name: &str, a: &Aggregate) -> String {
    let mut list = vec![format!("SFUNC = {}", a.sfunc), format!("STYPE = {}", a.stype)];
    let mut push = |word: &str, value: Option<String>| list.extend(value.map(|v| format!("{word} = {v}")));
    let flag = |word: &'static str, on: bool| on.then(|| word.to_string());
    push("SSPACE", a.sspace.map(|s| s.to_string()));
    push("FINALFUNC", a.finalfunc.clone());
    let final_modify = a.finalfunc.as_ref().map(|_| modify(&a.final_modify).to_string());
    push("FINALFUNC_MODIFY", final_modify);
    push("COMBINEFUNC", a.combine.clone());
    push("SERIALFUNC", a.serial.clone());
    push("DESERIALFUNC", a.deserial.clone());
    push("INITCOND", a.initial.as_ref().map(|v| literal(v)));
    push("MSFUNC", a.msfunc.clone());
    push("MINVFUNC", a.minvfunc.clone());
    push("MSTYPE", a.mstype.clone());
    push("MSSPACE", a.msspace.map(|s| s.to_string()));
    push("MFINALFUNC", a.mfinalfunc.clone());
    push("MFINALFUNC_MODIFY", a.mfinalfunc.as_ref().map(|_| modify(&a.mfinal_modify).to_string()));
    push("MINITCOND", a.minitial.as_ref().map(|v| literal(v)));
    push("SORTOP", a.sort_operator.clone());
    let parallel = match a.parallel.as_str() {
        "s" => Some("SAFE"),
        "r" => Some("RESTRICTED"),
        _ => None,
    };
    push("PARALLEL", parallel.map(str::to_string));
    list.extend(flag("FINALFUNC_EXTRA", a.final_extra));
    list.extend(flag("MFINALFUNC_EXTRA", a.mfinal_extra));
    list.extend(flag("HYPOTHETICAL", a.kind == "h"));
    let arguments = if a.arguments.is_empty() { "*" } else { &a.arguments };
    format!("CREATE AGGREGATE {name}({arguments}) (\n    {}\n);", list.join(",\n    "))
}

fn cast<'a>(c: &'a Cast) -> Node<'a> {
    if c.transform {
        let part = |word: &str, function: &Option<String>| function.as_ref().map(|f| format!("{word} SQL WITH FUNCTION {f}"));
        let list: Vec<String> = [part("FROM", &c.from_sql), part("TO", &c.to_sql)].into_iter().flatten().collect();
        let ddl = format!("CREATE TRANSFORM {} ({});", c.name, list.join(", "));
        return Node::new(Address::new(class::TRANSFORM, c.oid), "transform", rank::OTHER, "", &c.name, ddl);
    }
    let how = match (c.method.as_deref(), &c.function) {
        (Some("f"), Some(function)) => format!("WITH FUNCTION {function}"),
        (Some("i"), _) => "WITH INOUT".to_string(),
        _ => "WITHOUT FUNCTION".to_string(),
    };
    let context = match c.context.as_deref() {
        Some("a") => " AS ASSIGNMENT",
        Some("i") => " AS IMPLICIT",
        _ => "",
    };
    let ddl = format!("CREATE CAST {} {how}{context};", c.name);
    Node::new(Address::new(class::CAST, c.oid), "cast", rank::OTHER, "", &c.name, ddl)
}
