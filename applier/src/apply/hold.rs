//! What keeps a second session from applying the changes of a task, also one whose client is gone.
//!
//! Both a lock and the task's replication origin belong to the session until it has ended, after its last transaction. So whoever gets
//! them reads a position that no other session can still move ([decision 14](../../../docs/decisions/0014-a-lock-beside-the-origin.md)).
//! The lock is taken always, the origin where the role may use origins: rights that come or go leave no gap between two sessions.

use pgrelay_core::{Error, Result, error::Kind};
use tokio_postgres::{Client, error::SqlState};

use crate::pg::server_error;

/// Whether the role may use replication origins.
pub const MAY_USE_ORIGINS: &str = include_str!("../../../sql/query/peer/may_use_origins.sql");

/// Makes the session the only one that applies the task's changes. Returns whether it owns the origin, which marks what it writes.
///
/// Errors: `Contention` while another session, perhaps one whose client is gone, is that.
pub async fn take(client: &Client, origin: &str) -> Result<bool> {
    let lock = "SELECT pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended($1, 0))";
    let row = client.query_one(lock, &[&origin]).await.map_err(|e| server_error(e, "lock the task on the peer"))?;
    if !row.get::<_, bool>(0) {
        return Err(Error::new(Kind::Contention, "another session applies the changes of this task to the peer")
            .detail(format!("It holds the advisory lock of \"{origin}\"."))
            .hint("It ends by itself when its client is gone; pg_locks and pg_stat_activity of the peer show it."));
    }
    let may = client.query_one(MAY_USE_ORIGINS, &[]).await.map_err(|e| server_error(e, "read the rights on the peer"))?;
    if may.get(0) {
        take_origin(client, origin).await?;
    }
    Ok(may.get(0))
}

/// Creates the origin when it is missing and makes it the session's own.
async fn take_origin(client: &Client, origin: &str) -> Result<()> {
    let sql = "SELECT pg_catalog.pg_replication_origin_create($1) WHERE pg_catalog.pg_replication_origin_oid($1) IS NULL";
    if let Err(e) = client.execute(sql, &[&origin]).await {
        // Two sessions may come to create it at once; whoever loses finds it there.
        if e.code() != Some(&SqlState::UNIQUE_VIOLATION) && e.code() != Some(&SqlState::DUPLICATE_OBJECT) {
            return Err(server_error(e, "create a replication origin on the peer"));
        }
    }
    let setup = client.execute("SELECT pg_catalog.pg_replication_origin_session_setup($1)", &[&origin]).await;
    setup.map(drop).map_err(|e| server_error(e, "take the replication origin on the peer"))
}
