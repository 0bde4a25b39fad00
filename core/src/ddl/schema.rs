//! Schemas, extensions, languages, access methods.

use crate::{
    catalog::{AccessMethod, Address, Extension, Language, Schema, class},
    ddl::{literal, owner},
    name::quote_ident,
    plan::{
        draft::{Draft, Node, rank},
        lookup::Lookup,
    },
};

pub(crate) fn draft<'a>(lookup: &Lookup<'a>, draft: &mut Draft<'a>) {
    let catalog = lookup.catalog;
    draft.nodes.extend(catalog.schemas.iter().map(schema));
    draft.nodes.extend(catalog.extensions.iter().map(node));
    draft.nodes.extend(catalog.languages.iter().map(language));
    draft.nodes.extend(catalog.access_methods.iter().map(access_method));
}

/// `public` exists in a new database; every other schema is made.
fn schema<'a>(schema: &'a Schema) -> Node<'a> {
    let o = &schema.object;
    let name = quote_ident(&o.name);
    let exists = if o.name == "public" { "IF NOT EXISTS " } else { "" };
    let ddl = format!("CREATE SCHEMA {exists}{name};{}", owner(&format!("SCHEMA {name}"), o.owner.as_ref()));
    Node::new(Address::new(class::SCHEMA, o.oid), "schema", rank::SCHEMA, "", &o.name, ddl).role(o.owner.as_ref())
}

/// The version is the source's: another one may lack what the source's objects use.
fn node<'a>(extension: &'a Extension) -> Node<'a> {
    let o = &extension.object;
    let schema = if extension.schema_is_member { String::new() } else { format!(" SCHEMA {}", quote_ident(&o.schema)) };
    // One that is there is taken as it is: the precheck has looked at its version.
    let ddl = format!("CREATE EXTENSION IF NOT EXISTS {}{schema} VERSION {};", quote_ident(&o.name), literal(&extension.version));
    let mut node = Node::new(Address::new(class::EXTENSION, o.oid), "extension", rank::EXTENSION, "", &o.name, ddl);
    if !extension.schema_is_member {
        node.schema = o.schema.clone();
    }
    node
}

fn language<'a>(language: &'a Language) -> Node<'a> {
    let o = &language.object;
    let name = quote_ident(&o.name);
    let trusted = if language.trusted { "TRUSTED " } else { "" };
    let part = |word: &str, function: &Option<String>| function.as_ref().map(|f| format!(" {word} {f}")).unwrap_or_default();
    let ddl = format!(
        "CREATE {trusted}LANGUAGE {name}{}{}{};{}",
        part("HANDLER", &language.handler),
        part("INLINE", &language.inline),
        part("VALIDATOR", &language.validator),
        owner(&format!("LANGUAGE {name}"), o.owner.as_ref())
    );
    Node::new(Address::new(class::LANGUAGE, o.oid), "language", rank::LANGUAGE, "", &o.name, ddl).role(o.owner.as_ref())
}

fn access_method<'a>(method: &'a AccessMethod) -> Node<'a> {
    let kind = if method.kind == "t" { "TABLE" } else { "INDEX" };
    let ddl = format!("CREATE ACCESS METHOD {} TYPE {kind} HANDLER {};", quote_ident(&method.name), method.handler);
    Node::new(Address::new(class::ACCESS_METHOD, method.oid), "access method", rank::LANGUAGE, "", &method.name, ddl)
}
