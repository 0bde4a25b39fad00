//! Gathers the facts of the precheck by SQL on both sides; `pgrelay_core::precheck` judges them.
//!
//! Each query of `sql/query/precheck/` takes no parameter and returns one JSON value, so a DBA can run it in psql and see
//! what the rules saw. The queries of a side are sent at once. Nothing here decides, and nothing is changed.

use std::collections::BTreeSet;

use pgrelay_core::{
    error::{Error, Kind, Result},
    name::Selection,
    precheck::{
        ExtensionInUse, OwnSchema, PeerFacts, PeerObject, PeerRights, PeerTableFacts, ReplicationFacts, ReverseFacts, RoleNeeded,
        SchemaFacts, SequenceFacts, ServerFacts, SourceFacts, TableFacts, Unreachable,
    },
    task::Names,
};
use serde::{Deserialize, de::DeserializeOwned};
use tokio_postgres::{Client, types::Json};

use crate::pg::server_error;

macro_rules! query {
    ($name:literal) => {
        include_str!(concat!("../../../sql/query/precheck/", $name, ".sql"))
    };
}

/// Majors before this lack functions that the queries call; 140000 is PostgreSQL 14.
const OLDEST_VERSION_NUM: i32 = 150000;

#[derive(Deserialize)]
struct SourceTables {
    tables: Vec<TableFacts>,
    sequences: Vec<SequenceFacts>,
}

#[derive(Deserialize)]
struct SourceRoles {
    roles: Vec<RoleInSchema>,
    extensions: Vec<ExtensionInUse>,
}

/// One role's objects in one schema; a missing name is the schema itself.
#[derive(Deserialize)]
struct RoleInSchema {
    role: String,
    owns: bool,
    schema: String,
    names: Vec<Option<String>>,
}

#[derive(Deserialize)]
struct PeerThings {
    objects: Vec<PeerObject>,
    schemas: Vec<SchemaFacts>,
    tables: Vec<PeerTableFacts>,
}

#[derive(Deserialize)]
struct PeerMarks {
    made: Vec<(String, String)>,
    copied: Vec<(String, String, String)>,
}

/// Gathers the facts of the source, narrowed to what is selected.
///
/// `client` is a plain connection as the applier's role; the queries change nothing.
///
/// Errors: `NotSupported` for a server before 15; `Connection` when it breaks; else what the server said, with its SQLSTATE.
pub async fn gather_source(client: &Client, selection: &Selection, names: &Names) -> Result<SourceFacts> {
    let server = server(client, "source").await?;
    let (replication, tables, roles) = tokio::try_join!(
        ask::<ReplicationFacts>(client, query!("source_replication"), "source"),
        ask::<SourceTables>(client, query!("source_tables"), "source"),
        ask::<SourceRoles>(client, query!("source_roles"), "source"),
    )?;
    let SourceTables { mut tables, mut sequences } = tables;
    tables.retain(|t| selection.matches(&t.schema, &t.name));
    sequences.retain(|s| selection.matches(&s.schema, &s.name));
    let schemas: BTreeSet<&str> = tables.iter().map(|t| t.schema.as_str()).chain(sequences.iter().map(|s| s.schema.as_str())).collect();
    Ok(SourceFacts {
        server,
        replication: ReplicationFacts { own_slot: names.slot.clone(), ..replication },
        roles: roles_needed(&roles.roles, selection, &schemas),
        extensions: roles.extensions,
        tables,
        sequences,
    })
}

/// Roles of selected objects and of the schemas in which something is selected, owners first noted as owners.
fn roles_needed(roles: &[RoleInSchema], selection: &Selection, schemas: &BTreeSet<&str>) -> Vec<RoleNeeded> {
    let mut needed: Vec<RoleNeeded> = Vec::new();
    for in_schema in roles {
        let selected = |name: &Option<String>| match name {
            Some(name) => selection.matches(&in_schema.schema, name),
            None => schemas.contains(in_schema.schema.as_str()) || selection.matches(&in_schema.schema, ""),
        };
        if !in_schema.names.iter().any(selected) {
            continue;
        }
        match needed.iter_mut().find(|r| r.name == in_schema.role) {
            Some(role) => role.owns |= in_schema.owns,
            None => needed.push(RoleNeeded { name: in_schema.role.clone(), owns: in_schema.owns }),
        }
    }
    needed
}

/// Gathers the facts of the peer. `task_key` is the name of the task's replication origin (`Names::origin`).
///
/// The session's search_path should be empty, so that the types in the names of routines are qualified as in the plan.
///
/// Errors: as `gather_source`.
pub async fn gather_peer(client: &Client, task_key: &str) -> Result<PeerFacts> {
    let server = server(client, "peer").await?;
    let (rights, things) = tokio::try_join!(
        ask::<PeerRights>(client, query!("peer_rights"), "peer"),
        ask::<PeerThings>(client, query!("peer_objects"), "peer"),
    )?;
    let marks = match rights.own_schema {
        OwnSchema::Usable => ask::<PeerMarks>(client, query!("peer_marks"), "peer").await?,
        OwnSchema::Absent | OwnSchema::Forbidden => PeerMarks { made: vec![], copied: vec![] },
    };
    Ok(PeerFacts {
        server,
        rights,
        objects: things.objects,
        schemas: things.schemas,
        tables: things.tables,
        made: marks.made.into_iter().filter(|(key, _)| key == task_key).map(|(_, identity)| identity).collect(),
        copied: marks.copied.into_iter().filter(|(key, ..)| key == task_key).map(|(_, schema, name)| (schema, name)).collect(),
        own_origin: task_key.to_owned(),
    })
}

/// Gathers what the reverse direction of a two-way task needs. `names`: of that direction.
///
/// Errors: as `gather_source`.
pub async fn gather_reverse(source: &Client, peer: &Client, selection: &Selection, names: &Names) -> Result<ReverseFacts> {
    let (replication, tables, rights) = tokio::try_join!(
        ask::<ReplicationFacts>(peer, query!("source_replication"), "peer"),
        ask::<SourceTables>(peer, query!("source_tables"), "peer"),
        ask::<PeerRights>(source, query!("peer_rights"), "source"),
    )?;
    let mut tables = tables.tables;
    tables.retain(|t| selection.matches(&t.schema, &t.name));
    Ok(ReverseFacts { replication: ReplicationFacts { own_slot: names.slot.clone(), ..replication }, tables, rights })
}

/// What the precheck says of a peer that could not be asked: the error of connecting, or of `gather_peer`.
pub fn unreachable(error: &Error) -> Unreachable {
    Unreachable { message: error.to_string(), hint: error.hint.clone() }
}

async fn server(client: &Client, side: &str) -> Result<ServerFacts> {
    let version = ask::<i32>(client, "SELECT pg_catalog.to_jsonb(pg_catalog.current_setting('server_version_num')::integer)", side).await?;
    if version < OLDEST_VERSION_NUM {
        return Err(Error::new(
            Kind::NotSupported,
            format!("the {side} runs PostgreSQL {}, which pgrelay does not support", version / 10000),
        )
        .hint(format!("Upgrade the {side} to PostgreSQL 15 or later.")));
    }
    ask(client, query!("server"), side).await
}

/// Runs a query that returns one JSON value.
async fn ask<T: DeserializeOwned>(client: &Client, sql: &str, side: &str) -> Result<T> {
    let doing = format!("cannot look at the {side}");
    let row = client.query_one(sql, &[]).await.map_err(|e| server_error(e, &doing))?;
    row.try_get::<_, Json<T>>(0).map(|Json(facts)| facts).map_err(|e| server_error(e, &doing))
}
