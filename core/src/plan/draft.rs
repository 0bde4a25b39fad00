//! What `ddl` hands to the planner: nodes, one per object, before order and selection.

use crate::{
    catalog::{Address, Table, Type, View, class},
    finding::Finding,
    name::TableName,
    plan::{Lack, When},
};

/// Where a kind stands among equals: DESIGN section 5, then what only hangs on others.
pub(crate) mod rank {
    #![allow(missing_docs)]
    pub const SCHEMA: u8 = 0;
    pub const EXTENSION: u8 = 1;
    pub const LANGUAGE: u8 = 2;
    pub const FOREIGN: u8 = 3;
    pub const TABLE: u8 = 10;
    pub const VIEW: u8 = 11;
    pub const SEQUENCE: u8 = 13;
    pub const FUNCTION: u8 = 14;
    pub const TYPE: u8 = 15;
    pub const RULE: u8 = 16;
    pub const DOMAIN: u8 = 17;
    pub const OPERATOR: u8 = 18;
    pub const AGGREGATE: u8 = 19;
    pub const OTHER: u8 = 20;
    pub const PART: u8 = 30;
    pub const KEY: u8 = 40;
    pub const INDEX: u8 = 41;
    pub const ATTACH: u8 = 42;
    pub const INDEX_SETTING: u8 = 43;
    pub const CHECK: u8 = 44;
    pub const FOREIGN_KEY: u8 = 45;
    pub const TRIGGER: u8 = 46;
    pub const POLICY: u8 = 47;
    pub const PUBLICATION: u8 = 48;
    pub const GRANTS: u8 = 50;
    pub const REFRESH: u8 = 52;
    pub const EVENT_TRIGGER: u8 = 53;
}

/// How a node's DDL comes about. What can be rendered in several ways waits until cycles are known.
#[derive(Clone)]
pub(crate) enum Render<'a> {
    Text(String),
    Table(&'a Table),
    Domain(&'a Type),
    View(&'a View),
}

/// One object of the plan to be.
#[derive(Clone)]
pub(crate) struct Node<'a> {
    /// In the source's catalogs; nodes that are no object of their own have a class of zero.
    pub address: Address,
    pub kind: &'static str,
    pub schema: String,
    pub name: String,
    pub identity: String,
    pub render: Render<'a>,
    pub then: Option<String>,
    pub when: When,
    pub rank: u8,
    /// It is selected with this one, as an index with its table.
    pub follows: Option<Address>,
    /// What it needs beyond what pg_depend says.
    pub needs: Vec<Address>,
    /// Text of a function whose dependencies PostgreSQL does not know.
    pub body: Option<&'a str>,
    /// It is a function that needs a library of the peer's server: in which language.
    pub low_level: Option<&'static str>,
    /// Why it cannot be carried.
    pub lack: Option<Lack>,
    /// Roles that must exist on the peer.
    pub roles: Vec<String>,
    /// The table whose rows it waits to find: a foreign key to it, left out when it is not selected.
    pub references: Option<Address>,
    /// A word on how a cycle was broken.
    pub note: Option<String>,
}

impl<'a> Node<'a> {
    /// An object with an address, made before the data.
    pub fn new(address: Address, kind: &'static str, rank: u8, schema: &str, name: &str, ddl: String) -> Node<'a> {
        let plain = if schema.is_empty() { name.to_string() } else { format!("{schema}.{name}") };
        Node {
            address,
            kind,
            schema: schema.to_string(),
            name: name.to_string(),
            identity: format!("{kind} {plain}"),
            render: Render::Text(ddl),
            then: None,
            when: When::BeforeData,
            rank,
            follows: None,
            needs: vec![],
            body: None,
            low_level: None,
            lack: None,
            roles: vec![],
            references: None,
            note: None,
        }
    }

    /// Sets when it is carried out.
    pub fn when(mut self, when: When) -> Self {
        self.when = when;
        self
    }

    /// Names it otherwise than `kind schema.name`.
    pub fn identity(mut self, identity: String) -> Self {
        self.identity = identity;
        self
    }

    /// Ties its selection to another object, which it also needs.
    pub fn follows(mut self, address: Address) -> Self {
        self.follows = Some(address);
        self.needs.push(address);
        self
    }

    /// Adds a role it names.
    pub fn role(mut self, role: Option<&String>) -> Self {
        self.roles.extend(role.cloned());
        self
    }
}

/// A piece of an object that can also be made later, by a node of its own: a default, a CHECK, the query of a view.
pub(crate) struct Part<'a> {
    pub owner: Address,
    /// What it is when it stands alone.
    pub node: Node<'a>,
    /// It stands alone whatever the order is.
    pub forced: bool,
}

/// Everything that was found, in no order.
#[derive(Default)]
pub(crate) struct Draft<'a> {
    pub nodes: Vec<Node<'a>>,
    pub parts: Vec<Part<'a>>,
    /// Base and range types whose functions need them first as a shell.
    pub shells: Vec<(Address, Address)>,
    pub findings: Vec<Finding>,
    /// Columns that get their type when it is there, by `column_type`.
    pub late_types: Vec<Address>,
}

/// The address that stands for the type of a table's column.
pub(crate) fn column_type(table: u32, column: i32) -> Address {
    Address::new(derived_class::COLUMN_TYPE + column.unsigned_abs(), table)
}

/// An address for a node that is no object of its own: derived from one that is.
pub(crate) fn derived(kind: u32, oid: u32) -> Address {
    Address::new(kind, oid)
}

/// Classes of derived addresses: below every catalog's OID.
pub(crate) mod derived_class {
    #![allow(missing_docs)]
    pub const SHELL: u32 = 1;
    pub const OWNED_BY: u32 = 2;
    pub const INDEX_SETTING: u32 = 3;
    pub const ATTACH: u32 = 4;
    pub const ROW_SECURITY: u32 = 5;
    pub const REFRESH: u32 = 6;
    pub const TRIGGER_STATE: u32 = 7;
    pub const VALIDATION: u32 = 8;
    /// Grants on an object of class c have class GRANTS + c.
    pub const GRANTS: u32 = 100_000;
    /// The type of column n has class COLUMN_TYPE + n.
    pub const COLUMN_TYPE: u32 = 200_000;
}

/// The address of a relation.
pub(crate) fn relation(oid: u32) -> Address {
    Address::new(class::RELATION, oid)
}

/// After the rows of this table.
pub(crate) fn after_table(table: &Table) -> When {
    When::AfterTable(TableName::new(&table.object.schema, &table.object.name))
}
