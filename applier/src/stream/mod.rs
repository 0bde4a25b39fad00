//! The stream from the source: what it needs there (publications, slot), and the receiver that keeps it alive.

pub mod publication;
pub mod receiver;
pub mod slot;
