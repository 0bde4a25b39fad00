//! Our own connection, where tokio-postgres has none that fits: it takes replication commands, and lets COPY through without
//! taking a whole row into memory.
//!
//! `transport` is the socket, with or without TLS; `link` cuts it into messages; `login` gets in; `session` runs SQL; `cancel`
//! tells the server when nobody waits any more.

mod cancel;
mod link;
mod login;
mod session;
mod transport;

pub(super) use link::Link;
pub use session::{Row, Session, array};
pub(super) use session::{Way, during, rows_counted};
