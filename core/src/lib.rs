//! The words and the decisions that the extension and the applier share.
//!
//! Plain functions over plain data: no tokio, no pgrx, no I/O, no clock.

pub mod catalog;
pub mod conflict;
pub mod conninfo;
pub mod ddl;
pub mod error;
pub mod finding;
pub mod key_range;
pub mod large_object;
pub mod lsn;
pub mod name;
pub mod order;
pub mod plan;
pub mod precheck;
pub mod sequence;
pub mod snapshot;
pub mod state;
pub mod task;
pub mod verify;

pub use error::{Error, Result};
pub use lsn::Lsn;
