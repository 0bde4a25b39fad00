//! Foreign data wrappers, servers, user mappings (never with a secret), event triggers.

use crate::{
    catalog::{Address, EventTrigger, Foreign, class},
    ddl::{foreign_options, literal, owner},
    finding::{Finding, Severity},
    name::quote_ident,
    plan::{
        When,
        draft::{Draft, Node, rank},
        lookup::Lookup,
    },
};

/// Options of a user mapping that are no secret under any wrapper; what else there is may be one.
const HARMLESS: [&str; 3] = ["user", "username", "password_required"];

pub(crate) fn draft<'a>(lookup: &Lookup<'a>, draft: &mut Draft<'a>) {
    for f in &lookup.catalog.foreign {
        match f.kind.as_str() {
            "wrapper" => draft.nodes.push(wrapper(f)),
            "server" => draft.nodes.push(server(f)),
            _ => mapping(f, lookup, draft),
        }
    }
    draft.nodes.extend(lookup.catalog.event_triggers.iter().map(event_trigger));
}

fn wrapper<'a>(f: &'a Foreign) -> Node<'a> {
    let name = format!("FOREIGN DATA WRAPPER {}", quote_ident(&f.name));
    let part = |word: &str, function: &Option<String>| function.as_ref().map(|f| format!(" {word} {f}")).unwrap_or_default();
    let ddl = format!(
        "CREATE {name}{}{}{};{}",
        part("HANDLER", &f.handler),
        part("VALIDATOR", &f.validator),
        foreign_options(&f.options),
        owner(&name, f.owner.as_ref())
    );
    Node::new(Address::new(class::WRAPPER, f.oid), "foreign-data wrapper", rank::FOREIGN, "", &f.name, ddl).role(f.owner.as_ref())
}

fn server<'a>(f: &'a Foreign) -> Node<'a> {
    let name = format!("SERVER {}", quote_ident(&f.name));
    let part = |word: &str, value: &Option<String>| value.as_ref().map(|v| format!(" {word} {}", literal(v))).unwrap_or_default();
    let ddl = format!(
        "CREATE {name}{}{} FOREIGN DATA WRAPPER {}{};{}",
        part("TYPE", &f.server_type),
        part("VERSION", &f.version),
        quote_ident(f.of.as_deref().unwrap_or_default()),
        foreign_options(&f.options),
        owner(&name, f.owner.as_ref())
    );
    Node::new(Address::new(class::SERVER, f.oid), "foreign server", rank::FOREIGN, "", &f.name, ddl).role(f.owner.as_ref())
}

fn mapping<'a>(f: &'a Foreign, lookup: &Lookup<'a>, draft: &mut Draft<'a>) {
    let of = f.of.as_deref().unwrap_or_default();
    let user = if f.public { "PUBLIC".to_string() } else { quote_ident(&f.name) };
    let secret = |o: &&String| o.split_once('=').is_some_and(|(name, _)| !HARMLESS.contains(&name.to_lowercase().as_str()));
    let kept: Vec<String> = f.options.iter().filter(|o| !secret(o)).cloned().collect();
    let identity = format!("user mapping for {} on {of}", if f.public { "public" } else { &f.name });
    if kept.len() < f.options.len() {
        draft.findings.push(Finding {
            item: "user_mapping_secret",
            severity: Severity::Warning,
            object: identity.clone(),
            message: "options of this user mapping that may be secrets are not carried".to_string(),
            fix: Some("Set them on the peer with ALTER USER MAPPING.".to_string()),
        });
    }
    let ddl = format!("CREATE USER MAPPING FOR {user} SERVER {}{};", quote_ident(of), foreign_options(&kept));
    let mut node = Node::new(Address::new(class::USER_MAPPING, f.oid), "user mapping", rank::FOREIGN, "", &f.name, ddl).identity(identity);
    let on = lookup.catalog.foreign.iter().find(|s| s.kind == "server" && s.name == of);
    node.needs.extend(on.map(|s| Address::new(class::SERVER, s.oid)));
    if !f.public {
        node.roles.push(f.name.clone());
    }
    draft.nodes.push(node);
}

fn event_trigger<'a>(t: &'a EventTrigger) -> Node<'a> {
    let o = &t.object;
    let name = format!("EVENT TRIGGER {}", quote_ident(&o.name));
    let tags = t.tags.iter().map(|t| literal(t)).collect::<Vec<_>>().join(", ");
    let when = if tags.is_empty() { String::new() } else { format!(" WHEN TAG IN ({tags})") };
    let state = match t.enabled.as_str() {
        "D" => format!("\nALTER {name} DISABLE;"),
        "R" => format!("\nALTER {name} ENABLE REPLICA;"),
        "A" => format!("\nALTER {name} ENABLE ALWAYS;"),
        _ => String::new(),
    };
    let ddl = format!(
        "CREATE {name} ON {}{when} EXECUTE FUNCTION {}();{state}{}",
        quote_ident(&t.event),
        t.function,
        owner(&name, o.owner.as_ref())
    );
    // In the last transactions of all: it would fire on what pgrelay itself still does.
    let mut node = Node::new(Address::new(class::EVENT_TRIGGER, o.oid), "event trigger", rank::EVENT_TRIGGER, "", &o.name, String::new())
        .when(When::AfterAll)
        .role(o.owner.as_ref());
    node.then = Some(ddl);
    node
}
