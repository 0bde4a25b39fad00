-- What identifies this database: system identifier, database, timeline.
SELECT s.system_identifier, d.oid, c.timeline_id
FROM pg_catalog.pg_control_system() s, pg_catalog.pg_control_checkpoint() c, pg_catalog.pg_database d
WHERE d.datname = pg_catalog.current_database()
