-- What identifies the database that the applier is connected to.
SELECT s.system_identifier, d.oid AS database_oid, c.timeline_id AS timeline, d.datname::text AS database_name
FROM pg_catalog.pg_control_system() s, pg_catalog.pg_control_checkpoint() c, pg_catalog.pg_database d
WHERE d.datname = pg_catalog.current_database()
