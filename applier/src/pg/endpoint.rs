//! Where a server is and how to get in (lands shortly).
use pgrelay_core::error::{Error, Kind, Result};

/// A fully resolved target.
#[derive(Debug, Clone)]
pub struct Endpoint {}

impl Endpoint {
    /// Resolves `conninfo`, then `extra`, the service file, the environment and the defaults.
    pub fn resolve(_conninfo: &str, _extra: &[(String, String)]) -> Result<Endpoint> {
        Err(Error::new(Kind::NotSupported, "not landed yet"))
    }

    /// Host, port, database and user, without secrets.
    pub fn describe(&self) -> String {
        String::new()
    }
}
