//! The request to cancel what a session is running.

use std::sync::Arc;
use std::time::Duration;

use pgrelay_core::error::Result;
use postgres_protocol::message::frontend;

use super::link::Link;
use super::transport::Transport;
use crate::pg::attempt::Encryption;
use crate::pg::endpoint::{Endpoint, Target};

/// A request to cancel is given up after this: it is a courtesy to the server.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);

/// What is needed to ask the server to cancel.
pub(super) struct CancelKey {
    pub(super) ep: Endpoint,
    pub(super) target: Target,
    pub(super) encryption: Encryption,
    pub(super) process_id: i32,
    pub(super) secret: i32,
}

impl CancelKey {
    /// Returns when the server has taken the request.
    pub(super) async fn send(&self) -> Result<()> {
        let transport = Transport::open(&self.ep, &self.target, self.encryption, "cannot cancel a command").await?;
        let mut link = Link::new(transport, "connection");
        frontend::cancel_request(self.process_id, self.secret, link.outbox());
        link.flush().await?;
        // The server closes the connection when it has taken the request.
        drop(link.message().await);
        Ok(())
    }
}

/// A server that waits for other transactions does not notice that its client is gone. So it is told.
pub(in crate::pg) struct CancelOnDrop {
    key: Option<Arc<CancelKey>>,
}

impl CancelOnDrop {
    pub(super) fn new(key: Arc<CancelKey>) -> CancelOnDrop {
        CancelOnDrop { key: Some(key) }
    }

    /// The command has ended: nothing is to be cancelled.
    pub(in crate::pg) fn disarm(mut self) {
        self.key = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        let (Some(key), Ok(runtime)) = (self.key.take(), tokio::runtime::Handle::try_current()) else { return };
        runtime.spawn(async move {
            if !matches!(tokio::time::timeout(CANCEL_TIMEOUT, key.send()).await, Ok(Ok(()))) {
                tracing::debug!("a command could not be cancelled");
            }
        });
    }
}
