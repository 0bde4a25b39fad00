-- What identifies the database that the applier is connected to. The timeline is that of the WAL being written: the last
-- checkpoint's lags behind after a promotion.
SELECT s.system_identifier, d.oid AS database_oid,
       ('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8))::bit(32)::integer AS timeline
FROM pg_catalog.pg_control_system() s, pg_catalog.pg_database d
WHERE d.datname = pg_catalog.current_database()
