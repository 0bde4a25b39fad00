//! SPI, all of it: reading and writing the tables of `sql/install/`, reading the catalogs.
//!
//! The functions of the extension run with their caller's rights, so `current_user` is whom rights are checked against, also below
//! SET ROLE and SECURITY DEFINER. Only for the tables of pgrelay they become the extension's owner, within `as_owner`.

pub mod catalog;
pub mod conflict;
pub mod lineage;
pub mod peer;
pub mod request;
pub mod selection;
pub mod task;

use pgrelay_core::{Error, Result, error::Kind};
use pgrx::{
    datum::DatumWithOid,
    pg_sys::{self, Oid},
    spi::{self, Spi, SpiHeapTupleData},
};

/// A row of a result; columns count from 1.
pub type Row<'a> = SpiHeapTupleData<'a>;

/// Runs a query under a snapshot taken now, not under the calling statement's; makes no transaction id.
pub fn read<T>(sql: &str, args: &[DatumWithOid], row: impl Fn(&Row) -> spi::Result<T>) -> Result<Vec<T>> {
    let _snapshot = FreshSnapshot::push();
    Spi::connect(|client| client.select(sql, None, args)?.map(|r| row(&r)).collect::<spi::Result<Vec<T>>>()).map_err(failed)
}

/// Runs a statement that writes or locks.
pub fn write<T>(sql: &str, args: &[DatumWithOid], row: impl Fn(&Row) -> spi::Result<T>) -> Result<Vec<T>> {
    Spi::connect_mut(|client| client.update(sql, None, args)?.map(|r| row(&r)).collect::<spi::Result<Vec<T>>>()).map_err(failed)
}

/// Runs a statement that writes and returns nothing.
pub fn execute(sql: &str, args: &[DatumWithOid]) -> Result<()> {
    Spi::connect_mut(|client| client.update(sql, None, args).map(|_| ())).map_err(failed)
}

/// A column that is never NULL by its definition.
pub fn not_null<T: pgrx::IntoDatum + pgrx::FromDatum>(row: &Row, ordinal: usize) -> spi::Result<T> {
    row.get(ordinal)?.ok_or(spi::Error::InvalidPosition)
}

fn failed(error: spi::Error) -> Error {
    Error::new(Kind::Internal, "a statement of pgrelay failed").caused_by(error)
}

/// The role that owns the extension and its tables.
pub fn owner() -> Result<Oid> {
    let sql = "SELECT extowner FROM pg_catalog.pg_extension WHERE extname = 'pgrelay'";
    let found = read(sql, &[], |r| not_null::<Oid>(r, 1))?;
    found.first().copied().ok_or_else(|| Error::new(Kind::UndefinedObject, "extension \"pgrelay\" is not created in this database"))
}

/// Whom rights are checked against.
pub fn current_user() -> Result<String> {
    one_text("SELECT current_user::pg_catalog.text")
}

/// The database's name.
pub fn database_name() -> Result<String> {
    one_text("SELECT pg_catalog.current_database()::pg_catalog.text")
}

fn one_text(sql: &str) -> Result<String> {
    let found = read(sql, &[], |r| not_null::<String>(r, 1))?;
    found.into_iter().next().ok_or_else(|| Error::new(Kind::Internal, "a query of pgrelay returned no row"))
}

/// Does something with the rights of the extension's owner.
pub fn as_owner<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    as_role(owner()?, work)
}

/// Does something with the rights of a role.
pub fn as_role<T>(role: Oid, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let _back = Identity::become_role(role);
    work()
}

/// The user and security context to go back to. After an error PostgreSQL restores them too, with the (sub)transaction.
struct Identity {
    user: Oid,
    context: i32,
}

impl Identity {
    fn become_role(role: Oid) -> Identity {
        let mut before = Identity { user: Oid::INVALID, context: 0 };
        // SAFETY: plain reads and writes of the backend's own state, as in ri_triggers.c.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&mut before.user, &mut before.context);
            pg_sys::SetUserIdAndSecContext(role, before.context | pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32);
        }
        before
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        // SAFETY: see `become_role`.
        unsafe { pg_sys::SetUserIdAndSecContext(self.user, self.context) }
    }
}

/// An active snapshot taken now. What SPI reads in a transaction that has not written would else be the calling statement's.
struct FreshSnapshot;

impl FreshSnapshot {
    fn push() -> FreshSnapshot {
        // SAFETY: within a transaction; popped by `drop`, or with the (sub)transaction after an error.
        unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot()) }
        FreshSnapshot
    }
}

impl Drop for FreshSnapshot {
    fn drop(&mut self) {
        // After an error other snapshots may lie above ours; the end of the (sub)transaction takes all of them.
        if !std::thread::panicking() {
            // SAFETY: ours is on top again, SPI has popped its own.
            unsafe { pg_sys::PopActiveSnapshot() }
        }
    }
}
