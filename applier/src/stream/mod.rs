//! The stream from the source: what it needs there (publications, slot), and the receiver that keeps it alive.

pub mod history;
pub mod identity;
pub mod publication;
pub mod receiver;
pub mod slot;

use std::time::Duration;

use pgrelay_core::Result;
use tokio_postgres::{Client, error::SqlState};

use crate::pg::server_error;

/// Runs a transaction that sets a short `lock_timeout`, again and again until it gets its locks: whoever queues behind a
/// lock that is waited for waits too, and the application must not.
async fn patiently(source: &Client, sql: &str, doing: &str) -> Result<()> {
    loop {
        match source.batch_execute(sql).await {
            Ok(()) => return Ok(()),
            Err(e) => {
                source.batch_execute("ROLLBACK").await.map_err(|e| server_error(e, doing))?;
                if e.code() != Some(&SqlState::LOCK_NOT_AVAILABLE) {
                    return Err(server_error(e, doing));
                }
            }
        }
        tokio::time::sleep(RETRY_LOCK_AFTER).await;
    }
}

/// Between two tries to get a lock.
const RETRY_LOCK_AFTER: Duration = Duration::from_millis(500);
