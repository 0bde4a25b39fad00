//! The copy of rows: in chunks, while everything is written to, killed and resumed; how they lie on the peer.

mod commands;
mod failures;
mod limits;
mod random;
mod resume;
mod shapes;
mod slot;
mod storage;
