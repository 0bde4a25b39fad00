//! The sessions of a copy worker.

use pgrelay_core::Result;

use tokio_postgres::Client;

use super::Setting;
use crate::apply::hold::MAY_USE_ORIGINS;
use crate::pg::{connect, pipe::Session};

/// Long values are compressed by lz4 where the server has it (since 14) and nobody has set anything else: pglz takes most of the time
/// that a table of long values takes, and makes nothing smaller that matters. Columns with a method of their own keep it.
const COMPRESSION: &str = "SELECT pg_catalog.set_config(name, 'lz4', false) FROM pg_catalog.pg_settings \
                           WHERE name = 'default_toast_compression' AND source = 'default' AND 'lz4' = ANY (enumvals)";

/// Reads the rows.
pub async fn source(s: &Setting, name: &str) -> Result<Session> {
    Session::connect(&s.source, name, &[("application_name", name)]).await
}

/// Reads the marks on the peer.
pub async fn marks(s: &Setting, name: &str) -> Result<Client> {
    connect(&s.peer, name, &[("application_name", name)]).await
}

/// Writes rows: no trigger fires, and under an origin of its own, where the role may use one, no stream sends them back.
pub async fn peer(s: &Setting, name: &str, number: u32) -> Result<Session> {
    // What a crash of the peer takes is taken with its mark, and is copied again (docs/apply.md).
    let settings = [("application_name", name), ("session_replication_role", "replica"), ("synchronous_commit", "off")];
    let mut session = Session::connect(&s.peer, name, &settings).await?;
    session.run(COMPRESSION, "choose how long values are compressed").await?;
    let may = session.query(MAY_USE_ORIGINS, &[], "read the rights on the peer").await?;
    if may.first().and_then(|row| row[0].as_deref()) != Some("t") {
        return Ok(session);
    }
    let origin = s.names.copy_origin(number);
    let create = "SELECT pg_catalog.pg_replication_origin_create($1) WHERE pg_catalog.pg_replication_origin_oid($1) IS NULL";
    let created = session.query(create, &[&origin], "create a replication origin on the peer").await;
    // Two sessions may come to create it at once; whoever loses finds it there.
    if let Err(e) = created
        && !matches!(e.server_sqlstate.as_deref(), Some("23505" | "42710"))
    {
        return Err(e);
    }
    let take = "SELECT pg_catalog.pg_replication_origin_session_setup($1)";
    session.query(take, &[&origin], "take the replication origin on the peer").await?;
    Ok(session)
}
