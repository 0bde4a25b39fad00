-- Who may do what. PUBLIC may do nothing.

REVOKE ALL ON SCHEMA pgrelay FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA pgrelay FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA pgrelay FROM PUBLIC;
GRANT USAGE ON SCHEMA pgrelay TO pgrelay_admin, pgrelay_monitor, pgrelay_applier;

GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA pgrelay TO pgrelay_admin;
GRANT EXECUTE ON FUNCTION pgrelay.session_lives, pgrelay.applier_attached, pgrelay.wait_for_state, pgrelay.dependency_order,
    pgrelay.schema_ddl TO pgrelay_monitor;

-- The applier: reads everything, writes what names it as writer.
GRANT SELECT ON ALL TABLES IN SCHEMA pgrelay TO pgrelay_applier;
GRANT DELETE ON pgrelay.task TO pgrelay_applier;
GRANT INSERT, UPDATE, DELETE ON
    pgrelay.task_actual, pgrelay.table_state, pgrelay.task_finding, pgrelay.replica_identity, pgrelay.lease, pgrelay.applier_instance
    TO pgrelay_applier;
GRANT INSERT ON pgrelay.task_event, pgrelay.schema_difference TO pgrelay_applier;
GRANT INSERT, DELETE ON pgrelay.task_conflict, pgrelay.task_conflict_count TO pgrelay_applier;
GRANT INSERT, UPDATE, DELETE ON pgrelay.task_sequence TO pgrelay_applier;
GRANT UPDATE (answered_at, error_sqlstate, error_message, error_hint) ON pgrelay.request TO pgrelay_applier;

-- A dump holds what users made and what happened. Where it is restored the tasks' identity differs, and no applier goes on with them.
SELECT pg_catalog.pg_extension_config_dump('pgrelay.task', '');
SELECT pg_catalog.pg_extension_config_dump('pgrelay.task_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('pgrelay.task_policy', '');
SELECT pg_catalog.pg_extension_config_dump('pgrelay.task_conflict_option', '');
SELECT pg_catalog.pg_extension_config_dump('pgrelay.task_event', '');
SELECT pg_catalog.pg_extension_config_dump('pgrelay.task_event_id_seq', '');
