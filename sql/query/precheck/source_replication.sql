-- What a stream needs of the source. No parameters; one row, one JSON value.
-- Creating a slot waits for every transaction of the whole server that has an id, prepared ones included.
SELECT pg_catalog.jsonb_build_object(
        'wal_level', pg_catalog.current_setting('wal_level'),
        'max_replication_slots', pg_catalog.current_setting('max_replication_slots')::bigint,
        'slots', coalesce((
            SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('name', s.slot_name, 'active_pid', s.active_pid))
            FROM pg_catalog.pg_replication_slots s), '[]'),
        'max_wal_senders', pg_catalog.current_setting('max_wal_senders')::bigint,
        'walsenders', coalesce((
            SELECT pg_catalog.jsonb_agg(w.pid)
            FROM pg_catalog.pg_stat_get_wal_senders() w), '[]'),
        'max_slot_wal_keep_size', (SELECT s.setting::bigint FROM pg_catalog.pg_settings s WHERE s.name = 'max_slot_wal_keep_size'),
        'wal_sender_timeout', (SELECT s.setting::bigint FROM pg_catalog.pg_settings s WHERE s.name = 'wal_sender_timeout'),
        'synchronous_standby_names', pg_catalog.current_setting('synchronous_standby_names'),
        'idle_replication_slot_timeout', (
            SELECT s.setting::bigint * CASE s.unit WHEN 'min' THEN 60 ELSE 1 END
            FROM pg_catalog.pg_settings s
            WHERE s.name = 'idle_replication_slot_timeout'),
        'max_prepared_transactions', pg_catalog.current_setting('max_prepared_transactions')::bigint,
        'prepared', coalesce((
            SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                'gid', p.gid,
                'database', p.database,
                'age', pg_catalog.floor(EXTRACT(epoch FROM pg_catalog.clock_timestamp() - p.prepared))::bigint) ORDER BY p.prepared)
            FROM pg_catalog.pg_prepared_xacts p), '[]'),
        'transactions', coalesce((
            SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                'pid', a.pid,
                'database', a.datname,
                'age', pg_catalog.floor(EXTRACT(epoch FROM pg_catalog.clock_timestamp() - a.xact_start))::bigint) ORDER BY a.xact_start)
            FROM pg_catalog.pg_stat_activity a
            WHERE a.backend_xid IS NOT NULL
                AND a.xact_start IS NOT NULL
                AND a.pid <> pg_catalog.pg_backend_pid()), '[]'),
        'sees_all_sessions', pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE'),
        'large_objects', (SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata),
        'large_objects_unreadable', (
            SELECT pg_catalog.count(*)
            FROM pg_catalog.pg_largeobject_metadata m
            WHERE NOT pg_catalog.pg_has_role(m.lomowner, 'USAGE')
                AND pg_catalog.current_setting('lo_compat_privileges') <> 'on'
                AND NOT EXISTS (
                    SELECT FROM pg_catalog.aclexplode(m.lomacl) g
                    WHERE g.privilege_type = 'SELECT' AND (g.grantee = 0 OR pg_catalog.pg_has_role(g.grantee, 'USAGE')))),
        'applier_member', (
            SELECT pg_catalog.pg_has_role(r.oid, 'USAGE')
            FROM pg_catalog.pg_roles r
            WHERE r.rolname = 'pgrelay_applier'));
