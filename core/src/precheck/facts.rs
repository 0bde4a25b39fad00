//! What the rules look at: plain data about both servers, as the queries of `sql/query/precheck/` return it.
//!
//! Who gathers them decides nothing; who judges them asks nothing. Lists are already narrowed to what the task selects.

use std::collections::{BTreeSet, HashMap};

use serde::Deserialize;

use crate::{
    conflict::Rules,
    name::TableName,
    plan::Plan,
    task::{Options, Reverse},
};

/// Everything a precheck knows.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The source; without it there is no precheck.
    pub source: SourceFacts,
    /// The peer, or why it could not be asked.
    pub peer: Result<PeerFacts, Unreachable>,
    /// The task's options.
    pub options: Options,
    /// How its conflicts are decided.
    pub rules: Rules,
    /// Where the task was made; `None` before there is one.
    pub lineage: Option<Lineage>,
    /// Sequences that give other values on each side, by schema and name.
    pub interleaved: BTreeSet<(String, String)>,
    /// What the reverse direction needs; none of a one-way task, or of a peer that could not be asked.
    pub reverse: Option<ReverseFacts>,
    /// What the task is about to create on the peer; empty without the schema stage.
    pub plan: PlanFacts,
}

/// What the reverse direction of a two-way task needs.
#[derive(Debug, Clone)]
pub struct ReverseFacts {
    /// Of the peer, what a stream needs; `own_slot` is the reverse direction's.
    pub replication: ReplicationFacts,
    /// Of the peer, selected tables that are there.
    pub tables: Vec<TableFacts>,
    /// Of the source, what applying needs.
    pub rights: PeerRights,
}

/// Why the peer could not be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreachable {
    /// Lower case, no full stop, without secrets.
    pub message: String,
    /// A sentence that says what to do.
    pub hint: Option<String>,
}

/// Which database a task belongs to, as its row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lineage {
    /// `pg_control_system().system_identifier`.
    pub system_identifier: i64,
    /// `pg_database.oid`.
    pub database_oid: u32,
    /// The timeline that the source writes.
    pub timeline: i32,
}

/// What is asked of either side (`server.sql`).
#[derive(Debug, Clone, Deserialize)]
pub struct ServerFacts {
    /// `server_version_num`: 150004.
    pub version_num: i32,
    /// `server_version`: 15.4 (Debian …).
    pub version: String,
    /// `pg_control_system().system_identifier`.
    pub system_identifier: i64,
    /// `pg_database.oid`.
    pub database_oid: u32,
    /// Its name, unquoted.
    pub database: String,
    /// The timeline that is being written; on a standby the one of the last checkpoint.
    pub timeline: i32,
    /// The server replays the WAL of another.
    pub in_recovery: bool,
    /// `transaction_read_only` of the session that asked.
    pub read_only: bool,
    /// Name of the database's encoding: UTF8.
    pub encoding: String,
    /// `datcollate`.
    pub collate: String,
    /// `datctype`.
    pub ctype: String,
    /// `libc`, `icu` or `builtin`.
    pub locale_provider: String,
    /// Locale of the providers icu and builtin.
    pub locale: Option<String>,
    /// The setting as the database has it; `None` where the session that asked has set it.
    pub lc_monetary: Option<String>,
    /// The setting.
    pub track_commit_timestamp: bool,
    /// The setting.
    pub max_connections: i64,
    /// Connections kept back from the role that asked.
    pub reserved_connections: i64,
    /// Connections in use now, in all databases.
    pub used_connections: i64,
    /// `datconnlimit`, -1 for none.
    pub database_connection_limit: i64,
    /// Connections to this database now.
    pub database_connections: i64,
    /// The role that asked.
    pub role: RoleFacts,
}

impl ServerFacts {
    /// 15 of 150004.
    pub fn major(&self) -> i32 {
        self.version_num / 10000
    }
}

/// The role that the applier works as.
#[derive(Debug, Clone, Deserialize)]
pub struct RoleFacts {
    /// Unquoted.
    pub name: String,
    /// Bypasses all checks of rights.
    pub superuser: bool,
    /// REPLICATION, or what a managed service has in its place.
    pub replication: bool,
    /// BYPASSRLS.
    pub bypass_rls: bool,
    /// CREATE on the database.
    pub create_in_database: bool,
}

/// Facts of the source.
#[derive(Debug, Clone)]
pub struct SourceFacts {
    /// The server and the role.
    pub server: ServerFacts,
    /// What the stream needs.
    pub replication: ReplicationFacts,
    /// Selected tables, partitioned and foreign ones included.
    pub tables: Vec<TableFacts>,
    /// Selected sequences.
    pub sequences: Vec<SequenceFacts>,
    /// Roles that own, or have rights on, something selected.
    pub roles: Vec<RoleNeeded>,
    /// Extensions of the database.
    pub extensions: Vec<ExtensionInUse>,
}

/// What the stream needs of the source (`source_replication.sql`).
#[derive(Debug, Clone, Deserialize)]
pub struct ReplicationFacts {
    /// The setting.
    pub wal_level: String,
    /// The setting.
    pub max_replication_slots: i64,
    /// Every slot of the server.
    pub slots: Vec<SlotFacts>,
    /// The setting.
    pub max_wal_senders: i64,
    /// Process ids of the walsenders at work.
    pub walsenders: Vec<i32>,
    /// In megabytes, -1 for no limit.
    pub max_slot_wal_keep_size: i64,
    /// In milliseconds, 0 for none.
    pub wal_sender_timeout: i64,
    /// The setting.
    pub synchronous_standby_names: String,
    /// In seconds, from 18 on; 0 for none.
    pub idle_replication_slot_timeout: Option<i64>,
    /// The setting.
    pub max_prepared_transactions: i64,
    /// Prepared transactions of any database.
    pub prepared: Vec<PreparedFacts>,
    /// Transactions of any database that hold a transaction id, as far as the role may see them.
    pub transactions: Vec<TransactionFacts>,
    /// The role sees what other roles' sessions do.
    pub sees_all_sessions: bool,
    /// Large objects in the database.
    pub large_objects: i64,
    /// Those that the role may not read.
    pub large_objects_unreadable: i64,
    /// Membership in `pgrelay_applier`; `None` when there is no such role.
    pub applier_member: Option<bool>,
    /// The slot of this task, set by who gathers.
    #[serde(default)]
    pub own_slot: String,
}

/// A replication slot.
#[derive(Debug, Clone, Deserialize)]
pub struct SlotFacts {
    /// Its name.
    pub name: String,
    /// Who uses it now.
    pub active_pid: Option<i32>,
}

/// A prepared transaction.
#[derive(Debug, Clone, Deserialize)]
pub struct PreparedFacts {
    /// Its identifier.
    pub gid: String,
    /// Its database.
    pub database: String,
    /// Seconds since it was prepared.
    pub age: i64,
}

/// An open transaction.
#[derive(Debug, Clone, Deserialize)]
pub struct TransactionFacts {
    /// Process id of its backend.
    pub pid: i32,
    /// Its database.
    pub database: Option<String>,
    /// Seconds since it began.
    pub age: i64,
}

/// A selected table of the source (`source_tables.sql`).
#[derive(Debug, Clone, Deserialize)]
pub struct TableFacts {
    /// Unquoted.
    pub schema: String,
    /// Unquoted.
    pub name: String,
    /// `relkind`: r, p or f.
    pub kind: char,
    /// `relpersistence`: p or u.
    pub persistence: char,
    /// `relreplident`: d, i, f or n.
    pub replica_identity: char,
    /// A primary key that can identify rows: valid and not deferrable.
    pub primary_key: bool,
    /// The index of `REPLICA IDENTITY USING INDEX` is there and valid.
    pub identity_index: bool,
    /// A unique index that could become the replica identity.
    pub candidate_index: Option<String>,
    /// Owner, unquoted.
    pub owner: String,
    /// The owner is a superuser: nobody should be made a member of it.
    pub owner_superuser: bool,
    /// The role has the owner's rights.
    pub owned: bool,
    /// USAGE on the schema.
    pub schema_usage: bool,
    /// SELECT on the table.
    pub select: bool,
    /// Row security hides rows from the role.
    pub row_security_active: bool,
    /// ENABLE ROW LEVEL SECURITY.
    pub row_security: bool,
    /// FORCE ROW LEVEL SECURITY.
    pub row_security_forced: bool,
    /// Tablespace other than the database's.
    pub tablespace: Option<String>,
    /// Has a column of type money.
    pub money: bool,
    /// Triggers ENABLE ALWAYS or REPLICA.
    pub replica_triggers: Vec<ReplicaTrigger>,
    /// What makes rows meet otherwise than by the key: other keys, deferrable ones, foreign keys that change rows.
    pub risks: Vec<String>,
    /// Other tables that its foreign keys refer to, each as schema and name.
    pub references: Vec<(String, String)>,
    /// The partitioned tables that it is a partition of, each as schema and name.
    pub parents: Vec<(String, String)>,
}

impl TableFacts {
    /// Whether the reverse direction of a two-way task carries it.
    pub fn is_carried_by(&self, reverse: &Reverse) -> bool {
        reverse.carries((&self.schema, &self.name), self.parents.iter().map(|(schema, name)| (schema.as_str(), name.as_str())))
    }
}

/// A trigger that fires on replicated changes too.
#[derive(Debug, Clone, Deserialize)]
pub struct ReplicaTrigger {
    /// Unquoted.
    pub name: String,
    /// ENABLE ALWAYS; otherwise ENABLE REPLICA.
    pub always: bool,
}

/// A selected sequence of the source (`source_tables.sql`).
#[derive(Debug, Clone, Deserialize)]
pub struct SequenceFacts {
    /// Unquoted.
    pub schema: String,
    /// Unquoted.
    pub name: String,
    /// USAGE on the schema.
    pub schema_usage: bool,
    /// SELECT on the sequence.
    pub select: bool,
}

/// A role that something selected needs on the peer (`source_roles.sql`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleNeeded {
    /// Unquoted.
    pub name: String,
    /// It owns something; otherwise it is granted something, or a policy names it.
    pub owns: bool,
}

/// An extension of the source's database (`source_roles.sql`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ExtensionInUse {
    /// Its name.
    pub name: String,
    /// `extversion`.
    pub version: String,
}

/// Facts of the peer.
#[derive(Debug, Clone)]
pub struct PeerFacts {
    /// The server and the role.
    pub server: ServerFacts,
    /// What applying needs.
    pub rights: PeerRights,
    /// What is there: schemas, relations, types, routines.
    pub objects: Vec<PeerObject>,
    /// Schemas, with the right to create in them.
    pub schemas: Vec<SchemaFacts>,
    /// Tables outside the system's schemas.
    pub tables: Vec<PeerTableFacts>,
    /// Identities of plan items that this task has made in an earlier run.
    pub made: BTreeSet<String>,
    /// Tables whose rows this task has copied in an earlier run, as (schema, name).
    pub copied: BTreeSet<(String, String)>,
    /// The replication origin of this task, set by who gathers.
    pub own_origin: String,
}

impl PeerFacts {
    /// The tables by schema and name: rules that look each selected table up stay linear.
    pub(super) fn tables_by_name(&self) -> HashMap<(&str, &str), &PeerTableFacts> {
        self.tables.iter().map(|t| ((t.schema.as_str(), t.name.as_str()), t)).collect()
    }
}

/// What applying needs of the peer (`peer_rights.sql`).
#[derive(Debug, Clone, Deserialize)]
pub struct PeerRights {
    /// SET on `session_replication_role`.
    pub set_replication_role: bool,
    /// The origin functions, with EXECUTE on each.
    pub functions: Vec<FunctionRight>,
    /// Names of the server's replication origins.
    pub origins: Vec<String>,
    /// `max_replication_slots`, or `max_active_replication_origins` from 18 on.
    pub origin_limit_setting: String,
    /// Its value.
    pub origin_limit: i64,
    /// Every role of the server.
    pub roles: Vec<PeerRole>,
    /// Extensions that the server can create or has.
    pub extensions: Vec<ExtensionFacts>,
    /// The setting.
    pub max_prepared_transactions: i64,
    /// The database holds large objects.
    pub large_objects: bool,
    /// Tablespaces in which the role may create.
    pub tablespaces: BTreeSet<String>,
    /// Event triggers that are not disabled and not pgrelay's.
    pub event_triggers: Vec<String>,
    /// The schema `pgrelay_peer`.
    pub own_schema: OwnSchema,
}

/// State of the schema `pgrelay_peer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OwnSchema {
    /// It will be made.
    Absent,
    /// It is there, and the role has its owner's rights.
    Usable,
    /// It is there and belongs to a role whose rights this one does not have.
    Forbidden,
}

/// EXECUTE on a function.
#[derive(Debug, Clone, Deserialize)]
pub struct FunctionRight {
    /// As GRANT takes it.
    pub signature: String,
    /// The role may call it.
    pub execute: bool,
}

/// A role of the peer.
#[derive(Debug, Clone, Deserialize)]
pub struct PeerRole {
    /// Unquoted.
    pub name: String,
    /// The applier's role may make it an owner.
    pub can_set: bool,
}

/// An extension as the peer has it or could have it.
#[derive(Debug, Clone, Deserialize)]
pub struct ExtensionFacts {
    /// Its name.
    pub name: String,
    /// Version that CREATE EXTENSION takes; `None` when its files are gone.
    pub default_version: Option<String>,
    /// Version in the peer's database.
    pub installed_version: Option<String>,
    /// The role may create it: superuser, or a trusted one, or one that needs no superuser.
    pub creatable: bool,
}

/// A schema of the peer (`peer_objects.sql`).
#[derive(Debug, Clone, Deserialize)]
pub struct SchemaFacts {
    /// Unquoted.
    pub name: String,
    /// CREATE and USAGE on it.
    pub create: bool,
}

/// An object by its kind and its identity within the kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectFacts {
    /// In PostgreSQL's words, as `plan::Item::kind`: `table`, `materialized view`, `function`.
    pub kind: String,
    /// `schema.name`, unquoted; of a routine with its argument types, `schema.name(integer, text)`; of a schema its name.
    pub name: String,
}

/// An object of the peer (`peer_objects.sql`).
#[derive(Debug, Clone, Deserialize)]
pub struct PeerObject {
    /// As in `ObjectFacts`.
    pub kind: String,
    /// As in `ObjectFacts`.
    pub name: String,
    /// The name as DROP takes it.
    pub quoted: String,
}

/// A table of the peer (`peer_objects.sql`).
#[derive(Debug, Clone, Deserialize)]
pub struct PeerTableFacts {
    /// Unquoted.
    pub schema: String,
    /// Unquoted.
    pub name: String,
    /// Which of SELECT, INSERT, UPDATE, DELETE, TRUNCATE the role lacks.
    pub lacks: Vec<String>,
    /// USAGE on the schema.
    pub schema_usage: bool,
    /// Row security applies to the role.
    pub row_security_active: bool,
    /// Unquoted.
    pub owner: String,
    /// The role may take the owner's role.
    pub can_act: bool,
    /// Has pages on disk, so it may hold rows.
    pub has_pages: bool,
    /// Triggers ENABLE ALWAYS or REPLICA.
    pub replica_triggers: Vec<ReplicaTrigger>,
}

/// What the task is about to create on the peer.
#[derive(Debug, Clone, Default)]
pub struct PlanFacts {
    /// In the order of the plan.
    pub objects: Vec<ObjectFacts>,
    /// Roles that its DDL names, as owners, grantors, grantees or otherwise.
    pub roles: BTreeSet<String>,
    /// Tablespaces that its DDL names.
    pub tablespaces: BTreeSet<String>,
    /// Tables with rows to copy that the peer has and keeps; they are not among the objects.
    pub kept_tables: BTreeSet<TableName>,
}

impl PlanFacts {
    /// From the plan's items, whose identity is `kind name`; items that create nothing by a name of its own, such as grants, are harmless.
    pub fn from_plan(plan: &Plan) -> PlanFacts {
        let object = |item: &crate::plan::Item| {
            let name = item.identity.strip_prefix(item.kind.as_str())?.strip_prefix(' ')?;
            (!item.ddl.is_empty() || item.then.is_some()).then(|| ObjectFacts { kind: item.kind.clone(), name: name.to_owned() })
        };
        PlanFacts {
            objects: plan.items.iter().filter_map(object).collect(),
            roles: plan.roles(),
            tablespaces: plan.tablespaces().clone(),
            kept_tables: plan.kept_tables().clone(),
        }
    }
}

impl ObjectFacts {
    /// The identity of the plan's item.
    pub fn identity(&self) -> String {
        format!("{} {}", self.kind, self.name)
    }
}
