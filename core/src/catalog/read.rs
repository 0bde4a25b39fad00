//! The queries, and their answers into a `Catalog`.

use serde::de::DeserializeOwned;

use super::{Catalog, Column};
use crate::error::{Error, Kind, Result};

macro_rules! queries {
    ($($name:literal),* $(,)?) => {
        /// Name and text of each query: one row, one column, a JSON array as text. All of them in one snapshot, under `SETTINGS`.
        pub const QUERIES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../../sql/query/", $name, ".sql")))),*];
    };
}

queries!(
    "schema",
    "extension",
    "language",
    "type",
    "function",
    "operator",
    "operator_family",
    "operator_class",
    "cast",
    "collation",
    "conversion",
    "access_method",
    "text_search",
    "sequence",
    "column",
    "table",
    "view",
    "constraint",
    "index",
    "trigger",
    "rule",
    "policy",
    "statistics",
    "foreign",
    "event_trigger",
    "publication",
    "default_acl",
    "acl",
    "comment",
    "security_label",
    "other",
    "dependency",
);

/// What a session must have set while it runs `QUERIES`: pg_get_*def print names and constants by it.
pub const SETTINGS: &[(&str, &str)] = &[
    ("search_path", ""),
    ("quote_all_identifiers", "off"),
    ("DateStyle", "ISO"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
];

impl Catalog {
    /// From the answers of `QUERIES`, by name. A query that was not run leaves its list empty.
    ///
    /// Errors: `Internal` for a name that is no query's or an answer that is not what the query returns.
    pub fn from_json(parts: &[(impl AsRef<str>, impl AsRef<str>)]) -> Result<Catalog> {
        let mut catalog = Catalog::default();
        for (name, json) in parts {
            catalog.add(name.as_ref(), json.as_ref())?;
        }
        Ok(catalog)
    }

    /// Takes the answer of one query: who reads them one by one needs none of them as text for long.
    ///
    /// Errors: as `from_json`.
    pub fn add(&mut self, name: &str, json: &str) -> Result<()> {
        match name {
            "schema" => fill(&mut self.schemas, name, json),
            "extension" => fill(&mut self.extensions, name, json),
            "language" => fill(&mut self.languages, name, json),
            "type" => fill(&mut self.types, name, json),
            "function" => fill(&mut self.functions, name, json),
            "operator" => fill(&mut self.operators, name, json),
            "operator_family" => fill(&mut self.families, name, json),
            "operator_class" => fill(&mut self.op_classes, name, json),
            "cast" => fill(&mut self.casts, name, json),
            "collation" => fill(&mut self.collations, name, json),
            "conversion" => fill(&mut self.conversions, name, json),
            "access_method" => fill(&mut self.access_methods, name, json),
            "text_search" => fill(&mut self.text_search, name, json),
            "sequence" => fill(&mut self.sequences, name, json),
            "column" => {
                let mut rows: Vec<(u32, Vec<Column>)> = Vec::new();
                fill(&mut rows, name, json)?;
                self.columns = rows.into_iter().collect();
                Ok(())
            }
            "table" => fill(&mut self.tables, name, json),
            "view" => fill(&mut self.views, name, json),
            "constraint" => fill(&mut self.constraints, name, json),
            "index" => fill(&mut self.indexes, name, json),
            "trigger" => fill(&mut self.triggers, name, json),
            "rule" => fill(&mut self.rules, name, json),
            "policy" => fill(&mut self.policies, name, json),
            "statistics" => fill(&mut self.statistics, name, json),
            "foreign" => fill(&mut self.foreign, name, json),
            "event_trigger" => fill(&mut self.event_triggers, name, json),
            "publication" => fill(&mut self.publications, name, json),
            "default_acl" => fill(&mut self.default_acls, name, json),
            "acl" => fill(&mut self.acls, name, json),
            "comment" => fill(&mut self.comments, name, json),
            "security_label" => fill(&mut self.labels, name, json),
            "other" => fill(&mut self.others, name, json),
            "dependency" => fill(&mut self.dependencies, name, json),
            _ => Err(Error::new(Kind::Internal, format!("\"{name}\" is not a query of the catalog"))),
        }
    }
}

fn fill<T: DeserializeOwned>(into: &mut Vec<T>, name: &str, json: &str) -> Result<()> {
    *into = serde_json::from_str(json)
        .map_err(|e| Error::new(Kind::Internal, format!("the catalog query \"{name}\" returned something else")).caused_by(e))?;
    Ok(())
}
