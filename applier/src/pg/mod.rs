//! The PostgreSQL protocol: the only room that knows bytes of it.
//!
//! `Endpoint::resolve` says where a server is, `connect` gives an ordinary session, `replication` our own connection that
//! receives changes, `pgoutput` what they mean. Nothing here knows about tasks.

mod attempt;
pub mod endpoint;
pub mod error;
mod passfile;
pub mod pgoutput;
pub mod replication;
mod service;
pub mod session;
mod tls;
mod wire;

pub use endpoint::Endpoint;
pub use error::server_error;
pub use session::{connect, connect_listening};
