//! Records of conflicts, as they come from the peer.

use bytes::BytesMut;
use pgrelay_core::{Error, Result, conflict::Direction, error::Kind, name::TableName};
use tokio_postgres::{
    Row,
    types::{FromSql, IsNull, ToSql, Type, to_sql_checked},
};

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

/// A value that goes on as it came: its type has the same form on every server.
#[derive(Debug)]
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> std::result::Result<Raw<'a>, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Raw(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl ToSql for Raw<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> std::result::Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl Store {
    /// Adds records and counts them; what is there already is neither added nor counted. `records`: what the peer answers to
    /// `sql/peer/conflicts_to_carry.sql`, two columns and then those of the records.
    pub async fn add_conflicts(&self, task_id: i64, records: &Row) -> Result<()> {
        let records_sql = include_str!("../../../sql/store/carried_conflicts.sql");
        let sql = format!("WITH record AS (\n{records_sql}){}", include_str!("../../../sql/store/add_conflicts.sql"));
        let failed = |e| server_error(e, "read conflicts of the peer");
        let arrays = (2..records.len()).map(|n| records.try_get(n)).collect::<std::result::Result<Vec<Raw<'_>>, _>>().map_err(failed)?;
        let mut values: Vec<&(dyn ToSql + Sync)> = vec![&task_id];
        values.extend(arrays.iter().map(|array| array as &(dyn ToSql + Sync)));
        self.write("write down conflicts", &sql, &values).await.map(drop)
    }

    /// Makes one row of those that count the same conflicts.
    pub async fn sum_conflict_counts(&self, task_id: i64) -> Result<()> {
        self.write("sum up conflicts", include_str!("../../../sql/store/sum_conflict_counts.sql"), &[&task_id]).await.map(drop)
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
