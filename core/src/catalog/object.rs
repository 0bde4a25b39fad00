//! Objects with schema, name and owner that are no relations: types, functions, operators and their like.

use serde::Deserialize;

use crate::name::quote_qualified;

/// What most kinds have.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Object {
    /// In its catalog.
    pub oid: u32,
    /// Empty for kinds without a schema.
    #[serde(default)]
    pub schema: String,
    /// Unquoted.
    pub name: String,
    /// Role, unquoted; text search parsers and templates have none.
    #[serde(default)]
    pub owner: Option<String>,
}

impl Object {
    /// `"schema"."name"`.
    pub fn quoted(&self) -> String {
        quote_qualified(&self.schema, &self.name)
    }

    /// `schema.name` for people, or the name alone.
    pub fn plain(&self) -> String {
        if self.schema.is_empty() { self.name.clone() } else { format!("{}.{}", self.schema, self.name) }
    }
}

/// A type that stands by itself.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Type {
    pub object: Object,
    /// `enum`, `domain`, `composite`, `range`, `base`, `shell`.
    pub kind: String,
    #[serde(default)]
    pub labels: Vec<String>,
    #[serde(default)]
    pub attributes: Vec<Attribute>,
    pub domain: Option<Domain>,
    pub range: Option<Range>,
    pub base: Option<Base>,
}

/// One attribute of a composite type.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Attribute {
    pub name: String,
    #[serde(rename = "type")]
    pub type_name: String,
    pub collation: Option<String>,
}

/// What a domain adds to its base type, without its constraints.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Domain {
    pub base: String,
    pub default: Option<String>,
    pub not_null: bool,
    pub collation: Option<String>,
}

/// A range type.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Range {
    pub subtype: String,
    /// Absent when it is the subtype's default.
    pub opclass: Option<String>,
    pub collation: Option<String>,
    pub canonical: Option<String>,
    pub diff: Option<String>,
    pub multirange_schema: Option<String>,
    pub multirange: Option<String>,
}

/// A base type.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Base {
    pub input: String,
    pub output: String,
    pub receive: Option<String>,
    pub send: Option<String>,
    pub typmod_in: Option<String>,
    pub typmod_out: Option<String>,
    pub analyze: Option<String>,
    pub subscript: Option<String>,
    pub length: i32,
    pub by_value: bool,
    pub align: String,
    pub storage: String,
    pub category: String,
    pub preferred: bool,
    pub delimiter: String,
    pub element: Option<String>,
    pub collatable: bool,
    pub default: Option<String>,
    pub default_is_expression: bool,
}

/// A function, procedure, window function or aggregate.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Function {
    pub object: Object,
    /// `f`, `p`, `w`, `a` as in pg_proc.prokind.
    pub kind: String,
    pub language: String,
    /// As pg_get_function_identity_arguments prints them.
    pub arguments: String,
    /// Whole CREATE OR REPLACE; absent for aggregates.
    pub definition: Option<String>,
    /// Source text, where PostgreSQL knows no dependencies of it.
    pub body: Option<String>,
    pub aggregate: Option<Aggregate>,
}

/// What makes an aggregate.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Aggregate {
    pub arguments: String,
    /// `n`, `o`, `h` as in pg_aggregate.aggkind.
    pub kind: String,
    pub parallel: String,
    pub sfunc: String,
    pub stype: String,
    pub sspace: Option<i64>,
    pub finalfunc: Option<String>,
    pub final_extra: bool,
    pub final_modify: String,
    pub combine: Option<String>,
    pub serial: Option<String>,
    pub deserial: Option<String>,
    pub initial: Option<String>,
    pub msfunc: Option<String>,
    pub minvfunc: Option<String>,
    pub mstype: Option<String>,
    pub msspace: Option<i64>,
    pub mfinalfunc: Option<String>,
    pub mfinal_extra: bool,
    pub mfinal_modify: String,
    pub minitial: Option<String>,
    pub sort_operator: Option<String>,
}

/// An operator.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Operator {
    pub object: Object,
    pub left: Option<String>,
    pub right: Option<String>,
    /// Absent for a shell.
    pub function: Option<String>,
    pub commutator: Option<String>,
    pub negator: Option<String>,
    pub restrict: Option<String>,
    pub join: Option<String>,
    pub hashes: bool,
    pub merges: bool,
}

/// An operator family with its loose members.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Family {
    pub object: Object,
    pub method: String,
    #[serde(default)]
    pub members: Vec<String>,
}

/// An operator class.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct OpClass {
    pub object: Object,
    pub method: String,
    pub family: String,
    #[serde(rename = "type")]
    pub type_name: String,
    pub is_default: bool,
    pub storage: Option<String>,
    #[serde(default)]
    pub members: Vec<String>,
}

/// A collation.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Collation {
    pub object: Object,
    /// `c` libc, `i` icu, `b` builtin.
    pub provider: String,
    /// Good for every encoding: of libc only copies of C and POSIX are.
    pub any_encoding: bool,
    pub deterministic: bool,
    pub collate: Option<String>,
    pub ctype: Option<String>,
    pub locale: Option<String>,
    pub rules: Option<String>,
}

/// A conversion.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Conversion {
    pub object: Object,
    pub from: String,
    pub to: String,
    pub function: String,
    pub is_default: bool,
}

/// A text search parser, template, dictionary or configuration.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct TextSearch {
    pub object: Object,
    /// OID of its catalog.
    pub class: u32,
    pub kind: String,
    pub clauses: String,
    /// Of a configuration: token type, dictionaries in order.
    #[serde(default)]
    pub mappings: Vec<(String, String)>,
}

/// An extended statistics object.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Statistics {
    pub object: Object,
    pub table: u32,
    pub definition: String,
    pub target: Option<i32>,
}
