//! What goes over the wire as a parameter.

use bytes::{BufMut, Bytes, BytesMut};
use pgrelay_core::Lsn;
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};

/// A parameter as it goes over the wire.
#[derive(Debug, Clone)]
pub enum Value {
    /// The type's text form, NULL when none; what the stream brought, not copied.
    Text(Option<Bytes>),
    /// `pg_lsn`.
    Lsn(Lsn),
    /// `timestamptz`, microseconds since 2000.
    Time(i64),
    /// `bigint`.
    Int(i64),
}

impl Value {
    /// Bytes of a value that the stream brought.
    pub(super) fn size(&self) -> usize {
        match self {
            Value::Text(Some(text)) => text.len(),
            _ => 0,
        }
    }
}

impl ToSql for Value {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> std::result::Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Value::Text(None) => return Ok(IsNull::Yes),
            Value::Text(Some(text)) => out.extend_from_slice(text),
            Value::Lsn(lsn) => out.put_u64(lsn.0),
            Value::Time(number) | Value::Int(number) => out.put_i64(*number),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        match self {
            Value::Text(_) => Format::Text,
            Value::Lsn(_) | Value::Time(_) | Value::Int(_) => Format::Binary,
        }
    }

    to_sql_checked!();
}
