//! What the plugin calls of the server, as it is.
//!
//! pgrx's own declarations turn an error of the server into a panic, for which each call pays, and which a callback of a plugin may not
//! let out. These functions leave by `longjmp` instead, through callbacks that own nothing which must be dropped.

use std::{
    cell::UnsafeCell,
    ffi::{c_char, c_int, c_void},
};

use pgrx::pg_sys::{DefElem, List, LogicalDecodingContext, ReorderBufferTXN, RepOriginId, StringInfo, XLogRecPtr};

unsafe extern "C-unwind" {
    pub fn load_external_function(
        filename: *const c_char,
        funcname: *const c_char,
        signal_not_found: bool,
        filehandle: *mut *mut c_void,
    ) -> *mut c_void;
    pub fn appendBinaryStringInfo(to: StringInfo, data: *const c_void, length: c_int);
    pub fn list_delete_nth_cell(list: *mut List, n: c_int) -> *mut List;
    pub fn defGetString(def: *mut DefElem) -> *mut c_char;
    pub fn MemoryContextStrdup(context: pgrx::pg_sys::MemoryContext, string: *const c_char) -> *mut c_char;
    pub fn replorigin_by_oid(id: RepOriginId, missing_ok: bool, name: *mut *mut c_char) -> bool;
    pub fn OutputPluginPrepareWrite(ctx: *mut LogicalDecodingContext, last_write: bool);
    pub fn OutputPluginWrite(ctx: *mut LogicalDecodingContext, last_write: bool);
    pub fn OutputPluginUpdateProgress(ctx: *mut LogicalDecodingContext, skipped_xact: bool);
    pub fn logicalrep_write_begin(out: StringInfo, txn: *mut ReorderBufferTXN);
    pub fn logicalrep_write_origin(out: StringInfo, origin: *const c_char, origin_lsn: XLogRecPtr);
    pub fn logicalrep_write_commit(out: StringInfo, txn: *mut ReorderBufferTXN, commit_lsn: XLogRecPtr);
    pub fn errstart(level: c_int, domain: *const c_char) -> bool;
    pub fn errcode(sqlstate: c_int) -> c_int;
    pub fn errmsg_internal(format: *const c_char, ...) -> c_int;
    pub fn errfinish(filename: *const c_char, line: c_int, function: *const c_char);
}

/// State of this process. A process of the server has one thread, and decodes one slot at a time.
pub struct OfProcess<T>(UnsafeCell<T>);

// SAFETY: there is one thread.
unsafe impl<T> Sync for OfProcess<T> {}

impl<T> OfProcess<T> {
    pub const fn new(value: T) -> OfProcess<T> {
        OfProcess(UnsafeCell::new(value))
    }

    /// # Safety
    ///
    /// What was had before is not used any more.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn get(&self) -> &mut T {
        unsafe { &mut *self.0.get() }
    }
}
