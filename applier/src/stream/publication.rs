//! The task's publications on the source.
//!
//! A table from which UPDATE and DELETE cannot be carried is never published for them: they would fail in the
//! application. So there are two publications, one of every change and one of INSERT and TRUNCATE only; together they
//! are the lasting list of the task's tables. They are made before the slot: a slot older than its publication cannot
//! be read.

use pgrelay_core::{
    Error, Result,
    error::Kind,
    name::{TableName, quote_ident},
    task::{Keyless, Names, Reverse},
};
use tokio_postgres::Client;

use super::{identity::Marks, patiently};
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
    /// It belongs to an extension, whose users keep rows in it.
    pub of_extension: bool,
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

impl SourceTable {
    /// Whether the reverse direction of a two-way task carries it; `all`: the tables among which its partitioned tables are.
    pub fn is_carried_by(&self, reverse: &Reverse, all: &[SourceTable]) -> bool {
        if reverse.selection.is_none() {
            return true;
        }
        let parents = all.iter().filter(|t| self.ancestors.contains(&t.oid)).map(|t| (t.table.schema.as_str(), t.table.name.as_str()));
        reverse.carries((&self.table.schema, &self.table.name), parents)
    }
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
        of_extension: row.get("of_extension"),
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
    /// Its oid.
    pub oid: u32,
    /// Updates and deletes are not carried.
    pub insert_only: bool,
}

/// Tables (not partitioned ones) in the task's publications; none when the publications do not exist.
pub async fn published(source: &Client, names: &Names) -> Result<Option<Vec<Published>>> {
    let doing = "read the publications";
    let sql = "SELECT p.pubname::text, p.pubowner = r.oid FROM pg_catalog.pg_publication p, pg_catalog.pg_roles r \
               WHERE p.pubname IN ($1, $2) AND r.rolname = current_user";
    let exist = source.query(sql, &[&names.publication, &names.publication_insert_only]).await.map_err(|e| server_error(e, doing))?;
    if let Some(foreign) = exist.iter().find(|p| !p.get::<_, bool>(1)) {
        let name: &str = foreign.get(0);
        return Err(Error::new(Kind::InsufficientPrivilege, format!("publication \"{name}\" belongs to another role than the applier's"))
            .object(name)
            .hint("Somebody else has made it under the task's name. Drop it, then call pgrelay.resume_task()."));
    }
    if exist.is_empty() {
        return Ok(None);
    }
    let rows =
        source.query(include_str!("../../../sql/query/source/published.sql"), &[&names.publication, &names.publication_insert_only]).await;
    let read = |row: &tokio_postgres::Row| Published {
        table: TableName::new(row.get::<_, &str>("schema_name"), row.get::<_, &str>("table_name")),
        oid: row.get("oid"),
        insert_only: row.get("insert_only"),
    };
    Ok(Some(rows.map_err(|e| server_error(e, doing))?.iter().map(read).collect()))
}

/// Makes the publications, once. With `Keyless::Full` the replica identities first.
/// `all`: every table of the source; `tables`: those of the task.
pub async fn create(
    source: &Client,
    task_id: i64,
    names: &Names,
    all: &[SourceTable],
    tables: &[SourceTable],
    keyless: Keyless,
) -> Result<()> {
    let keyed = |t: &SourceTable| t.usable || (keyless == Keyless::Full && !t.partitioned);
    if keyless == Keyless::Full {
        for table in tables.iter().filter(|t| t.publishable && !t.usable && !t.partitioned) {
            Marks::of_task(task_id).set_full(source, table).await?;
        }
    }
    let published = tables.iter().filter(|t| t.publishable && (!t.partitioned || whole(t, all, tables, &keyed)));
    create_of(source, names, published.map(|t| (t, !keyed(t)))).await
}

/// Makes the publications of these tables, once; of those with `true` updates and deletes are not carried.
pub async fn create_of<'a>(source: &Client, names: &Names, tables: impl Iterator<Item = (&'a SourceTable, bool)>) -> Result<()> {
    let (inserts, all): (Vec<_>, Vec<_>) = tables.partition(|(_, insert_only)| *insert_only);
    let mut sql = String::from("BEGIN; SET LOCAL lock_timeout = '500ms'; ");
    for (name, publish, tables) in
        [(&names.publication, "insert, update, delete, truncate", all), (&names.publication_insert_only, "insert, truncate", inserts)]
    {
        let name_of = |t: &SourceTable| if t.partitioned { t.table.quoted() } else { format!("ONLY {}", t.table.quoted()) };
        let list: Vec<String> = tables.iter().map(|(t, _)| name_of(t)).collect();
        let tables = if list.is_empty() { String::new() } else { format!(" FOR TABLE {}", list.join(", ")) };
        let name = quote_ident(name);
        sql += &format!("CREATE PUBLICATION {name}{tables} WITH (publish = '{publish}', publish_via_partition_root = false); ");
    }
    patiently(source, &(sql + "COMMIT"), "create the publications").await
}

/// A partitioned table is published itself, so that partitions made later are seen, only where that publishes nothing
/// more than the task wants and its partitions allow.
fn whole(parent: &SourceTable, all: &[SourceTable], tables: &[SourceTable], keyed: &dyn Fn(&SourceTable) -> bool) -> bool {
    let mut partitions = all.iter().filter(|t| t.oid != parent.oid && t.ancestors.contains(&parent.oid));
    partitions.all(|t| t.publishable && keyed(t) == keyed(parent) && tables.iter().any(|own| own.oid == t.oid))
}

/// Sets REPLICA IDENTITY FULL where a table that is published for every change has no identity: it may have lost it while
/// the publications were being made, or by a command whose snapshot did not show the task to the event trigger.
pub async fn keep_identities(source: &Client, task_id: i64, published: &[Published], all: &[SourceTable]) -> Result<()> {
    let every_change = published.iter().filter(|p| !p.insert_only);
    for table in every_change.filter_map(|p| all.iter().find(|t| t.oid == p.oid && !t.usable)) {
        Marks::of_task(task_id).set_full(source, table).await?;
    }
    Ok(())
}

/// Takes the publications away.
pub async fn remove(source: &Client, names: &Names) -> Result<()> {
    for name in [&names.publication, &names.publication_insert_only] {
        let sql = format!("BEGIN; SET LOCAL lock_timeout = '500ms'; DROP PUBLICATION IF EXISTS {}; COMMIT", quote_ident(name));
        patiently(source, &sql, "drop a publication").await?;
    }
    Ok(())
}
