//! What identifies the database a task was made in.

use pgrelay_core::{Error, Result, error::Kind};
use pgrx::pg_sys::Oid;

use super::{not_null, read};

/// Of a task's source: a clone or a restored dump differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lineage {
    /// Of the cluster.
    pub system_identifier: i64,
    /// Of the database.
    pub database: Oid,
    /// Of the cluster, one more after each promotion.
    pub timeline: i32,
}

/// Of this database, now. Run as the extension's owner.
pub fn current() -> Result<Lineage> {
    let found = read(include_str!("../../../sql/extension/lineage.sql"), &[], |r| {
        Ok(Lineage { system_identifier: not_null(r, 1)?, database: not_null(r, 2)?, timeline: not_null(r, 3)? })
    })?;
    found.first().copied().ok_or_else(|| Error::new(Kind::Internal, "this database is not in pg_database"))
}
