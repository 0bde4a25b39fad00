//! Triggers, rules, policies, statistics objects: what waits until all rows are there.

use crate::{
    catalog::{Address, Policy, Rule, Statistics, Trigger, class},
    ddl::{ident_list, owner},
    name::quote_ident,
    plan::{
        When,
        draft::{Draft, Node, derived, derived_class, rank, relation},
        lookup::Lookup,
    },
};

pub(crate) fn draft<'a>(lookup: &Lookup<'a>, draft: &mut Draft<'a>) {
    draft.nodes.extend(lookup.catalog.triggers.iter().filter_map(|t| trigger(t, lookup)));
    draft.nodes.extend(lookup.catalog.rules.iter().filter_map(|r| rule(r, lookup)));
    draft.nodes.extend(lookup.catalog.policies.iter().filter_map(|p| policy(p, lookup)));
    draft.nodes.extend(lookup.catalog.statistics.iter().map(statistics));
}

/// `ALTER TABLE … DISABLE TRIGGER …` and its like; `O` is how it is made.
fn state(enabled: &str, what: &str, name: &str) -> Option<String> {
    let how = match enabled {
        "D" => "DISABLE",
        "R" => "ENABLE REPLICA",
        "A" => "ENABLE ALWAYS",
        _ => return None,
    };
    Some(format!("{how} {what} {}", quote_ident(name)))
}

fn trigger<'a>(t: &'a Trigger, lookup: &Lookup<'a>) -> Option<Node<'a>> {
    let (quoted, plain) = lookup.relation_name(t.table)?;
    let schema = plain_schema(t.table, lookup);
    let identity = format!("trigger {} on {plain}", t.name);
    if let Some(parent) = t.parent {
        let how = state(&t.enabled, "TRIGGER", &t.name)?;
        let address = derived(derived_class::TRIGGER_STATE, t.oid);
        let mut node = Node::new(address, "trigger state", rank::TRIGGER, &schema, &t.name, format!("ALTER TABLE ONLY {quoted} {how};"))
            .identity(format!("state of {identity}"))
            .when(When::AfterAll)
            .follows(relation(t.table));
        node.needs.push(Address::new(class::TRIGGER, parent));
        return Some(node);
    }
    // ONLY: each copy on a partition has a state of its own.
    let state = state(&t.enabled, "TRIGGER", &t.name).map(|s| format!("\nALTER TABLE ONLY {quoted} {s};")).unwrap_or_default();
    let ddl = format!("{};{state}", t.definition);
    Some(
        Node::new(Address::new(class::TRIGGER, t.oid), "trigger", rank::TRIGGER, &schema, &t.name, ddl)
            .identity(identity)
            .when(When::AfterAll)
            .follows(relation(t.table)),
    )
}

fn plain_schema(relation: u32, lookup: &Lookup<'_>) -> String {
    let object = lookup.table(relation).map(|t| &t.object).or_else(|| lookup.view(relation).map(|v| &v.object));
    object.map(|o| o.schema.clone()).unwrap_or_default()
}

fn rule<'a>(r: &'a Rule, lookup: &Lookup<'a>) -> Option<Node<'a>> {
    let (quoted, plain) = lookup.relation_name(r.table)?;
    let state = state(&r.enabled, "RULE", &r.name).map(|s| format!("\nALTER TABLE {quoted} {s};")).unwrap_or_default();
    let ddl = format!("{};{state}", r.definition);
    Some(
        Node::new(Address::new(class::REWRITE, r.oid), "rule", rank::RULE, &plain_schema(r.table, lookup), &r.name, ddl)
            .identity(format!("rule {} on {plain}", r.name))
            .when(When::AfterAll)
            .follows(relation(r.table)),
    )
}

fn policy<'a>(p: &'a Policy, lookup: &Lookup<'a>) -> Option<Node<'a>> {
    let (quoted, plain) = lookup.relation_name(p.table)?;
    let command = match p.command.as_str() {
        "r" => " FOR SELECT",
        "a" => " FOR INSERT",
        "w" => " FOR UPDATE",
        "d" => " FOR DELETE",
        _ => "",
    };
    let kind = if p.permissive { "" } else { " AS RESTRICTIVE" };
    let roles = if p.public || p.roles.is_empty() { "PUBLIC".to_string() } else { ident_list(&p.roles) };
    let part = |word: &str, expression: &Option<String>| expression.as_ref().map(|e| format!(" {word} ({e})")).unwrap_or_default();
    let ddl = format!(
        "CREATE POLICY {} ON {quoted}{kind}{command} TO {roles}{}{};",
        quote_ident(&p.name),
        part("USING", &p.using),
        part("WITH CHECK", &p.check)
    );
    let mut node = Node::new(Address::new(class::POLICY, p.oid), "policy", rank::POLICY, &plain_schema(p.table, lookup), &p.name, ddl)
        .identity(format!("policy {} on {plain}", p.name))
        .when(When::AfterAll)
        .follows(relation(p.table));
    node.roles = p.roles.clone();
    Some(node)
}

fn statistics<'a>(s: &'a Statistics) -> Node<'a> {
    let o = &s.object;
    let name = format!("STATISTICS {}", o.quoted());
    let target = s.target.map(|t| format!("\nALTER {name} SET STATISTICS {t};")).unwrap_or_default();
    let ddl = format!("{};{target}{}", s.definition, owner(&name, o.owner.as_ref()));
    Node::new(Address::new(class::STATISTICS, o.oid), "statistics object", rank::OTHER, &o.schema, &o.name, ddl)
        .when(When::AfterAll)
        .role(o.owner.as_ref())
        .follows(relation(s.table))
}
