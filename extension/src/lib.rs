//! The SQL face of pgrelay on the source: validates, stores, plans from the live catalogs, notifies.
//!
//! It never connects anywhere and never blocks on the network. What CREATE EXTENSION makes besides these functions stands in
//! `sql/install/`; SPI is in `store` alone.

use pgrx::prelude::*;

mod ask;
mod conflict;
mod direction;
mod lsn;
mod plan;
mod plugin;
mod report;
mod request;
mod store;
mod task;
mod wait;

::pgrx::pg_module_magic!();

/// Tells pgrx's generator that the schema, which `schema.sql` makes, exists; it holds nothing.
#[pg_schema]
mod pgrelay {}

extension_sql_file!("../../sql/install/schema.sql", name = "schema", bootstrap);
extension_sql_file!("../../sql/install/roles.sql", name = "roles");
extension_sql_file!("../../sql/install/tables.sql", name = "tables", requires = ["roles"]);
extension_sql_file!("../../sql/install/conflict.sql", name = "conflict_tables", requires = ["tables"]);
extension_sql_file!("../../sql/install/keep_identity.sql", name = "keep_identity", requires = ["tables"]);
extension_sql_file!("../../sql/install/tell_rewrite.sql", name = "tell_rewrite", requires = ["tables"]);
extension_sql_file!("../../sql/install/attached.sql", name = "attached", requires = ["tables"]);
extension_sql_file!("../../sql/install/views/task_status.sql", name = "task_status", requires = ["attached"]);
extension_sql_file!("../../sql/install/views/table_status.sql", name = "table_status", requires = ["attached"]);
extension_sql_file!("../../sql/install/views/finding.sql", name = "finding", requires = ["attached"]);
extension_sql_file!("../../sql/install/views/event.sql", name = "event", requires = ["attached"]);
extension_sql_file!("../../sql/install/views/applier.sql", name = "applier", requires = ["attached"]);
extension_sql_file!("../../sql/install/views/conflict.sql", name = "conflict", requires = ["conflict_tables"]);
extension_sql_file!("../../sql/install/views/conflict_count.sql", name = "conflict_count", requires = ["conflict_tables"]);
extension_sql_file!("../../sql/install/views/conflict_policy.sql", name = "conflict_policy", requires = ["conflict_tables"]);
extension_sql_file!("../../sql/install/views/interleaved_sequence.sql", name = "interleaved_sequence", requires = ["conflict_tables"]);
extension_sql_file!("../../sql/install/views/conflict_option.sql", name = "conflict_option", requires = ["conflict_tables"]);
extension_sql_file!(
    "../../sql/install/functions.sql",
    name = "functions",
    requires = [
        task::create_task,
        task::start_task,
        task::start_new_task,
        task::pause_task,
        task::resume_task,
        task::stop_task,
        task::drop_task,
        task::alter_task,
        wait::wait_for_state,
        wait::wait_for_catchup,
        wait::precheck,
        wait::verify_schema,
        ask::undo_conflict,
        ask::interleave_sequences,
        plan::dependency_order,
        plan::schema_ddl,
        conflict::set_conflict_policy,
        conflict::set_conflict_option,
        conflict::skip_transaction,
    ]
);
extension_sql_file!(
    "../../sql/install/grants.sql",
    name = "grants",
    finalize,
    requires = [
        "task_status",
        "table_status",
        "finding",
        "event",
        "applier",
        "conflict",
        "conflict_count",
        "conflict_policy",
        "conflict_option",
        "interleaved_sequence",
        "functions",
        "keep_identity",
        "tell_rewrite",
    ]
);
