//! How the catalogs name an object: its catalog and its OID there.

/// OIDs of the system catalogs, the same in every version (`src/include/catalog/pg_*.h`).
pub mod class {
    #![allow(missing_docs)]
    pub const RELATION: u32 = 1259;
    pub const FUNCTION: u32 = 1255;
    pub const TYPE: u32 = 1247;
    pub const DEFAULT: u32 = 2604;
    pub const CONSTRAINT: u32 = 2606;
    pub const REWRITE: u32 = 2618;
    pub const TRIGGER: u32 = 2620;
    pub const SCHEMA: u32 = 2615;
    pub const EXTENSION: u32 = 3079;
    pub const LANGUAGE: u32 = 2612;
    pub const OPERATOR: u32 = 2617;
    pub const OP_CLASS: u32 = 2616;
    pub const FAMILY: u32 = 2753;
    pub const ACCESS_METHOD: u32 = 2601;
    pub const CAST: u32 = 2605;
    pub const TRANSFORM: u32 = 3576;
    pub const COLLATION: u32 = 3456;
    pub const CONVERSION: u32 = 2607;
    pub const STATISTICS: u32 = 3381;
    pub const WRAPPER: u32 = 2328;
    pub const SERVER: u32 = 1417;
    pub const USER_MAPPING: u32 = 1418;
    pub const EVENT_TRIGGER: u32 = 3466;
    pub const POLICY: u32 = 3256;
    pub const PUBLICATION: u32 = 6104;
    pub const DEFAULT_ACL: u32 = 826;
}

/// An object of the source: the OID of its catalog, and its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// One of `class`.
    pub class: u32,
    /// Its OID in that catalog.
    pub oid: u32,
}

impl Address {
    /// From catalog and OID.
    pub fn new(class: u32, oid: u32) -> Address {
        Address { class, oid }
    }
}
