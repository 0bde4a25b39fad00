//! The PostgreSQL protocol: the only room that knows bytes of it.
//!
//! `Endpoint::resolve` says where a server is, `connect` gives an ordinary session. On a connection of our own (`socket`) run
//! `pipe`, which copies rows from server to server, and `replication`, which receives changes; `plugin` takes
//! them apart, and `pgoutput` says what they mean.
//! Nothing here knows about tasks.

mod attempt;
pub mod endpoint;
pub mod error;
mod passfile;
pub mod pgoutput;
pub mod pipe;
pub mod plugin;
pub mod replication;
mod service;
pub mod session;
mod socket;
mod tls;
mod wire;

pub use endpoint::Endpoint;
pub use error::server_error;
pub use session::{EMPTY_MESSAGE, MESSAGE, connect, connect_listening};
