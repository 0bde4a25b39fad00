//! Records of conflicts, as they come from the peer.

use pgrelay_core::Result;

use super::Store;

impl Store {
    /// Adds records, a JSON array of rows of `pgrelay_peer.conflict`, and counts them. What is there already is neither added nor counted.
    pub async fn add_conflicts(&self, task_id: i64, records: &str) -> Result<()> {
        let sql = include_str!("../../../sql/store/add_conflicts.sql");
        self.write("write down conflicts", sql, &[&task_id, &records]).await.map(drop)
    }

    /// Removes records that are older than so many days.
    pub async fn forget_conflicts(&self, task_id: i64, days: i32) -> Result<()> {
        self.write("remove old records of conflicts", include_str!("../../../sql/store/forget_conflicts.sql"), &[&task_id, &days])
            .await
            .map(drop)
    }
}
