//! The applier: everything that talks to two servers. It holds no state that is not in a database.
//!
//! Left to right, arrows never go back:
//! precheck → schema → copy → stream → apply → progress; `supervisor` and `task` drive them.

pub mod apply;
pub mod cli;
pub mod conflict;
pub mod copy;
pub mod crash;
pub mod lane;
pub mod pg;
pub mod precheck;
pub mod progress;
pub mod schema;
pub mod status;
pub mod store;
pub mod stream;
pub mod supervisor;
pub mod task;
pub mod telemetry;
pub mod throttle;
pub mod window;
