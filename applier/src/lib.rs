//! The applier: everything that talks to two servers. It holds no state that is not in a database.
//!
//! Left to right, arrows never go back:
//! precheck → schema → copy → stream → apply → progress; `supervisor` and `task` drive them.

pub mod apply;
pub mod copy;
pub mod pg;
pub mod precheck;
pub mod progress;
pub mod schema;
pub mod store;
pub mod stream;
pub mod task;
