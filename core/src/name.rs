//! Names of objects: quoting them for SQL, and the patterns that select tables.

use crate::error::{Error, Kind, Result};

/// A name quoted for SQL, always: `weird"name` becomes `"weird""name"`.
pub fn quote_ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `"schema"."name"`.
pub fn quote_qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", quote_ident(schema), quote_ident(name))
}

/// A string as an SQL literal, right under either setting of `standard_conforming_strings`.
pub fn quote_literal(value: &str) -> String {
    let doubled = value.replace('\'', "''");
    if doubled.contains('\\') { format!(" E'{}'", doubled.replace('\\', "\\\\")) } else { format!("'{doubled}'") }
}

/// A table by its names on the source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// Schema, unquoted.
    pub schema: String,
    /// Table, unquoted.
    pub name: String,
}

impl TableName {
    /// From unquoted names.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        TableName { schema: schema.into(), name: name.into() }
    }

    /// `"schema"."name"`.
    pub fn quoted(&self) -> String {
        quote_qualified(&self.schema, &self.name)
    }
}

impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// One entry of `include` or `exclude`: `*`, `schema.*` or `schema.table`; parts may be double-quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// `*`
    All,
    /// `schema.*`
    Schema(String),
    /// `schema.table`
    Table(TableName),
}

impl Pattern {
    /// Reads one pattern. Unquoted parts fold to lower case, as in SQL.
    ///
    /// Errors: `InvalidValue` that names the pattern and says what one looks like.
    pub fn parse(text: &str) -> Result<Pattern> {
        let invalid = || {
            Error::new(Kind::InvalidValue, format!("\"{text}\" is not a pattern of objects"))
                .hint("A pattern is *, schema.* or schema.table; a name that is not in lower case or holds special characters is double-quoted, as in \"My Schema\".\"My Table\".")
        };
        if text == "*" {
            return Ok(Pattern::All);
        }
        let (schema, rest) = name_part(text).ok_or_else(invalid)?;
        match rest.strip_prefix('.').ok_or_else(invalid)? {
            "*" => Ok(Pattern::Schema(schema)),
            rest => match name_part(rest).ok_or_else(invalid)? {
                (name, "") => Ok(Pattern::Table(TableName { schema, name })),
                _ => Err(invalid()),
            },
        }
    }

    /// Whether the pattern selects the object.
    pub fn matches(&self, schema: &str, name: &str) -> bool {
        match self {
            Pattern::All => true,
            Pattern::Schema(s) => s == schema,
            Pattern::Table(t) => t.schema == schema && t.name == name,
        }
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Pattern::All => f.write_str("*"),
            Pattern::Schema(schema) => write!(f, "{}.*", quote_ident(schema)),
            Pattern::Table(table) => f.write_str(&table.quoted()),
        }
    }
}

/// One name at the start of `text`, and what follows it.
fn name_part(text: &str) -> Option<(String, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let mut name = String::new();
        let mut chars = quoted.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            if c != '"' {
                name.push(c);
            } else if chars.next_if(|&(_, next)| next == '"').is_some() {
                name.push('"');
            } else {
                return (!name.is_empty()).then_some((name, &quoted[at + 1..]));
            }
        }
        return None;
    }
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let starts_well = name.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_');
    starts_well.then(|| (name.to_lowercase(), rest))
}

/// What a task selects: `include` less `exclude`. pgrelay's own schemas are in no selection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// At least one pattern.
    pub include: Vec<Pattern>,
    /// May be empty.
    pub exclude: Vec<Pattern>,
}

/// Schemas that belong to pgrelay or to PostgreSQL and are in no selection.
pub const OWN_SCHEMAS: [&str; 2] = ["pgrelay", "pgrelay_peer"];

impl Selection {
    /// Reads both lists.
    ///
    /// Errors: `InvalidValue` for an empty `include` or a bad pattern.
    pub fn parse(include: &[String], exclude: &[String]) -> Result<Selection> {
        if include.is_empty() {
            return Err(
                Error::new(Kind::InvalidValue, "include selects nothing").hint("Give at least one pattern, such as * for everything.")
            );
        }
        let read = |list: &[String]| list.iter().map(|p| Pattern::parse(p)).collect::<Result<Vec<_>>>();
        Ok(Selection { include: read(include)?, exclude: read(exclude)? })
    }

    /// Everything.
    pub fn all() -> Selection {
        Selection { include: vec![Pattern::All], exclude: vec![] }
    }

    /// Whether an object of a schema is selected.
    pub fn matches(&self, schema: &str, name: &str) -> bool {
        let own = OWN_SCHEMAS.contains(&schema) || schema == "information_schema" || schema.starts_with("pg_");
        !own && self.include.iter().any(|p| p.matches(schema, name)) && !self.exclude.iter().any(|p| p.matches(schema, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_read_as_sql_names() {
        assert_eq!(Pattern::parse("*").expect("valid"), Pattern::All);
        assert_eq!(Pattern::parse("Shop.*").expect("valid"), Pattern::Schema("shop".into()));
        assert_eq!(Pattern::parse("\"Shop\".\"a \"\"b\"\".c\"").expect("valid"), Pattern::Table(TableName::new("Shop", "a \"b\".c")));
        for text in ["*", "shop.*", "\"Shop\".\"a \"\"b\"\".c\""] {
            let pattern = Pattern::parse(text).expect("valid");
            assert_eq!(Pattern::parse(&pattern.to_string()).expect("as it is shown"), pattern);
        }
        for bad in ["", "shop", "shop.", ".t", "*.t", "a.b.c", "\"a", "a.\"\"", "a b.c", "1a.b", "a.b; drop table x"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn own_and_system_schemas_are_never_selected() {
        let all = Selection::all();
        assert!(all.matches("shop", "t"));
        for own in ["pgrelay", "pgrelay_peer", "pg_catalog", "pg_toast", "information_schema"] {
            assert!(!all.matches(own, "t"), "{own}");
        }
    }

    #[test]
    fn literals_survive_backslashes_and_quotes() {
        assert_eq!(quote_literal("it's"), "'it''s'");
        assert_eq!(quote_literal("a\\'b"), " E'a\\\\''b'");
    }
}
