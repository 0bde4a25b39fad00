//! What has no schema of its own, and what hangs on any object: privileges, comments, dependencies.

use serde::Deserialize;

use super::{Address, Object};

/// A schema.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Schema {
    pub object: Object,
}

/// An extension.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Extension {
    pub object: Object,
    pub version: String,
    /// Its schema is its own member: CREATE EXTENSION makes it.
    pub schema_is_member: bool,
    /// The members in which users keep something of theirs.
    pub config: Vec<Settings>,
}

/// A table or sequence of an extension whose contents a dump has (`pg_extension_config_dump`).
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Settings {
    pub oid: u32,
    pub schema: String,
    pub name: String,
    /// `r`, `p`, `S` as in pg_class.relkind.
    pub kind: String,
    /// `WHERE …` for the rows that are the user's; empty when all are.
    pub condition: String,
    /// The reader has the owner's rights.
    pub owned: bool,
    /// The reader may SELECT.
    pub readable: bool,
}

impl Settings {
    /// Names its contents as a part of a plan: `rows of table ext.conf`.
    pub fn identity(&self) -> String {
        let what = if self.kind == "S" { "position of sequence" } else { "rows of table" };
        format!("{what} {}.{}", self.schema, self.name)
    }
}

/// A procedural language.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Language {
    pub object: Object,
    pub trusted: bool,
    pub handler: Option<String>,
    pub inline: Option<String>,
    pub validator: Option<String>,
}

/// A cast or a transform.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Cast {
    pub oid: u32,
    pub transform: bool,
    /// `(a AS b)`, or `FOR a LANGUAGE b`.
    pub name: String,
    /// `f`, `i`, `b`.
    pub method: Option<String>,
    /// `e`, `a`, `i`.
    pub context: Option<String>,
    pub function: Option<String>,
    pub from_sql: Option<String>,
    pub to_sql: Option<String>,
}

/// An access method.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct AccessMethod {
    pub oid: u32,
    pub name: String,
    /// `t` or `i`.
    #[serde(rename = "type")]
    pub kind: String,
    pub handler: String,
}

/// A foreign data wrapper, server or user mapping.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Foreign {
    /// `wrapper`, `server`, `mapping`.
    pub kind: String,
    pub oid: u32,
    /// Of a mapping: the role.
    pub name: String,
    pub owner: Option<String>,
    pub handler: Option<String>,
    pub validator: Option<String>,
    #[serde(rename = "type")]
    pub server_type: Option<String>,
    pub version: Option<String>,
    /// The wrapper of a server, the server of a mapping.
    pub of: Option<String>,
    #[serde(default)]
    pub public: bool,
    /// `name=value`; absent where there are none or the reader may not see them.
    #[serde(default)]
    pub options: Vec<String>,
}

/// An event trigger.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct EventTrigger {
    pub object: Object,
    pub event: String,
    #[serde(default)]
    pub tags: Vec<String>,
    pub function: String,
    pub enabled: String,
}

/// A publication.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Publication {
    pub object: Object,
    pub all_tables: bool,
    pub publish: String,
    pub via_root: bool,
    pub generated: Option<String>,
    #[serde(default)]
    pub tables: Vec<PublicationTable>,
    #[serde(default)]
    pub schemas: Vec<String>,
}

/// A table of a publication.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct PublicationTable {
    pub table: u32,
    #[serde(rename = "where")]
    pub filter: Option<String>,
    pub columns: Option<Vec<String>>,
}

/// Grantor, grantee (absent: PUBLIC), privilege, with grant option.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Grant(pub String, pub Option<String>, pub String, pub bool);

/// Privileges of one object or column.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Acl {
    pub class: u32,
    pub oid: u32,
    pub sub: i32,
    pub owner: String,
    /// What follows ON in GRANT.
    pub target: String,
    pub column: Option<String>,
    pub acl: Vec<Grant>,
    /// What a new object has.
    pub base: Vec<Grant>,
}

/// One entry of ALTER DEFAULT PRIVILEGES.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct DefaultAcl {
    pub oid: u32,
    pub role: String,
    pub schema: Option<String>,
    /// `r`, `S`, `f`, `T`, `n`, `L`.
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub acl: Vec<Grant>,
    #[serde(default)]
    pub base: Vec<Grant>,
}

/// A comment: class, oid, sub, what follows COMMENT ON, text.
#[derive(Debug, Clone, Deserialize)]
pub struct Comment(pub u32, pub u32, pub i32, pub String, pub String);

/// A security label: class, oid, sub, provider, what follows ON, label.
#[derive(Debug, Clone, Deserialize)]
pub struct Label(pub u32, pub u32, pub i32, pub String, pub String, pub String);

/// Something that is not carried.
#[derive(Debug, Clone, Deserialize)]
#[allow(missing_docs)]
pub struct Other {
    pub kind: String,
    pub name: String,
    /// Roles that it needs.
    #[serde(default)]
    pub roles: Vec<String>,
}

/// A row of pg_depend: class, oid, sub, referenced class, oid, sub, type.
#[derive(Debug, Clone, Deserialize)]
pub struct Dependency(pub u32, pub u32, pub i32, pub u32, pub u32, pub i32, pub char);

impl Dependency {
    /// What depends.
    pub fn object(&self) -> Address {
        Address::new(self.0, self.1)
    }

    /// On what.
    pub fn referenced(&self) -> Address {
        Address::new(self.3, self.4)
    }
}
