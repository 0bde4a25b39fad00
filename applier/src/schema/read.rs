//! The catalog of a database, in one snapshot.

use pgrelay_core::{
    Result,
    catalog::{Catalog, QUERIES, SETTINGS},
    error::{Error, Kind},
    name::{quote_ident, quote_literal},
};
use tokio_postgres::Client;

use crate::pg::server_error;

const DOING: &str = "cannot read the catalog";

/// Reads everything that a plan needs, in a transaction of its own: `source`, or the peer, must not be in one.
pub async fn read_catalog(source: &Client) -> Result<Catalog> {
    source.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await.map_err(|e| server_error(e, DOING))?;
    let read = read(source).await;
    let end = source.batch_execute("ROLLBACK").await.map_err(|e| server_error(e, DOING));
    let catalog = read?;
    end?;
    Ok(catalog)
}

async fn read(source: &Client) -> Result<Catalog> {
    let set = |(name, value): &(&str, &str)| format!("SET LOCAL {} = {};", quote_ident(name), quote_literal(value));
    let settings: String = SETTINGS.iter().map(set).collect();
    source.batch_execute(&settings).await.map_err(|e| server_error(e, DOING))?;
    let mut catalog = Catalog::default();
    for (name, sql) in QUERIES {
        let row = source.query_one(*sql, &[]).await.map_err(|e| server_error(e, &format!("{DOING} ({name})")))?;
        let json: &str = row
            .try_get(0)
            .map_err(|e| Error::new(Kind::Internal, format!("the catalog query \"{name}\" returned no text")).caused_by(e))?;
        catalog.add(name, json)?;
    }
    Ok(catalog)
}
