//! Asks the applier something, committed at once: a row of the caller's transaction would be invisible until the caller returns.
//!
//! A background worker of this database writes the row and ends. It takes its arguments from `bgw_extra` and finds the library as
//! CREATE EXTENSION does, so nothing needs to be preloaded.

use pgrelay_core::{Error, Result, error::Kind};
use pgrx::{
    bgworkers::{BackgroundWorker, BackgroundWorkerBuilder, BackgroundWorkerStatus, DynamicBackgroundWorker},
    pg_sys::{self, Datum, Oid},
    prelude::*,
};

use crate::{
    report::or_raise,
    store::{
        self,
        request::{self, Question},
    },
};

/// The worker that is asking.
pub struct Asking {
    /// By which the question is found.
    pub token: String,
    worker: DynamicBackgroundWorker,
}

impl Asking {
    /// Starts the worker. Run as the extension's owner.
    ///
    /// Errors: `InsufficientResources` when the server has no place for another worker.
    pub fn start(task: i64, question: Question) -> Result<Asking> {
        let token = request::new_token()?;
        // SAFETY: both are set for the whole life of a backend.
        let (database, pid) = unsafe { (pg_sys::MyDatabaseId, pg_sys::MyProcPid) };
        let worker = BackgroundWorkerBuilder::new("pgrelay request")
            .set_library("pgrelay")
            .set_function("pgrelay_request_worker")
            .set_extra(&format!("{} {task} {} {} {token}", database.to_u32(), question.as_str(), question.about()))
            .set_notify_pid(pid)
            .enable_spi_access()
            .load_dynamic();
        let worker = worker.map_err(|_| {
            Error::new(Kind::InsufficientResources, "no background worker is free to ask the applier")
                .detail("All places of max_worker_processes are taken.")
                .hint("Try again later, or raise max_worker_processes and restart the server.")
        })?;
        Ok(Asking { token, worker })
    }

    /// Whether the worker has ended, well or not.
    pub fn has_ended(&self) -> bool {
        matches!(self.worker.pid(), Err(BackgroundWorkerStatus::Stopped | BackgroundWorkerStatus::PostmasterDied))
    }
}

/// Settings of the worker's session, whatever the database or the server sets.
/// `local`: decoding sees the commit only when it is flushed here, and a standby that is away must not hold up the question.
const SETTINGS: [(&std::ffi::CStr, &std::ffi::CStr); 5] = [
    (c"synchronous_commit", c"local"),
    (c"default_transaction_read_only", c"off"),
    (c"default_transaction_isolation", c"read committed"),
    (c"session_replication_role", c"origin"),
    (c"search_path", c"pg_catalog, pg_temp"),
];

/// Entry of the background worker.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pgrelay_request_worker(_argument: Datum) {
    let extra = BackgroundWorker::get_extra();
    let Some((database, task, question, token)) = parse(extra) else {
        return or_raise(Err(Error::new(Kind::Internal, "a request worker was started with arguments it cannot read")));
    };
    // SAFETY: as in a worker's main function: handlers first, then signals, then the connection, then settings, all before any
    // transaction. `die` is the server's own: it ends the worker inside a statement too.
    unsafe {
        install_die();
        pg_sys::BackgroundWorkerUnblockSignals();
        pg_sys::BackgroundWorkerInitializeConnectionByOid(database, Oid::INVALID, 0);
        for (name, value) in SETTINGS {
            pg_sys::SetConfigOption(name.as_ptr(), value.as_ptr(), pg_sys::GucContext::PGC_SUSET, pg_sys::GucSource::PGC_S_SESSION);
        }
    }
    BackgroundWorker::transaction(|| or_raise(store::as_owner(|| request::ask(task, question, token))));
}

/// Database, task, question and token.
fn parse(extra: &str) -> Option<(Oid, i64, Question, &str)> {
    let mut words = extra.split(' ');
    let database = Oid::from_u32(words.next()?.parse().ok()?);
    let task = words.next()?.parse().ok()?;
    let (word, about) = (words.next()?, words.next()?.parse().ok()?);
    Some((database, task, Question::parse(word, about)?, words.next()?))
}

unsafe extern "C-unwind" {
    /// The server's own handler. pgrx has it only wrapped, which is no handler of a signal.
    fn die(signal: std::ffi::c_int);
}

#[cfg(not(feature = "pg18"))]
unsafe fn install_die() {
    unsafe { pg_sys::pqsignal(pg_sys::SIGTERM as i32, Some(die)) };
}

#[cfg(feature = "pg18")]
unsafe fn install_die() {
    unsafe { pg_sys::pqsignal_be(pg_sys::SIGTERM as i32, Some(die)) };
}
