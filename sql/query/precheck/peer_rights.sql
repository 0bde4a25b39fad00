-- What applying needs of the peer: rights, origins, roles, extensions, tablespaces, event triggers. No parameters; one row, one JSON value.
SELECT pg_catalog.jsonb_build_object(
        'set_replication_role', pg_catalog.has_parameter_privilege('session_replication_role', 'SET'),
        'functions', (
            SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                'signature', f.signature,
                'execute', pg_catalog.has_function_privilege(f.signature, 'EXECUTE')))
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
                ('pg_catalog.pg_show_replication_origin_status()')) f (signature)),
        'origins', coalesce((SELECT pg_catalog.jsonb_agg(o.roname) FROM pg_catalog.pg_replication_origin o), '[]'),
        'origin_limit_setting', CASE WHEN pg_catalog.current_setting('server_version_num')::integer >= 180000
            THEN 'max_active_replication_origins' ELSE 'max_replication_slots' END,
        'origin_limit', coalesce(
            pg_catalog.current_setting('max_active_replication_origins', true),
            pg_catalog.current_setting('max_replication_slots'))::bigint,
        'roles', (
            SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                'name', r.rolname,
                -- To give an object away one must be able to SET ROLE to its new owner.
                'can_set', pg_catalog.pg_has_role(r.oid,
                    CASE WHEN pg_catalog.current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END)))
            FROM pg_catalog.pg_roles r),
        'extensions', coalesce((
            SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                'name', coalesce(a.name, e.extname),
                'default_version', a.default_version,
                'installed_version', e.extversion,
                'creatable', coalesce(NOT v.superuser OR v.trusted, false)
                    OR (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = CURRENT_USER)))
            FROM pg_catalog.pg_available_extensions a
            LEFT JOIN pg_catalog.pg_available_extension_versions v ON v.name = a.name AND v.version = a.default_version
            FULL JOIN pg_catalog.pg_extension e ON e.extname = a.name), '[]'),
        'max_prepared_transactions', pg_catalog.current_setting('max_prepared_transactions')::bigint,
        'large_objects', EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata),
        'tablespaces', (
            SELECT coalesce(pg_catalog.jsonb_agg(t.spcname), '[]')
            FROM pg_catalog.pg_tablespace t
            WHERE pg_catalog.has_tablespace_privilege(t.oid, 'CREATE')),
        'event_triggers', coalesce((
            SELECT pg_catalog.jsonb_agg(t.evtname ORDER BY t.evtname)
            FROM pg_catalog.pg_event_trigger t
            WHERE t.evtenabled <> 'D'
                AND NOT EXISTS (
                    SELECT FROM pg_catalog.pg_depend d
                    JOIN pg_catalog.pg_extension x ON x.oid = d.refobjid
                    WHERE d.classid = 'pg_catalog.pg_event_trigger'::pg_catalog.regclass
                        AND d.objid = t.oid
                        AND d.deptype = 'e'
                        AND x.extname = 'pgrelay')), '[]'),
        'own_schema', CASE
            WHEN s.oid IS NULL THEN 'absent'
            WHEN pg_catalog.pg_has_role(s.nspowner, 'USAGE') THEN 'usable'
            ELSE 'forbidden'
        END)
FROM (SELECT) one
LEFT JOIN pg_catalog.pg_namespace s ON s.nspname = 'pgrelay_peer';
