//! Records of conflicts, as they come from the peer.

use pgrelay_core::{Error, Result, conflict::Direction, error::Kind, name::TableName};

use super::Store;
use crate::pg::server_error;

/// What a resolution has overwritten.
#[derive(Debug, Clone)]
pub struct Overwritten {
    /// Which way the change went.
    pub direction: Direction,
    /// The table.
    pub table: TableName,
    /// What was done.
    pub resolution: String,
    /// The rows that were met, as the text of `jsonb`.
    pub rows: Vec<String>,
    /// The row as it became, likewise.
    pub result: Option<String>,
}

impl Store {
    /// Adds records, a JSON array of rows of `pgrelay_peer.conflict`, and counts them. What is there already is neither added nor counted.
    pub async fn add_conflicts(&self, task_id: i64, records: &str) -> Result<()> {
        let sql = include_str!("../../../sql/store/add_conflicts.sql");
        self.write("write down conflicts", sql, &[&task_id, &records]).await.map(drop)
    }

    /// What the record of this number says.
    pub async fn overwritten(&self, task_id: i64, record: i64) -> Result<Option<Overwritten>> {
        let sql = include_str!("../../../sql/store/overwritten.sql");
        let row = self.client.query_opt(sql, &[&task_id, &record]).await.map_err(|e| server_error(e, "read the record of a conflict"))?;
        let Some(row) = row else { return Ok(None) };
        let direction = row.get::<_, &str>("direction");
        let unknown = || Error::new(Kind::Internal, format!("\"{direction}\" is not a direction"));
        Ok(Some(Overwritten {
            direction: Direction::parse(direction).ok_or_else(unknown)?,
            table: TableName::new(row.get::<_, &str>("schema_name"), row.get::<_, &str>("table_name")),
            resolution: row.get("resolution"),
            rows: row.get("rows"),
            result: row.get("result"),
        }))
    }

    /// Removes records that are older than so many days.
    pub async fn forget_conflicts(&self, task_id: i64, days: i32) -> Result<()> {
        self.write("remove old records of conflicts", include_str!("../../../sql/store/forget_conflicts.sql"), &[&task_id, &days])
            .await
            .map(drop)
    }
}
