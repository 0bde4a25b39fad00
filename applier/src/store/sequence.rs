//! Sequences that both sides draw from, as they stand at the task's home.

use pgrelay_core::Result;

use super::Store;

/// A sequence that gives other values on each side, or why it does not.
#[derive(Debug, Clone)]
pub struct Interleaved {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its step before.
    pub increment_before: i64,
    /// Why it is as it was.
    pub reason: Option<String>,
}

impl Store {
    /// Those of a task.
    pub async fn interleaved(&self, task_id: i64) -> Result<Vec<Interleaved>> {
        let sql = "SELECT schema_name, sequence_name, increment_before, reason FROM pgrelay.task_sequence WHERE task_id = $1";
        let rows = self.rows("read the sequences of both sides", sql, &[&task_id]).await?;
        let read = |row: &tokio_postgres::Row| Interleaved {
            schema: row.get("schema_name"),
            name: row.get("sequence_name"),
            increment_before: row.get("increment_before"),
            reason: row.get("reason"),
        };
        Ok(rows.iter().map(read).collect())
    }
}
