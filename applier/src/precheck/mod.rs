//! Gathers the facts of the precheck by SQL on both sides; `pgrelay_core::precheck` judges them.
//!
//! Each query of `sql/query/precheck/` is one round trip and returns one JSON value. Nothing here decides.

use pgrelay_core::{
    error::{Error, Kind, Result},
    name::Selection,
    precheck::{PeerFacts, SourceFacts, Unreachable},
    task::Names,
};
use tokio_postgres::Client;

/// Gathers the facts of the source, narrowed to what is selected.
///
/// `client` is a plain connection as the applier's role; the queries change nothing.
///
/// Errors: `Connection` when it breaks, `Rejected` with the server's SQLSTATE when a query is refused.
pub async fn gather_source(client: &Client, selection: &Selection, names: &Names) -> Result<SourceFacts> {
    let _ = (client, selection, names);
    Err(Error::new(Kind::NotSupported, "the precheck is not built yet"))
}

/// Gathers the facts of the peer. `task_key` is the name of the task's replication origin (`Names::origin`).
///
/// Errors: as `gather_source`.
pub async fn gather_peer(client: &Client, task_key: &str) -> Result<PeerFacts> {
    let _ = (client, task_key);
    Err(Error::new(Kind::NotSupported, "the precheck is not built yet"))
}

/// What the precheck says of a peer that could not be asked: the error of connecting, or of `gather_peer`.
pub fn unreachable(error: &Error) -> Unreachable {
    Unreachable { message: error.to_string(), hint: error.hint.clone() }
}
