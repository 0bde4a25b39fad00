//! The catalog of a source as plain data: what `sql/query/*.sql` read, each kind of object once.
//!
//! The same texts run by the extension through SPI and by the applier over a connection; `Catalog::from_json` takes either's
//! answers. Nothing here decides anything: `order` and `ddl` do.
//!
//! **Invariant**: system objects, members of extensions, temporary objects and pgrelay's own are absent.

mod address;
mod object;
mod read;
mod relation;
mod schema_less;

pub use address::{Address, class};
pub use object::{
    Aggregate, Attribute, Base, Collation, Conversion, Domain, Family, Function, Object, OpClass, Operator, Range, Statistics, TextSearch,
    Type,
};
pub use read::{QUERIES, SETTINGS};
pub use relation::{Column, Constraint, Index, Policy, Rule, Sequence, Table, Trigger, View};
pub use schema_less::{
    AccessMethod, Acl, Cast, Comment, DefaultAcl, Dependency, EventTrigger, Extension, Foreign, Grant, Label, Language, Other, Publication,
    PublicationTable, Schema, Settings,
};

/// Everything that the queries of `QUERIES` found, each list in the order of schema and name.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// Schemas, `public` among them.
    pub schemas: Vec<Schema>,
    /// Extensions.
    pub extensions: Vec<Extension>,
    /// Languages outside extensions.
    pub languages: Vec<Language>,
    /// Enums, domains, composites, ranges, base types, shells.
    pub types: Vec<Type>,
    /// Functions, procedures, aggregates.
    pub functions: Vec<Function>,
    /// Operators.
    pub operators: Vec<Operator>,
    /// Operator families.
    pub families: Vec<Family>,
    /// Operator classes.
    pub op_classes: Vec<OpClass>,
    /// Casts and transforms.
    pub casts: Vec<Cast>,
    /// Collations.
    pub collations: Vec<Collation>,
    /// Conversions.
    pub conversions: Vec<Conversion>,
    /// Access methods.
    pub access_methods: Vec<AccessMethod>,
    /// Text search objects of all four kinds.
    pub text_search: Vec<TextSearch>,
    /// Sequences, those of identity columns too.
    pub sequences: Vec<Sequence>,
    /// Columns by the oid of their relation, in physical order.
    pub columns: std::collections::HashMap<u32, Vec<Column>>,
    /// Tables of every kind.
    pub tables: Vec<Table>,
    /// Views and materialized views.
    pub views: Vec<View>,
    /// Constraints of tables and domains.
    pub constraints: Vec<Constraint>,
    /// Indexes, those of constraints too.
    pub indexes: Vec<Index>,
    /// Triggers.
    pub triggers: Vec<Trigger>,
    /// Rules, without the queries of views.
    pub rules: Vec<Rule>,
    /// Policies.
    pub policies: Vec<Policy>,
    /// Statistics objects.
    pub statistics: Vec<Statistics>,
    /// Foreign data wrappers, servers, user mappings.
    pub foreign: Vec<Foreign>,
    /// Event triggers.
    pub event_triggers: Vec<EventTrigger>,
    /// Publications.
    pub publications: Vec<Publication>,
    /// Default privileges.
    pub default_acls: Vec<DefaultAcl>,
    /// Privileges that are not a new object's.
    pub acls: Vec<Acl>,
    /// Comments.
    pub comments: Vec<Comment>,
    /// Security labels.
    pub labels: Vec<Label>,
    /// What is not carried at all.
    pub others: Vec<Other>,
    /// The edges of pg_depend.
    pub dependencies: Vec<Dependency>,
}
