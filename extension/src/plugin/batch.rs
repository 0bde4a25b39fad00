//! Many messages in one: the walsender sends each by itself, at several system calls apiece, which costs more than to decode a change.
//!
//! What is sent is a sequence of pgoutput's messages, each behind its length (four bytes, the highest first).
//! Nothing is held back when a callback ends a transaction, a block of one in progress, or anything that stands by itself: only then
//! does the walsender say how far it has come, and it must not say so of what it still holds.

use std::ffi::c_void;

use pgrx::pg_sys::{LogicalDecodingContext, LogicalOutputPluginWriterPrepareWrite, TransactionId, XLogRecPtr};

use super::server::{OfProcess, appendBinaryStringInfo};

/// Bytes from which on what is held is sent in the midst of a transaction.
const ENOUGH: usize = 16 << 10;

/// What a walsender puts before a message: `w`, where it starts in the WAL, where that ends, and the time.
const HEADER: usize = 1 + 8 + 8 + 8;

/// Where in the header the end stands.
const HEADER_END: usize = 1 + 8;

struct Batch {
    prepare: LogicalOutputPluginWriterPrepareWrite,
    write: LogicalOutputPluginWriterPrepareWrite,
    is_open: bool,
    /// Where its first message begins, and where its last whole one ends.
    first: usize,
    end: usize,
    /// Of its last message.
    at: XLogRecPtr,
    xid: TransactionId,
    /// Whether something has been written since this was last asked.
    wrote: bool,
}

const NOTHING: Batch =
    Batch { prepare: None, write: None, is_open: false, first: 0, end: 0, at: 0, xid: TransactionId::INVALID, wrote: false };

static BATCH: OfProcess<Batch> = OfProcess::new(NOTHING);

/// From now on what the plugin writes is gathered.
///
/// # Safety
///
/// `ctx` is being started up.
pub unsafe fn begin(ctx: *mut LogicalDecodingContext) {
    unsafe {
        *BATCH.get() = Batch { prepare: (*ctx).prepare_write, write: (*ctx).write, ..NOTHING };
        (*ctx).prepare_write = Some(prepare);
        (*ctx).write = Some(write);
    }
}

/// Whether something has been written since this was last asked.
pub fn take_wrote() -> bool {
    // SAFETY: for the moment only.
    unsafe { std::mem::take(&mut BATCH.get().wrote) }
}

unsafe extern "C-unwind" fn prepare(ctx: *mut LogicalDecodingContext, at: XLogRecPtr, xid: TransactionId, last: bool) {
    unsafe {
        let (batch, out) = (BATCH.get(), (*ctx).out);
        if batch.is_open {
            // Of a message that was not finished, by an error that did not end the decoding, nothing is sent.
            (*out).len = batch.end as i32;
        } else {
            if let Some(prepare) = batch.prepare {
                prepare(ctx, at, xid, last);
            }
            batch.first = (*out).len as usize;
            batch.end = batch.first;
            batch.is_open = true;
        }
        appendBinaryStringInfo(out, [0u8; 4].as_ptr().cast::<c_void>(), 4);
    }
}

unsafe extern "C-unwind" fn write(ctx: *mut LogicalDecodingContext, at: XLogRecPtr, xid: TransactionId, last: bool) {
    unsafe {
        let (batch, out) = (BATCH.get(), (*ctx).out);
        let length = (*out).len as usize - batch.end - 4;
        put(out, batch.end, &(length as u32).to_be_bytes());
        (batch.end, batch.at, batch.xid, batch.wrote) = ((*out).len as usize, at, xid, true);
        if batch.end - batch.first >= ENOUGH {
            send(ctx, last);
        }
    }
}

/// Sends what is held.
///
/// # Safety
///
/// `ctx` is the one that was given to `begin`.
pub unsafe fn send(ctx: *mut LogicalDecodingContext, last: bool) {
    unsafe {
        let (batch, out) = (BATCH.get(), (*ctx).out);
        if !std::mem::take(&mut batch.is_open) || batch.end == batch.first {
            return;
        }
        (*out).len = batch.end as i32;
        // A walsender's. What is decoded by a function has none.
        if batch.first == HEADER {
            put(out, HEADER_END, &batch.at.to_be_bytes());
        }
        if let Some(write) = batch.write {
            write(ctx, batch.at, batch.xid, last);
        }
    }
}

unsafe fn put(out: pgrx::pg_sys::StringInfo, at: usize, bytes: &[u8]) {
    // SAFETY: the message is longer than that.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), (*out).data.add(at).cast::<u8>(), bytes.len()) }
}
