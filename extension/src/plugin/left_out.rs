//! What the opposite direction of a two-way task has written is not sent back, but for what tells its applier something: which rows it
//! has deleted, what its conflicts removed, and how far it had come (docs/decisions/0026-an-output-plugin-of-its-own.md).
//!
//! A record that nobody needs is dropped before it is kept for its transaction. Only the WAL is known there, so what belongs together
//! stays together: the pieces of a long value and the row behind them, a speculative insertion and its confirmation. Those rows are
//! dropped when they are to be sent.

use std::{
    ffi::{CStr, c_char},
    ptr::null_mut,
};

use pgrelay_core::task::names::is_origin_of;
use pgrx::{
    PgSqlErrorCode,
    pg_sys::{
        self, LogicalDecodingContext, ReorderBufferChange, ReorderBufferChangeType::*, ReorderBufferTXN, RepOriginId, RmgrIds,
        TransactionId, XLogRecPtr,
    },
};

use super::{server, server::OfProcess};

/// The plugin's option.
const OPTION: &CStr = c"left_out";

/// Of `xl_info` in `access/heapam_xlog.h`, the same from PostgreSQL 15 to 18.
const OPMASK: u8 = 0x70;
const INSERT: u8 = 0x00;
const UPDATE: u8 = 0x20;
const HOT_UPDATE: u8 = 0x40;
const MULTI_INSERT: u8 = 0x50;

/// `flags` of `xl_heap_insert` and `xl_heap_multi_insert`.
const LAST_IN_MULTI: u8 = 1 << 1;
const IS_SPECULATIVE: u8 = 1 << 2;
const ON_TOAST: u8 = 1 << 4;
/// And where they stand: behind an `OffsetNumber`, and first.
const INSERT_FLAGS: usize = 2;
const MULTI_INSERT_FLAGS: usize = 0;

/// `flags` of `xl_heap_update`, behind the old `xmax`, an `OffsetNumber` and a byte.
const CONTAINS_OLD: u8 = 1 << 2 | 1 << 3;
const UPDATE_FLAGS: usize = 4 + 2 + 1;

/// So many changes in a row may be dropped before the server is told that there is progress.
const SILENT: u32 = 100;

/// Transactions of one origin follow each other, so a few are under way at most.
const UNDER_WAY: usize = 64;

/// Ids that are remembered.
const KNOWN: usize = 64;

struct LeftOut {
    /// The name of the opposite direction's origin, with which those of its copies begin. Null: nothing is left out.
    of: *mut c_char,
    /// Ids that are known, and whether they are of it.
    known: [(RepOriginId, bool); KNOWN],
    known_count: usize,
    /// Transactions of which pieces of a long value have come, but not yet the row.
    in_pieces: [TransactionId; UNDER_WAY],
    in_pieces_count: usize,
    has_lost_pieces: bool,
    dropped: u32,
}

const NOTHING: LeftOut = LeftOut {
    of: null_mut(),
    known: [(0, false); KNOWN],
    known_count: 0,
    in_pieces: [TransactionId::INVALID; UNDER_WAY],
    in_pieces_count: 0,
    has_lost_pieces: false,
    dropped: 0,
};

static LEFT_OUT: OfProcess<LeftOut> = OfProcess::new(NOTHING);

/// What is said of an origin that has changed hands.
const CHANGED: &CStr = c"a replication origin that pgrelay left out has become another";

/// Takes the option out of those of the plugin, and begins anew.
///
/// # Safety
///
/// `ctx` is being started up.
pub unsafe fn begin(ctx: *mut LogicalDecodingContext) {
    unsafe {
        *LEFT_OUT.get() = NOTHING;
        let options = (*ctx).output_plugin_options;
        if options.is_null() {
            return;
        }
        for n in 0..(*options).length {
            let def: *mut pg_sys::DefElem = (*(*options).elements.add(n as usize)).ptr_value.cast();
            if CStr::from_ptr((*def).defname) == OPTION {
                LEFT_OUT.get().of = server::MemoryContextStrdup((*ctx).context, server::defGetString(def));
                (*ctx).output_plugin_options = server::list_delete_nth_cell(options, n);
                return;
            }
        }
    }
}

/// Whether the record that is being decoded is of no use.
///
/// # Safety
///
/// Called where a record is decoded, with its origin.
pub unsafe fn is_useless(ctx: *mut LogicalDecodingContext, origin: RepOriginId) -> bool {
    unsafe {
        if LEFT_OUT.get().of.is_null() || origin == 0 {
            return false;
        }
        let record = (*(*ctx).reader).record;
        let (xid, operation) = ((*record).header.xl_xid, (*record).header.xl_info & OPMASK);
        let flags = |at: usize| *(*record).main_data.cast::<u8>().add(at);
        // Pieces are noted of all: whose they are may become known before their row comes.
        let (has_pieces, is_needed) = match u32::from((*record).header.xl_rmid) {
            RmgrIds::RM_HEAP_ID if operation == INSERT => {
                let flags = flags(INSERT_FLAGS);
                if flags & ON_TOAST != 0 {
                    in_pieces(xid);
                    return false;
                }
                (end_of_pieces(xid), flags & IS_SPECULATIVE != 0)
            }
            RmgrIds::RM_HEAP_ID if operation == UPDATE || operation == HOT_UPDATE => {
                (end_of_pieces(xid), flags(UPDATE_FLAGS) & CONTAINS_OLD != 0)
            }
            RmgrIds::RM_HEAP2_ID if operation == MULTI_INSERT => {
                // The pieces of all rows come before the first record.
                let is_last = flags(MULTI_INSERT_FLAGS) & LAST_IN_MULTI != 0;
                (if is_last { end_of_pieces(xid) } else { is_in_pieces(xid) }, false)
            }
            _ => return false,
        };
        !has_pieces && !is_needed && !LEFT_OUT.get().has_lost_pieces && is_left_out(origin)
    }
}

/// Whether a change that is to be sent is of no use.
///
/// # Safety
///
/// Called where a change is sent.
pub unsafe fn is_useless_change(ctx: *mut LogicalDecodingContext, change: *mut ReorderBufferChange) -> bool {
    unsafe {
        if !is_left_out((*change).origin_id) {
            return false;
        }
        let is_useless = match (*change).action {
            REORDER_BUFFER_CHANGE_INSERT => true,
            REORDER_BUFFER_CHANGE_UPDATE => (*change).data.tp.oldtuple.is_null(),
            _ => false,
        };
        if is_useless {
            let left_out = LEFT_OUT.get();
            left_out.dropped += 1;
            if left_out.dropped >= SILENT {
                left_out.dropped = 0;
                server::OutputPluginUpdateProgress(ctx, false);
            }
        }
        is_useless
    }
}

/// Before the end of a transaction is sent: those that were left out are still of whom they were taken for. An error otherwise, after
/// which everything is read again.
///
/// # Safety
///
/// Called where a transaction is sent.
pub unsafe fn test(txn: *mut ReorderBufferTXN) {
    unsafe {
        if !is_left_out((*txn).origin_id) {
            return;
        }
        let mut name = null_mut();
        if !server::replorigin_by_oid((*txn).origin_id, true, &mut name) || !is_of(name) {
            server::errstart(pg_sys::PGERROR as i32, null_mut());
            // Whoever reads tries again.
            server::errcode(PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE as i32);
            server::errmsg_internal(CHANGED.as_ptr());
            server::errfinish(null_mut(), 0, null_mut());
        }
    }
}

/// A transaction that was left out as a whole: where the other direction stood is told all the same.
///
/// # Safety
///
/// Called before pgoutput's own end of a transaction of which it has sent nothing.
pub unsafe fn tell(ctx: *mut LogicalDecodingContext, txn: *mut ReorderBufferTXN, commit: XLogRecPtr) {
    unsafe {
        let mut name = null_mut();
        if !is_left_out((*txn).origin_id) || !server::replorigin_by_oid((*txn).origin_id, true, &mut name) {
            return;
        }
        server::OutputPluginPrepareWrite(ctx, false);
        server::logicalrep_write_begin((*ctx).out, txn);
        server::OutputPluginWrite(ctx, false);
        server::OutputPluginPrepareWrite(ctx, false);
        server::logicalrep_write_origin((*ctx).out, name, (*txn).origin_lsn);
        server::OutputPluginWrite(ctx, false);
        server::OutputPluginPrepareWrite(ctx, true);
        server::logicalrep_write_commit((*ctx).out, txn, commit);
        server::OutputPluginWrite(ctx, true);
    }
}

/// Notes whose origin it is that a transaction has, which is about to be sent. Names are looked up as they were then: an id may be given
/// anew. So the first transaction of an origin is dropped when it is to be sent, and those that follow where they are decoded.
///
/// # Safety
///
/// Called where a transaction is sent.
pub unsafe fn learn(txn: *mut ReorderBufferTXN) {
    unsafe {
        let (left_out, origin) = (LEFT_OUT.get(), (*txn).origin_id);
        // No origin, and what is not to be replicated at all.
        if left_out.of.is_null() || origin == 0 || origin == RepOriginId::MAX {
            return;
        }
        let known = &left_out.known[..left_out.known_count];
        if known.iter().any(|(known, _)| *known == origin) || left_out.known_count == KNOWN {
            return;
        }
        let mut name = null_mut();
        if server::replorigin_by_oid(origin, true, &mut name) {
            left_out.known[left_out.known_count] = (origin, is_of(name));
            left_out.known_count += 1;
        }
    }
}

unsafe fn is_left_out(origin: RepOriginId) -> bool {
    unsafe {
        let left_out = LEFT_OUT.get();
        left_out.known[..left_out.known_count].iter().any(|(known, is_of)| *known == origin && *is_of)
    }
}

unsafe fn is_of(name: *const c_char) -> bool {
    let (name, of) = unsafe { (CStr::from_ptr(name), CStr::from_ptr(LEFT_OUT.get().of)) };
    name.to_str().is_ok_and(|name| of.to_str().is_ok_and(|of| is_origin_of(name, of)))
}

unsafe fn is_in_pieces(xid: TransactionId) -> bool {
    unsafe {
        let left_out = LEFT_OUT.get();
        left_out.in_pieces[..left_out.in_pieces_count].contains(&xid)
    }
}

unsafe fn in_pieces(xid: TransactionId) {
    unsafe {
        if is_in_pieces(xid) {
            return;
        }
        let left_out = LEFT_OUT.get();
        // Those that ended by an error have left theirs behind. Without room nothing is dropped any more before it is to be sent.
        if left_out.in_pieces_count == UNDER_WAY {
            left_out.has_lost_pieces = true;
            return;
        }
        left_out.in_pieces[left_out.in_pieces_count] = xid;
        left_out.in_pieces_count += 1;
    }
}

/// Whether pieces have come for the row that follows now.
unsafe fn end_of_pieces(xid: TransactionId) -> bool {
    unsafe {
        let left_out = LEFT_OUT.get();
        let Some(n) = left_out.in_pieces[..left_out.in_pieces_count].iter().position(|of| *of == xid) else { return false };
        left_out.in_pieces_count -= 1;
        left_out.in_pieces.swap(n, left_out.in_pieces_count);
        true
    }
}
