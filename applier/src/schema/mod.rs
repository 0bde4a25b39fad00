//! The schema stage: reads the source's catalog, carries a plan out on the peer.
//!
//! What is made and in which order is decided in `pgrelay_core::plan`; nothing here decides.
//! **Invariant**: the mark of an item is written in the transaction that made it, so whatever stops a run, the next one goes on
//! where it stopped, and takes nothing for its own that somebody else made.

mod carry_out;
mod probe;
mod read;
mod stage;

pub use carry_out::carry_out;
pub use probe::probe;
pub use read::read_catalog;
pub use stage::{Stage, count_made, made};
