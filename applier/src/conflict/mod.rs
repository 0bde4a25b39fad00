//! Conflicts, on the side that a change goes to: what it meets, what is done about it, and the record of that.
//!
//! One change at a time, each step awaited: this is the slow and exact way, taken when a faster one has met a surprise. The order is
//! `meet` (look and lock), `pgrelay_core::conflict::decide`, `resolve` (do), `record` (write down), all in the peer's open
//! transaction. What is decided is core's.

pub mod deferrable;
pub mod keys;
pub mod meet;
pub mod missing;
pub mod place;
pub mod record;
pub mod removed;
pub mod resolve;
pub mod tombstone;
