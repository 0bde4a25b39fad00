//! `pg_lsn` as an argument of a function.

use pgrelay_core::Lsn;
use pgrx::{
    FromDatum,
    callconv::{Arg, ArgAbi},
    pg_sys::{Datum, Oid},
};

/// `pg_lsn`: a 64-bit number, by value.
pub struct PgLsn(pub Lsn);

pgrx::impl_sql_translatable!(PgLsn, arg_only = "pg_lsn");

impl FromDatum for PgLsn {
    unsafe fn from_polymorphic_datum(datum: Datum, is_null: bool, _: Oid) -> Option<PgLsn> {
        (!is_null).then(|| PgLsn(Lsn(datum.value() as u64)))
    }
}

// SAFETY: the function's SQL names the type pg_lsn, whose Datum `from_polymorphic_datum` reads.
unsafe impl<'fcx> ArgAbi<'fcx> for PgLsn {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> PgLsn {
        unsafe { arg.unbox_arg_using_from_datum().unwrap_unchecked() }
    }
}
