-- The server, the database and the role that asks. Runs on both sides; no parameters; one row, one JSON value.
-- lc_monetary is null where the session itself set it, since then the server's own value is hidden.
SELECT pg_catalog.jsonb_build_object(
        'version_num', pg_catalog.current_setting('server_version_num')::integer,
        'version', pg_catalog.current_setting('server_version'),
        'system_identifier', (SELECT c.system_identifier FROM pg_catalog.pg_control_system() c),
        'database_oid', d.oid::bigint,
        'database', d.datname,
        'timeline', CASE WHEN pg_catalog.pg_is_in_recovery()
            THEN (SELECT c.timeline_id FROM pg_catalog.pg_control_checkpoint() c)
            ELSE ('x' || pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))::bit(32)::integer
        END,
        'in_recovery', pg_catalog.pg_is_in_recovery(),
        'read_only', pg_catalog.current_setting('transaction_read_only')::boolean,
        'encoding', pg_catalog.pg_encoding_to_char(d.encoding),
        'collate', d.datcollate,
        'ctype', d.datctype,
        'locale_provider', CASE d.datlocprovider WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' ELSE 'builtin' END,
        -- daticulocale in 15 and 16, datlocale from 17 on.
        'locale', coalesce(pg_catalog.to_jsonb(d) ->> 'datlocale', pg_catalog.to_jsonb(d) ->> 'daticulocale'),
        'lc_monetary', (SELECT s.setting FROM pg_catalog.pg_settings s
            WHERE s.name = 'lc_monetary' AND s.source NOT IN ('client', 'session')),
        'track_commit_timestamp', pg_catalog.current_setting('track_commit_timestamp')::boolean,
        'max_connections', pg_catalog.current_setting('max_connections')::bigint,
        'reserved_connections', CASE WHEN r.rolsuper THEN 0
            ELSE pg_catalog.current_setting('superuser_reserved_connections')::bigint
                + coalesce(pg_catalog.current_setting('reserved_connections', true)::bigint, 0)
        END,
        'used_connections', (SELECT pg_catalog.sum(s.numbackends)::bigint FROM pg_catalog.pg_stat_database s),
        'database_connection_limit', d.datconnlimit,
        'database_connections', (SELECT s.numbackends FROM pg_catalog.pg_stat_database s WHERE s.datid = d.oid),
        'role', pg_catalog.jsonb_build_object(
            'name', r.rolname,
            'superuser', r.rolsuper,
            'replication', r.rolreplication OR EXISTS (
                SELECT FROM pg_catalog.pg_roles m
                WHERE m.rolname = 'rds_replication' AND pg_catalog.pg_has_role(m.oid, 'USAGE')),
            'bypass_rls', r.rolbypassrls,
            'create_in_database', pg_catalog.has_database_privilege(d.oid, 'CREATE')))
FROM pg_catalog.pg_database d
CROSS JOIN pg_catalog.pg_roles r
WHERE d.datname = pg_catalog.current_database()
    AND r.rolname = CURRENT_USER;
