//! Our own connection with `replication=database`, which tokio-postgres does not have: it makes slots and receives changes.
//!
//! `transport` is the socket, with or without TLS; `link` cuts it into messages; `login` gets in; `connection` runs commands;
//! `stream` receives. What the messages of the output plugin mean is `pgoutput`'s.

mod connection;
mod link;
mod login;
mod stream;
mod transport;

pub use connection::{Connection, CreatedSlot};
pub use stream::{Frame, Stream};
