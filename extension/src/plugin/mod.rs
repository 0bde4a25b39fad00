//! The output plugin `pgrelay`: PostgreSQL's own pgoutput, whose messages it puts together and of which it leaves out what the opposite
//! direction of a two-way task has written (docs/decisions/0026-an-output-plugin-of-its-own.md).
//!
//! It takes pgoutput's callbacks and stands before them, so that what is decoded, filtered and sent is pgoutput's own in every version of
//! the server. Where the server allows no plugin but its own, pgoutput serves by itself.

mod batch;
mod left_out;
mod server;

use std::{
    ffi::{c_char, c_void},
    ptr::null_mut,
};

use pgrx::pg_sys::{
    LogicalDecodingContext, OutputPluginCallbacks, OutputPluginOptions, Relation, ReorderBufferChange, ReorderBufferTXN, RepOriginId, Size,
    TimestampTz, XLogRecPtr,
};
use server::OfProcess;

/// pgoutput's. What is not there is not wrapped either.
static PGOUTPUT: OfProcess<Option<OutputPluginCallbacks>> = OfProcess::new(None);

/// Where the server looks for a plugin. Named by `LoadOutputPlugin` in `replication/logical/logical.c`.
///
/// # Safety
///
/// Called by the server.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn _PG_output_plugin_init(callbacks: *mut OutputPluginCallbacks) {
    unsafe {
        let init = server::load_external_function(c"$libdir/pgoutput".as_ptr(), c"_PG_output_plugin_init".as_ptr(), true, null_mut());
        let init: unsafe extern "C-unwind" fn(*mut OutputPluginCallbacks) = std::mem::transmute::<*mut c_void, _>(init);
        init(callbacks);
        let own = &mut *callbacks;
        *PGOUTPUT.get() = Some(*own);
        own.startup_cb = Some(startup);
        own.filter_by_origin_cb = Some(filter_by_origin);
        own.begin_cb = own.begin_cb.and(Some(begin));
        own.change_cb = own.change_cb.and(Some(change));
        own.stream_change_cb = own.stream_change_cb.and(Some(stream_change));
        own.message_cb = own.message_cb.and(Some(message));
        own.commit_cb = own.commit_cb.and(Some(commit));
        own.prepare_cb = own.prepare_cb.and(Some(prepare));
        own.commit_prepared_cb = own.commit_prepared_cb.and(Some(commit_prepared));
        own.rollback_prepared_cb = own.rollback_prepared_cb.and(Some(rollback_prepared));
        own.stream_stop_cb = own.stream_stop_cb.and(Some(stream_stop));
        own.stream_abort_cb = own.stream_abort_cb.and(Some(stream_abort));
        own.stream_prepare_cb = own.stream_prepare_cb.and(Some(stream_prepare));
        own.stream_commit_cb = own.stream_commit_cb.and(Some(stream_commit));
    }
}

/// Calls one of pgoutput's callbacks.
macro_rules! pgoutput {
    ($callback:ident $(, $argument:expr)*) => {
        if let Some(callback) = (*PGOUTPUT.get()).as_ref().and_then(|pgoutput| pgoutput.$callback) {
            callback($($argument),*);
        }
    };
}

/// A callback after which nothing is held back; with `test`, what is about to end is still of whom it was taken for.
macro_rules! ends {
    ($name:ident, $callback:ident, ($($test:ident)?) $(, $argument:ident: $type:ty)*) => {
        unsafe extern "C-unwind" fn $name(ctx: *mut LogicalDecodingContext, txn: *mut ReorderBufferTXN $(, $argument: $type)*) {
            unsafe {
                $(left_out::$test(txn);)?
                pgoutput!($callback, ctx, txn $(, $argument)*);
                batch::send(ctx, true);
            }
        }
    };
}

ends!(prepare, prepare_cb, (test), at: XLogRecPtr);
ends!(commit_prepared, commit_prepared_cb, (test), at: XLogRecPtr);
ends!(rollback_prepared, rollback_prepared_cb, (), end: XLogRecPtr, time: TimestampTz);
ends!(stream_stop, stream_stop_cb, ());
ends!(stream_abort, stream_abort_cb, (), at: XLogRecPtr);
ends!(stream_prepare, stream_prepare_cb, (test), at: XLogRecPtr);
ends!(stream_commit, stream_commit_cb, (test), at: XLogRecPtr);

/// A callback that sends a change, unless nobody needs it.
macro_rules! changes {
    ($name:ident, $callback:ident) => {
        unsafe extern "C-unwind" fn $name(
            ctx: *mut LogicalDecodingContext,
            txn: *mut ReorderBufferTXN,
            relation: Relation,
            change: *mut ReorderBufferChange,
        ) {
            unsafe {
                if !left_out::is_useless_change(ctx, change) {
                    pgoutput!($callback, ctx, txn, relation, change);
                }
            }
        }
    };
}

changes!(change, change_cb);
changes!(stream_change, stream_change_cb);

unsafe extern "C-unwind" fn startup(ctx: *mut LogicalDecodingContext, options: *mut OutputPluginOptions, is_init: bool) {
    unsafe {
        left_out::begin(ctx);
        batch::begin(ctx);
        pgoutput!(startup_cb, ctx, options, is_init);
    }
}

unsafe extern "C-unwind" fn filter_by_origin(ctx: *mut LogicalDecodingContext, origin: RepOriginId) -> bool {
    unsafe {
        let pgoutput = (*PGOUTPUT.get()).as_ref().and_then(|pgoutput| pgoutput.filter_by_origin_cb);
        pgoutput.is_some_and(|is_filtered| is_filtered(ctx, origin)) || left_out::is_useless(ctx, origin)
    }
}

unsafe extern "C-unwind" fn begin(ctx: *mut LogicalDecodingContext, txn: *mut ReorderBufferTXN) {
    unsafe {
        batch::take_wrote();
        left_out::learn(txn);
        pgoutput!(begin_cb, ctx, txn);
    }
}

unsafe extern "C-unwind" fn message(
    ctx: *mut LogicalDecodingContext,
    txn: *mut ReorderBufferTXN,
    at: XLogRecPtr,
    transactional: bool,
    prefix: *const c_char,
    size: Size,
    content: *const c_char,
) {
    unsafe {
        pgoutput!(message_cb, ctx, txn, at, transactional, prefix, size, content);
        if !transactional {
            batch::send(ctx, true);
        }
    }
}

unsafe extern "C-unwind" fn commit(ctx: *mut LogicalDecodingContext, txn: *mut ReorderBufferTXN, at: XLogRecPtr) {
    unsafe {
        left_out::test(txn);
        // Before pgoutput may say that the transaction has been passed, as it does of one of which it sends nothing.
        if !batch::take_wrote() {
            left_out::tell(ctx, txn, at);
            batch::send(ctx, true);
        }
        pgoutput!(commit_cb, ctx, txn, at);
        batch::send(ctx, true);
    }
}
