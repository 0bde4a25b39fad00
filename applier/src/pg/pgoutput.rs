//! The messages of PostgreSQL's output plugin `pgoutput`, protocol versions 1 to 4 (documentation, 55.9).
//!
//! Decoding borrows: names and columns point into the payload, and a row is checked once as a whole and then walked
//! without allocating. What does not follow the format is an error of kind `Protocol`; a message never allocates more than
//! its own size. Nothing here knows about transactions that are spread over several messages.

use bytes::Bytes;
use pgrelay_core::error::Result;
use pgrelay_core::lsn::Lsn;

use super::wire::{Fields, malformed};

/// One message. Times are microseconds since 2000-01-01 00:00 UTC.
///
/// `xid` of the data messages is the (sub)transaction inside a streamed block, else `None`.
#[derive(Debug, Clone, PartialEq)]
pub enum Message<'a> {
    /// Start of a committed transaction. `final_lsn` is the position of its commit record.
    Begin { final_lsn: Lsn, commit_ts: i64, xid: u32 },
    /// End of the transaction. `end_lsn` is behind its commit record: the position to record.
    Commit { flags: u8, commit_lsn: Lsn, end_lsn: Lsn, commit_ts: i64 },
    /// The transaction comes from replication: its origin's name there.
    Origin { commit_lsn: Lsn, name: &'a str },
    /// Shape of a relation, before its first row and after each change of it.
    Relation {
        xid: Option<u32>,
        oid: u32,
        schema: &'a str,
        name: &'a str,
        replica_identity: ReplicaIdentity,
        columns: Vec<RelationColumn<'a>>,
    },
    /// Name of a type that is not built in.
    Type { xid: Option<u32>, oid: u32, schema: &'a str, name: &'a str },
    /// A new row.
    Insert { xid: Option<u32>, relation: u32, new: Tuple<'a> },
    /// A changed row. `old` is there when the key changed or the identity is FULL.
    Update { xid: Option<u32>, relation: u32, old: Option<(OldKind, Tuple<'a>)>, new: Tuple<'a> },
    /// A removed row: its key, or all of it with identity FULL.
    Delete { xid: Option<u32>, relation: u32, kind: OldKind, old: Tuple<'a> },
    /// Relations emptied in one command.
    Truncate { xid: Option<u32>, relations: Vec<u32>, cascade: bool, restart_identity: bool },
    /// What `pg_logical_emit_message` wrote.
    LogicalMessage { xid: Option<u32>, transactional: bool, lsn: Lsn, prefix: &'a str, content: &'a [u8] },
    /// Start of a block of a transaction in progress (protocol 2). The data messages up to `StreamStop` carry an xid.
    StreamStart { xid: u32, first_segment: bool },
    /// End of such a block.
    StreamStop,
    /// The streamed transaction committed.
    StreamCommit { xid: u32, flags: u8, commit_lsn: Lsn, end_lsn: Lsn, commit_ts: i64 },
    /// The streamed transaction, or its subtransaction, rolled back. `abort` (position, time) is sent with `streaming = parallel`.
    StreamAbort { xid: u32, subxid: u32, abort: Option<(Lsn, i64)> },
    /// Start of a prepared transaction (protocol 3).
    BeginPrepare { prepare_lsn: Lsn, end_lsn: Lsn, prepare_ts: i64, xid: u32, gid: &'a str },
    /// End of a prepared transaction.
    Prepare { flags: u8, prepare_lsn: Lsn, end_lsn: Lsn, prepare_ts: i64, xid: u32, gid: &'a str },
    /// COMMIT PREPARED.
    CommitPrepared { flags: u8, commit_lsn: Lsn, end_lsn: Lsn, commit_ts: i64, xid: u32, gid: &'a str },
    /// ROLLBACK PREPARED.
    RollbackPrepared { flags: u8, prepare_end_lsn: Lsn, rollback_end_lsn: Lsn, prepare_ts: i64, rollback_ts: i64, xid: u32, gid: &'a str },
    /// A streamed transaction was prepared.
    StreamPrepare { flags: u8, prepare_lsn: Lsn, end_lsn: Lsn, prepare_ts: i64, xid: u32, gid: &'a str },
}

/// Whether a message is a change: of a row, or a TRUNCATE.
pub fn is_change(payload: &[u8]) -> bool {
    matches!(payload.first(), Some(b'I' | b'U' | b'D' | b'T'))
}

/// Whether a message says that its transaction came to the server by replication, and from where.
pub fn is_origin(payload: &[u8]) -> bool {
    payload.first() == Some(&b'O')
}

/// `relreplident` of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicaIdentity {
    /// The primary key.
    Default,
    /// Nothing: only inserts can be carried.
    Nothing,
    /// The whole row.
    Full,
    /// A unique index.
    Index,
}

/// A column of a RELATION message, in the order of the tuples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelationColumn<'a> {
    /// Part of the replica identity.
    pub is_key: bool,
    /// Its name.
    pub name: &'a str,
    /// `pg_attribute.atttypid` on the sender.
    pub type_oid: u32,
    /// `pg_attribute.atttypmod`.
    pub typmod: i32,
}

/// What an old row holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldKind {
    /// The key columns; the others are sent as NULL.
    Key,
    /// Every column.
    Full,
}

/// One column of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column<'a> {
    /// NULL.
    Null,
    /// A value stored out of line that the update did not touch; it is not sent.
    UnchangedToast,
    /// The type's text form.
    Text(&'a [u8]),
    /// The type's binary form.
    Binary(&'a [u8]),
}

/// A row whose format has been checked. `Bytes::slice_ref` of the payload makes an owned column without copying.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tuple<'a> {
    count: u16,
    data: &'a [u8],
}

impl<'a> Tuple<'a> {
    /// Number of columns.
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Whether it has no column, as a row of a table without columns.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The columns in the order of the RELATION message.
    pub fn columns(&self) -> Columns<'a> {
        Columns { left: self.count, fields: Fields::new(self.data) }
    }

    /// Whether it comes without a value that the server did not send since it had not changed.
    pub fn is_partial(&self) -> bool {
        self.columns().any(|column| column == Column::UnchangedToast)
    }

    /// Size of all columns as sent, in bytes.
    pub fn size(&self) -> usize {
        self.data.len()
    }
}

impl std::fmt::Debug for Tuple<'_> {
    /// Shows no value.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tuple({} columns, {} bytes)", self.count, self.data.len())
    }
}

/// Iterator over the columns of a [`Tuple`].
#[derive(Debug, Clone)]
pub struct Columns<'a> {
    left: u16,
    fields: Fields<'a>,
}

impl<'a> Iterator for Columns<'a> {
    type Item = Column<'a>;

    fn next(&mut self) -> Option<Column<'a>> {
        self.left = self.left.checked_sub(1)?;
        // The tuple was checked when it was decoded, so this always succeeds.
        column(&mut self.fields).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::from(self.left), Some(usize::from(self.left)))
    }
}

impl ExactSizeIterator for Columns<'_> {}

/// An UPDATE message with these columns as its new row, and the rest as it is.
pub fn with_new_row(update: &[u8], new: Tuple<'_>, columns: &[Column<'_>]) -> Bytes {
    // The new row is what such a message ends with, its count of columns before it.
    let mut message = update[..update.len() - new.size() - size_of::<u16>()].to_vec();
    message.extend(new.count.to_be_bytes());
    for column in columns {
        let (kind, value) = match column {
            Column::Null => (b'n', None),
            Column::UnchangedToast => (b'u', None),
            Column::Text(text) => (b't', Some(text)),
            Column::Binary(binary) => (b'b', Some(binary)),
        };
        message.push(kind);
        if let Some(value) = value {
            message.extend((value.len() as u32).to_be_bytes());
            message.extend(*value);
        }
    }
    message.into()
}

fn column<'a>(fields: &mut Fields<'a>) -> Result<Column<'a>> {
    Ok(match fields.u8()? {
        b'n' => Column::Null,
        b'u' => Column::UnchangedToast,
        b't' => {
            let length = fields.length()?;
            Column::Text(fields.bytes(length)?)
        }
        b'b' => {
            let length = fields.length()?;
            Column::Binary(fields.bytes(length)?)
        }
        _ => return Err(malformed("a column has an unknown kind")),
    })
}

fn tuple<'a>(fields: &mut Fields<'a>) -> Result<Tuple<'a>> {
    let count = fields.u16()?;
    let start = fields.rest();
    for _ in 0..count {
        column(fields)?;
    }
    Ok(Tuple { count, data: &start[..start.len() - fields.rest().len()] })
}

fn old_kind(tag: u8) -> Option<OldKind> {
    match tag {
        b'K' => Some(OldKind::Key),
        b'O' => Some(OldKind::Full),
        _ => None,
    }
}

fn expect_new(tag: u8) -> Result<()> {
    if tag == b'N' { Ok(()) } else { Err(malformed("a row of an unknown kind")) }
}

/// Whether a message is a change of one row.
pub fn is_row(payload: &[u8]) -> bool {
    matches!(payload.first(), Some(b'I' | b'U' | b'D'))
}

/// Decodes one message. `streaming` is true between `StreamStart` and `StreamStop`, where data messages begin with an xid.
pub fn decode(payload: &Bytes, streaming: bool) -> Result<Message<'_>> {
    let mut fields = Fields::new(payload);
    let tag = fields.u8()?;
    let message = match tag {
        b'R' | b'Y' | b'I' | b'U' | b'D' | b'T' | b'M' => {
            let xid = if streaming { Some(fields.u32()?) } else { None };
            data(tag, xid, &mut fields)?
        }
        _ => boundary(tag, &mut fields)?,
    };
    fields.end()?;
    Ok(message)
}

fn data<'a>(tag: u8, xid: Option<u32>, f: &mut Fields<'a>) -> Result<Message<'a>> {
    Ok(match tag {
        b'R' => relation(xid, f)?,
        b'Y' => Message::Type { xid, oid: f.u32()?, schema: schema(f)?, name: f.text()? },
        b'I' => {
            let relation = f.u32()?;
            expect_new(f.u8()?)?;
            Message::Insert { xid, relation, new: tuple(f)? }
        }
        b'U' => {
            let relation = f.u32()?;
            let mut tag = f.u8()?;
            let mut old = None;
            if let Some(kind) = old_kind(tag) {
                old = Some((kind, tuple(f)?));
                tag = f.u8()?;
            }
            expect_new(tag)?;
            Message::Update { xid, relation, old, new: tuple(f)? }
        }
        b'D' => {
            let relation = f.u32()?;
            let kind = old_kind(f.u8()?).ok_or_else(|| malformed("a row of an unknown kind"))?;
            Message::Delete { xid, relation, kind, old: tuple(f)? }
        }
        b'T' => {
            let count = f.length()?;
            let options = f.u8()?;
            let relations = (0..count).map(|_| f.u32()).collect::<Result<_>>()?;
            Message::Truncate { xid, relations, cascade: options & 1 != 0, restart_identity: options & 2 != 0 }
        }
        _ => {
            let (flags, lsn, prefix) = (f.u8()?, f.lsn()?, f.text()?);
            let length = f.length()?;
            Message::LogicalMessage { xid, transactional: flags & 1 != 0, lsn, prefix, content: f.bytes(length)? }
        }
    })
}

/// The namespace of a relation or type; `pg_catalog` is sent as an empty string.
fn schema<'a>(f: &mut Fields<'a>) -> Result<&'a str> {
    let schema = f.text()?;
    Ok(if schema.is_empty() { "pg_catalog" } else { schema })
}

fn relation<'a>(xid: Option<u32>, f: &mut Fields<'a>) -> Result<Message<'a>> {
    let (oid, schema, name) = (f.u32()?, schema(f)?, f.text()?);
    let replica_identity = match f.u8()? {
        b'd' => ReplicaIdentity::Default,
        b'n' => ReplicaIdentity::Nothing,
        b'f' => ReplicaIdentity::Full,
        b'i' => ReplicaIdentity::Index,
        _ => return Err(malformed("a replica identity of an unknown kind")),
    };
    let count = f.u16()?;
    // A column takes ten bytes at least, so a wrong count cannot make this large.
    let mut columns = Vec::with_capacity(usize::from(count).min(f.rest().len() / 10 + 1));
    for _ in 0..count {
        columns.push(RelationColumn { is_key: f.u8()? & 1 != 0, name: f.text()?, type_oid: f.u32()?, typmod: f.i32()? });
    }
    Ok(Message::Relation { xid, oid, schema, name, replica_identity, columns })
}

fn boundary<'a>(tag: u8, f: &mut Fields<'a>) -> Result<Message<'a>> {
    Ok(match tag {
        b'B' => Message::Begin { final_lsn: f.lsn()?, commit_ts: f.i64()?, xid: f.u32()? },
        b'C' => Message::Commit { flags: f.u8()?, commit_lsn: f.lsn()?, end_lsn: f.lsn()?, commit_ts: f.i64()? },
        b'O' => Message::Origin { commit_lsn: f.lsn()?, name: f.text()? },
        b'S' => Message::StreamStart { xid: f.u32()?, first_segment: f.u8()? == 1 },
        b'E' => Message::StreamStop,
        b'c' => Message::StreamCommit { xid: f.u32()?, flags: f.u8()?, commit_lsn: f.lsn()?, end_lsn: f.lsn()?, commit_ts: f.i64()? },
        b'A' => {
            let (xid, subxid) = (f.u32()?, f.u32()?);
            let abort = if f.rest().is_empty() { None } else { Some((f.lsn()?, f.i64()?)) };
            Message::StreamAbort { xid, subxid, abort }
        }
        b'b' => Message::BeginPrepare { prepare_lsn: f.lsn()?, end_lsn: f.lsn()?, prepare_ts: f.i64()?, xid: f.u32()?, gid: f.text()? },
        b'P' | b'K' | b'p' => {
            let (flags, lsn, end_lsn, ts, xid, gid) = (f.u8()?, f.lsn()?, f.lsn()?, f.i64()?, f.u32()?, f.text()?);
            match tag {
                b'P' => Message::Prepare { flags, prepare_lsn: lsn, end_lsn, prepare_ts: ts, xid, gid },
                b'K' => Message::CommitPrepared { flags, commit_lsn: lsn, end_lsn, commit_ts: ts, xid, gid },
                _ => Message::StreamPrepare { flags, prepare_lsn: lsn, end_lsn, prepare_ts: ts, xid, gid },
            }
        }
        b'r' => Message::RollbackPrepared {
            flags: f.u8()?,
            prepare_end_lsn: f.lsn()?,
            rollback_end_lsn: f.lsn()?,
            prepare_ts: f.i64()?,
            rollback_ts: f.i64()?,
            xid: f.u32()?,
            gid: f.text()?,
        },
        _ => return Err(malformed("an unknown kind of message")),
    })
}

#[cfg(test)]
mod tests;
