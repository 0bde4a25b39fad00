//! Relations and what belongs to them.

use serde::Deserialize;

use super::Object;

/// A sequence.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Sequence {
    pub object: Object,
    #[serde(rename = "type")]
    pub type_name: String,
    pub start: i64,
    pub increment: i64,
    pub min: i64,
    pub max: i64,
    pub cache: i64,
    pub cycle: bool,
    pub persistence: String,
    /// The table and column it belongs to.
    pub table: Option<u32>,
    pub column: Option<String>,
    /// It belongs to an identity column.
    #[serde(default)]
    pub identity: bool,
}

/// A column; the keys are those of `column.sql`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Column {
    /// Name.
    #[serde(rename = "n")]
    pub name: String,
    /// Number in pg_attribute; dropped columns leave gaps.
    #[serde(rename = "k", default)]
    pub number: i32,
    /// Type with modifier.
    #[serde(rename = "t")]
    pub type_name: String,
    /// NOT NULL.
    #[serde(rename = "nn", default)]
    pub not_null: bool,
    /// Name of its NOT NULL constraint, from PostgreSQL 18 on.
    #[serde(rename = "nc")]
    pub not_null_name: Option<String>,
    /// That constraint comes from a parent alone.
    #[serde(rename = "ni", default)]
    pub not_null_inherited: bool,
    /// Default or generation expression, and its OID in pg_attrdef.
    #[serde(rename = "d")]
    pub default: Option<String>,
    /// OID of the default in pg_attrdef.
    #[serde(rename = "do")]
    pub default_oid: Option<u32>,
    /// `a` GENERATED ALWAYS, `d` BY DEFAULT AS IDENTITY.
    #[serde(rename = "id")]
    pub identity: Option<String>,
    /// `s` stored, `v` virtual.
    #[serde(rename = "g")]
    pub generated: Option<String>,
    /// When it is not the type's, qualified and quoted.
    #[serde(rename = "c")]
    pub collation: Option<String>,
    /// Not declared in this table, only inherited.
    #[serde(rename = "i", default)]
    pub only_inherited: bool,
    /// From how many parents.
    #[serde(rename = "ic", default)]
    pub inherited: i32,
    /// `p`, `e`, `m`, `x` when it is not the type's.
    #[serde(rename = "s")]
    pub storage: Option<String>,
    /// `p` pglz, `l` lz4.
    #[serde(rename = "z")]
    pub compression: Option<String>,
    /// Statistics target.
    #[serde(rename = "st")]
    pub statistics: Option<i32>,
    /// `name=value`.
    #[serde(rename = "o", default)]
    pub options: Vec<String>,
    /// `name=value` of a foreign table's column.
    #[serde(rename = "f", default)]
    pub foreign_options: Vec<String>,
}

/// A table, partitioned table, partition or foreign table.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Table {
    pub object: Object,
    /// `r`, `p`, `f` as in pg_class.relkind.
    pub kind: String,
    pub persistence: String,
    /// Access method when it is not heap.
    pub method: Option<String>,
    pub tablespace: Option<String>,
    /// Storage parameters `name=value`, those of the TOAST table as `toast.name=value`.
    #[serde(default)]
    pub options: Vec<String>,
    pub of_type: Option<String>,
    pub partition_key: Option<String>,
    /// `FOR VALUES …` or `DEFAULT` of a partition.
    pub bound: Option<String>,
    /// In order; a partition has one.
    #[serde(default)]
    pub parents: Vec<u32>,
    pub row_security: bool,
    pub force_row_security: bool,
    /// `d`, `n`, `f`, `i`.
    pub replica_identity: String,
    pub server: Option<String>,
    #[serde(default)]
    pub foreign_options: Vec<String>,
}

/// A view or materialized view.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct View {
    pub object: Object,
    pub materialized: bool,
    /// OID of the rule that holds its query.
    pub rule: u32,
    pub definition: String,
    #[serde(default)]
    pub options: Vec<String>,
    pub method: Option<String>,
    pub tablespace: Option<String>,
    pub populated: bool,
}

/// A constraint of a table or domain.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Constraint {
    pub oid: u32,
    pub name: String,
    pub table: Option<u32>,
    pub domain: Option<u32>,
    /// `c`, `f`, `p`, `u`, `x` as in pg_constraint.contype.
    #[serde(rename = "type")]
    pub kind: String,
    pub definition: String,
    pub validated: bool,
    pub local: bool,
    pub inherited: i32,
    pub no_inherit: bool,
    pub index: Option<u32>,
    /// Storage parameters of a key's index.
    #[serde(default)]
    pub options: Vec<String>,
    pub references: Option<u32>,
}

/// An index.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Index {
    pub object: Object,
    pub table: u32,
    pub definition: String,
    /// The constraint that it was made by.
    pub constraint: Option<u32>,
    /// The partitioned index that it is attached to.
    pub parent: Option<u32>,
    pub partitioned: bool,
    pub clustered: bool,
    pub replica_identity: bool,
    pub valid: bool,
    pub tablespace: Option<String>,
    /// Number of a column of the index, its statistics target.
    #[serde(default)]
    pub statistics: Vec<(i32, i32)>,
}

/// A trigger; one with a parent is a partition's copy whose enabled state is not that of a new one.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Trigger {
    pub oid: u32,
    pub name: String,
    pub table: u32,
    pub definition: String,
    /// `O`, `D`, `R`, `A`.
    pub enabled: String,
    pub parent: Option<u32>,
}

/// A rule.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Rule {
    pub oid: u32,
    pub name: String,
    pub table: u32,
    pub definition: String,
    /// `O`, `D`, `R`, `A`.
    pub enabled: String,
}

/// A row security policy.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Policy {
    pub oid: u32,
    pub name: String,
    pub table: u32,
    /// `*`, `r`, `a`, `w`, `d`.
    pub command: String,
    pub permissive: bool,
    pub public: bool,
    #[serde(default)]
    pub roles: Vec<String>,
    pub using: Option<String>,
    pub check: Option<String>,
}
