-- Whether the role may use replication origins: EXECUTE on all the functions that docs/privileges.md names. No parameters; one boolean.
SELECT pg_catalog.bool_and(pg_catalog.has_function_privilege(f.signature, 'EXECUTE'))
FROM (VALUES
    ('pg_catalog.pg_replication_origin_create(text)'),
    ('pg_catalog.pg_replication_origin_drop(text)'),
    ('pg_catalog.pg_replication_origin_oid(text)'),
    ('pg_catalog.pg_replication_origin_progress(text, boolean)'),
    ('pg_catalog.pg_replication_origin_session_setup(text)'),
    ('pg_catalog.pg_replication_origin_session_reset()'),
    ('pg_catalog.pg_replication_origin_session_progress(boolean)'),
    ('pg_catalog.pg_replication_origin_xact_setup(pg_lsn, timestamptz)'),
    ('pg_catalog.pg_replication_origin_xact_reset()'),
    ('pg_catalog.pg_show_replication_origin_status()')) f (signature)
