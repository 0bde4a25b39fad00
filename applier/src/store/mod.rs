//! The contract tables on the source: what the applier reads from them and writes to them.
//!
//! The statements stand in `sql/store/`, one file each. Nothing here decides anything.

mod conflict;
mod event;
mod lease;
mod progress;
mod request;
mod sequence;
mod task;

pub use conflict::Overwritten;
pub use event::{Event, Level};
pub use lease::Instance;
pub use progress::{Counts, ProgressRow, TableRow};
pub use request::{Request, RequestKind};
pub use sequence::Interleaved;
pub use task::{Lineage, TaskRow};

use std::sync::Arc;

use pgrelay_core::Result;
use tokio_postgres::{Client, Row, types::ToSql};

use crate::pg::server_error;

/// One connection to the source's contract tables; cheap to clone.
#[derive(Clone)]
pub struct Store {
    client: Arc<Client>,
}

impl Store {
    /// On a connection that nothing else opens transactions on.
    pub fn new(client: Arc<Client>) -> Store {
        Store { client }
    }

    /// The connection itself, for single statements.
    pub fn client(&self) -> &Client {
        &self.client
    }

    async fn rows(&self, doing: &str, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        self.client.query(sql, params).await.map_err(|e| server_error(e, doing))
    }

    async fn write(&self, doing: &str, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<u64> {
        self.client.execute(sql, params).await.map_err(|e| server_error(e, doing))
    }
}
