//! Whom a task writes to: a connection string without secrets, or a foreign server.

use pgrelay_core::{Error, Result, conninfo, error::Kind};

use super::{not_null, read};

/// Checks a peer with the rights of the current user.
///
/// Errors: those of `conninfo::check_peer`; `UndefinedObject` for a server that does not exist, `InsufficientPrivilege` without USAGE on it.
pub fn check(peer: &str) -> Result<()> {
    let sql = "SELECT pg_catalog.has_server_privilege(oid, 'USAGE') FROM pg_catalog.pg_foreign_server WHERE srvname = $1";
    match read(sql, &[peer.into()], |r| not_null::<bool>(r, 1))?.first() {
        Some(true) => Ok(()),
        Some(false) => Err(Error::new(Kind::InsufficientPrivilege, format!("permission denied for foreign server \"{peer}\""))
            .hint(format!("Run: GRANT USAGE ON FOREIGN SERVER {} TO your_role;", pgrelay_core::name::quote_ident(peer)))),
        None if conninfo::is_conninfo(peer) => conninfo::check_peer(peer).map(|_| ()),
        // The text is not repeated when it could hold a secret.
        None if peer.is_empty() || peer.len() > 63 || peer.contains(['=', ':', '@', '/']) => {
            Err(Error::new(Kind::InvalidValue, "the peer is neither a connection string nor the name of a foreign server").hint(PEER_HINT))
        }
        None => Err(Error::new(Kind::UndefinedObject, format!("foreign server \"{peer}\" does not exist")).hint(PEER_HINT)),
    }
}

const PEER_HINT: &str =
    "A peer is a connection string such as 'host=db2 dbname=app', a URI such as 'postgresql://db2/app', or the name of a foreign server.";
