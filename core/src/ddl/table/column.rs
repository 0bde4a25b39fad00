//! Columns: their definitions, and the settings that only ALTER can make.

use crate::{
    catalog::{Address, Column, Table, class},
    ddl::{Split, foreign_options, parameters, sequence, type_::collate},
    name::quote_ident,
    plan::{draft::column_type, lookup::Lookup},
};

/// `name type …` as in CREATE TABLE and ADD COLUMN.
pub(crate) fn definition(table: &Table, c: &Column, lookup: &Lookup<'_>, split: &Split) -> String {
    format!(
        "{} {}{}{}{}",
        quote_ident(&c.name),
        type_text(table, c, split),
        foreign_options(&c.foreign_options),
        collation(table, c, split),
        constraints(table, c, lookup, split)
    )
}

/// Whether the column gets its type only later.
fn is_late(table: &Table, c: &Column, split: &Split) -> bool {
    split.contains(&column_type(table.object.oid, c.number))
}

/// The type, or what stands for it until it is there: NULL, as all of it is by then, casts from any to any.
pub(crate) fn type_text<'c>(table: &Table, c: &'c Column, split: &Split) -> &'c str {
    if is_late(table, c, split) { "text" } else { &c.type_name }
}

/// ` COLLATE x`, or nothing.
pub(crate) fn collation(table: &Table, c: &Column, split: &Split) -> String {
    if is_late(table, c, split) { String::new() } else { collate(&c.collation) }
}

/// Gives a column its type.
pub(crate) fn set_type(table: &Table, c: &Column) -> String {
    let (name, column) = (table.object.quoted(), quote_ident(&c.name));
    let word = if table.kind == "f" { "FOREIGN TABLE" } else { "TABLE" };
    let using = if table.kind == "f" { "" } else { " USING NULL" };
    format!("ALTER {word} {name} ALTER COLUMN {column} TYPE {}{}{using};", c.type_name, collate(&c.collation))
}

/// A typed table's column, where it adds something to its type.
pub(crate) fn typed(table: &Table, c: &Column, lookup: &Lookup<'_>, split: &Split) -> Option<String> {
    let added = constraints(table, c, lookup, split);
    (!added.is_empty()).then(|| format!("{} WITH OPTIONS{added}", quote_ident(&c.name)))
}

/// Default, generation, identity and NOT NULL of a column.
fn constraints(table: &Table, c: &Column, lookup: &Lookup<'_>, split: &Split) -> String {
    // INHERITS brings an inherited generation expression and refuses another one; ATTACH and ADD COLUMN want it spelled out.
    let inherits = table.bound.is_none() && c.inherited > 0 && super::inherit::is_natural(table, lookup);
    let mut text = if inherits { String::new() } else { generation(c) };
    if c.generated.is_none() {
        text = default_text(c, split).map(|d| format!(" DEFAULT {d}")).unwrap_or_default();
    }
    if let Some((identity, s)) = c.identity.as_ref().zip(lookup.identity(table.object.oid, &c.name)) {
        let how = if identity == "a" { "ALWAYS" } else { "BY DEFAULT" };
        text.push_str(&format!(" GENERATED {how} AS IDENTITY (SEQUENCE NAME {} {})", s.object.quoted(), sequence::options(s)));
    }
    if c.not_null && (table.bound.is_some() || !c.not_null_inherited) {
        let name = c.not_null_name.as_ref().map(|n| format!(" CONSTRAINT {}", quote_ident(n))).unwrap_or_default();
        text.push_str(&format!("{name} NOT NULL"));
    }
    text
}

/// ` GENERATED ALWAYS AS (…) STORED`, or nothing.
pub(crate) fn generation(c: &Column) -> String {
    match (c.generated.as_deref(), &c.default) {
        (Some("v"), Some(expression)) => format!(" GENERATED ALWAYS AS ({expression})"),
        (Some(_), Some(expression)) => format!(" GENERATED ALWAYS AS ({expression}) STORED"),
        _ => String::new(),
    }
}

/// The default that is made with the table: none that is split off.
pub(crate) fn default_text<'c>(c: &'c Column, split: &Split) -> Option<&'c String> {
    let later = c.default_oid.is_some_and(|oid| split.contains(&Address::new(class::DEFAULT, oid)));
    c.default.as_ref().filter(|_| c.generated.is_none() && !later)
}

/// Storage, compression, statistics target, options: of tables and materialized views.
pub(crate) fn settings(table: &Table, lookup: &Lookup<'_>, split: &Split) -> String {
    let typed = lookup.columns(table.object.oid).iter().filter(|c| !is_late(table, c, split));
    let mut ddl = settings_of(&table.object.quoted(), typed);
    for c in lookup.columns(table.object.oid) {
        if let Some(s) = lookup.identity(table.object.oid, &c.name).filter(|s| s.persistence != table.persistence) {
            let logged = if s.persistence == "u" { "UNLOGGED" } else { "LOGGED" };
            ddl.push_str(&format!("\nALTER SEQUENCE {} SET {logged};", s.object.quoted()));
        }
    }
    ddl
}

/// The same for any relation by its quoted name.
pub(crate) fn settings_of<'c>(relation: &str, columns: impl IntoIterator<Item = &'c Column>) -> String {
    let mut ddl = String::new();
    for c in columns {
        let mut alter =
            |what: String| ddl.push_str(&format!("\nALTER TABLE ONLY {relation} ALTER COLUMN {} {what};", quote_ident(&c.name)));
        if let Some(storage) = &c.storage {
            let word = match storage.as_str() {
                "p" => "PLAIN",
                "e" => "EXTERNAL",
                "m" => "MAIN",
                _ => "EXTENDED",
            };
            alter(format!("SET STORAGE {word}"));
        }
        if let Some(compression) = &c.compression {
            alter(format!("SET COMPRESSION {}", if compression == "l" { "lz4" } else { "pglz" }));
        }
        if let Some(target) = c.statistics {
            alter(format!("SET STATISTICS {target}"));
        }
        if !c.options.is_empty() {
            alter(format!("SET ({})", parameters(&c.options)));
        }
    }
    ddl
}
