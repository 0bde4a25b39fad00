//! The task's publications on the source, and the replica identities it changes for them.
//!
//! A table from which UPDATE and DELETE cannot be carried is never published for them: they would fail in the
//! application. So there are two publications, one of every change and one of INSERT and TRUNCATE only; together they
//! are the lasting list of the task's tables. They are made before the slot: a slot older than its publication cannot
//! be read.

use pgrelay_core::{
    Error, Result,
    error::Kind,
    name::{TableName, quote_ident},
    task::{Keyless, Names},
};
use tokio_postgres::{Client, error::SqlState};

use crate::pg::server_error;

/// A table of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceTable {
    /// Its name.
    pub table: TableName,
    /// Its oid there.
    pub oid: u32,
    /// Has partitions and no rows of its own.
    pub partitioned: bool,
    /// Its changes can be streamed (it is not unlogged).
    pub publishable: bool,
    /// It is a partition.
    pub is_partition: bool,
    /// `relreplident`.
    pub identity: String,
    /// The index of REPLICA IDENTITY USING INDEX.
    pub identity_index: Option<String>,
    /// UPDATE and DELETE can be published.
    pub usable: bool,
    /// From the source's statistics.
    pub rows_estimated: i64,
    /// Size in bytes.
    pub bytes_estimated: i64,
    /// Its partitioned tables, itself included.
    pub ancestors: Vec<u32>,
}

/// Every table of the source that could be part of a task.
pub async fn source_tables(source: &Client) -> Result<Vec<SourceTable>> {
    let rows = source
        .query(include_str!("../../../sql/query/source/tables.sql"), &[])
        .await
        .map_err(|e| server_error(e, "read the source's tables"))?;
    let read = |row: &tokio_postgres::Row| SourceTable {
        table: TableName::new(row.get::<_, &str>("schema_name"), row.get::<_, &str>("table_name")),
        oid: row.get("oid"),
        partitioned: row.get("partitioned"),
        publishable: row.get("publishable"),
        is_partition: row.get("is_partition"),
        identity: row.get("identity"),
        identity_index: row.get("identity_index"),
        usable: row.get("usable"),
        rows_estimated: row.get("rows_estimated"),
        bytes_estimated: row.get("bytes_estimated"),
        ancestors: row.get("ancestors"),
    };
    Ok(rows.iter().map(read).collect())
}

/// A table of the task, as its publications have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its name.
    pub table: TableName,
    /// Updates and deletes are not carried.
    pub insert_only: bool,
}

/// Tables (not partitioned ones) in the task's publications; none when the publications do not exist.
pub async fn published(source: &Client, names: &Names) -> Result<Option<Vec<Published>>> {
    let doing = "read the publications";
    let exist = source.query("SELECT FROM pg_catalog.pg_publication WHERE pubname = $1", &[&names.publication]).await;
    if exist.map_err(|e| server_error(e, doing))?.is_empty() {
        return Ok(None);
    }
    let rows =
        source.query(include_str!("../../../sql/query/source/published.sql"), &[&names.publication, &names.publication_insert_only]).await;
    let read = |row: &tokio_postgres::Row| Published {
        table: TableName::new(row.get::<_, &str>("schema_name"), row.get::<_, &str>("table_name")),
        insert_only: row.get("insert_only"),
    };
    Ok(Some(rows.map_err(|e| server_error(e, doing))?.iter().map(read).collect()))
}

/// Makes the publications, once. With `Keyless::Full` the replica identities first.
pub async fn create(source: &mut Client, task_id: i64, names: &Names, tables: &[SourceTable], keyless: Keyless) -> Result<()> {
    if published(source, names).await?.is_some() {
        return Ok(());
    }
    let keyed = |t: &SourceTable| t.usable || (keyless == Keyless::Full && !t.partitioned);
    if keyless == Keyless::Full {
        for table in tables.iter().filter(|t| t.publishable && !t.usable && !t.partitioned) {
            set_identity_full(source, task_id, table).await?;
        }
    }
    let transaction = source.transaction().await.map_err(|e| server_error(e, "create the publications"))?;
    for (name, publish, with_keys) in
        [(&names.publication, "insert, update, delete, truncate", true), (&names.publication_insert_only, "insert, truncate", false)]
    {
        let list: Vec<String> = tables
            .iter()
            .filter(|t| t.publishable && keyed(t) == with_keys && (!t.partitioned || whole(t, tables, &keyed)))
            .map(|t| if t.partitioned { t.table.quoted() } else { format!("ONLY {}", t.table.quoted()) })
            .collect();
        let tables = if list.is_empty() { String::new() } else { format!(" FOR TABLE {}", list.join(", ")) };
        let sql =
            format!("CREATE PUBLICATION {}{tables} WITH (publish = '{publish}', publish_via_partition_root = false)", quote_ident(name));
        transaction.batch_execute(&sql).await.map_err(|e| server_error(e, "create a publication"))?;
    }
    transaction.commit().await.map_err(|e| server_error(e, "create the publications"))
}

/// A partitioned table is published itself, so that partitions made later are seen, only where that publishes nothing
/// more than its partitions allow.
fn whole(parent: &SourceTable, tables: &[SourceTable], keyed: &dyn Fn(&SourceTable) -> bool) -> bool {
    let mut partitions = tables.iter().filter(|t| t.oid != parent.oid && t.ancestors.contains(&parent.oid));
    partitions.all(|t| t.publishable && keyed(t) == keyed(parent))
}

/// Sets REPLICA IDENTITY FULL and writes down what was there. Never makes the application wait long for the lock.
async fn set_identity_full(source: &mut Client, task_id: i64, table: &SourceTable) -> Result<()> {
    let doing = format!("set the replica identity of table \"{}\"", table.table);
    for attempt in 0.. {
        let transaction = source.transaction().await.map_err(|e| server_error(e, &doing))?;
        let sql = format!("SET LOCAL lock_timeout = '500ms'; ALTER TABLE ONLY {} REPLICA IDENTITY FULL", table.table.quoted());
        match transaction.batch_execute(&sql).await {
            Ok(()) => {
                let sql = "INSERT INTO pgrelay.replica_identity (task_id, table_oid, identity_before, index_before) \
                           VALUES ($1, $2, $3::text::\"char\", $4) ON CONFLICT DO NOTHING";
                transaction
                    .execute(sql, &[&task_id, &table.oid, &table.identity, &table.identity_index])
                    .await
                    .map_err(|e| server_error(e, &doing))?;
                return transaction.commit().await.map_err(|e| server_error(e, &doing));
            }
            Err(e) if e.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) && attempt < 60 => {
                drop(transaction);
                tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            }
            Err(e) => return Err(server_error(e, &doing).object(table.table.to_string())),
        }
    }
    Err(Error::new(Kind::Internal, "unreachable end of a retry loop"))
}

/// Takes the publications away and puts the replica identities back.
pub async fn remove(source: &mut Client, task_id: i64, names: &Names) -> Result<()> {
    for name in [&names.publication, &names.publication_insert_only] {
        let sql = format!("DROP PUBLICATION IF EXISTS {}", quote_ident(name));
        source.batch_execute(&sql).await.map_err(|e| server_error(e, "drop a publication"))?;
    }
    let sql = include_str!("../../../sql/query/source/changed_identities.sql");
    let rows = source.query(sql, &[&task_id]).await.map_err(|e| server_error(e, "read the changed replica identities"))?;
    for row in rows {
        let (oid, table): (u32, Option<String>) = (row.get("table_oid"), row.get("table_name"));
        let doing = "put a replica identity back";
        let transaction = source.transaction().await.map_err(|e| server_error(e, doing))?;
        if let Some(table) = table {
            let clause: String = row.get("clause");
            let sql = format!("SET LOCAL lock_timeout = '10s'; ALTER TABLE ONLY {table} REPLICA IDENTITY {clause}");
            transaction.batch_execute(&sql).await.map_err(|e| server_error(e, doing).object(table))?;
        }
        let sql = "DELETE FROM pgrelay.replica_identity WHERE task_id = $1 AND table_oid = $2";
        transaction.execute(sql, &[&task_id, &oid]).await.map_err(|e| server_error(e, doing))?;
        transaction.commit().await.map_err(|e| server_error(e, doing))?;
    }
    Ok(())
}
