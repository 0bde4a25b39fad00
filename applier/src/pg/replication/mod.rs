//! A session with `replication=database`, which tokio-postgres does not have: it makes slots and receives changes.
//!
//! `connection` runs commands; `stream` receives. What the messages of the output plugin mean is `pgoutput`'s.

mod connection;
mod stream;

pub use connection::{Connection, CreatedSlot};
pub use stream::{Frame, Stream};
