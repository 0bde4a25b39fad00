//! The lease: of any number of appliers that serve a database, one works.

use pgrelay_core::Result;

use super::Store;

/// This applier, as others see it.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Made at start.
    pub id: String,
    /// The host's name.
    pub host: String,
}

impl Store {
    /// Takes or renews the lease for 15 seconds of the server's clock. False when another live applier holds it.
    pub async fn take_lease(&self, instance: &Instance) -> Result<bool> {
        let rows = self.rows("take the lease", include_str!("../../../sql/store/take_lease.sql"), &[&instance.id]).await?;
        Ok(!rows.is_empty())
    }

    /// Gives the lease back, so that another applier need not wait.
    pub async fn release_lease(&self, instance: &Instance) -> Result<()> {
        self.write("release the lease", "DELETE FROM pgrelay.lease WHERE holder = $1::text::uuid", &[&instance.id]).await?;
        self.write("sign off", "DELETE FROM pgrelay.applier_instance WHERE id = $1::text::uuid", &[&instance.id]).await.map(drop)
    }

    /// Shows this applier in `pgrelay.applier`.
    pub async fn register(&self, instance: &Instance) -> Result<()> {
        let process = std::process::id() as i32;
        let sql = include_str!("../../../sql/store/register_instance.sql");
        self.write("announce the applier", sql, &[&instance.id, &instance.host, &process, &env!("CARGO_PKG_VERSION")]).await.map(drop)
    }
}
