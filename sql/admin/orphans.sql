-- What pgrelay has made here that belongs to no task, each with the statement that removes it. It removes nothing itself.
-- psql -d DATABASE -f orphans.sql, on the source and on the peer.
--
-- A task that was created, stopped or dropped has no slot and no publication. Slots hold WAL back for ever: look at them first.
-- Of an origin the peer cannot know whether its task lives: the note says where to look.

SELECT to_regclass('pgrelay.task_status') IS NOT NULL AS has_extension, to_regclass('pgrelay_peer.task') IS NOT NULL AS is_peer
\gset
\if :has_extension
CREATE TEMP VIEW pgrelay_live AS
    SELECT task_id FROM pgrelay.task_status WHERE pending OR state NOT IN ('created', 'stopped');
\else
CREATE TEMP VIEW pgrelay_live AS SELECT NULL::bigint AS task_id WHERE false;
\endif
\if :is_peer
CREATE TEMP VIEW pgrelay_keys AS SELECT task_key FROM pgrelay_peer.task;
\else
CREATE TEMP VIEW pgrelay_keys AS SELECT NULL::text AS task_key WHERE false;
\endif

SELECT 'slot' AS kind, s.slot_name::text AS name,
       CASE WHEN s.active THEN 'in use by process ' || s.active_pid ELSE 'holds ' || pg_size_pretty(pg_current_wal_lsn() - s.restart_lsn) || ' of WAL' END AS note,
       format('SELECT pg_catalog.pg_drop_replication_slot(%L);', s.slot_name) AS remove
FROM pg_catalog.pg_replication_slots s
JOIN pg_catalog.pg_database d ON d.datname = s.database
WHERE s.database = current_database()
  AND s.slot_name ~ '^pgrelay_'
  AND NOT EXISTS (SELECT FROM pgrelay_live l WHERE s.slot_name ~ format('^pgrelay_%s_%s(_|$)', d.oid, l.task_id))
UNION ALL
SELECT 'publication', p.pubname::text, 'of this database', format('DROP PUBLICATION %I;', p.pubname)
FROM pg_catalog.pg_publication p
WHERE p.pubname ~ '^pgrelay_[0-9]+(_|$)'
  AND NOT EXISTS (SELECT FROM pgrelay_live l WHERE p.pubname ~ format('^pgrelay_%s(_|$)', l.task_id))
UNION ALL
SELECT 'origin', o.roname,
       CASE WHEN k.task_key IS NOT NULL THEN 'of task ' || split_part(o.roname, '_', 4) || ' in the database with oid ' || split_part(o.roname, '_', 3)
                || ' of the source with system identifier ' || split_part(o.roname, '_', 2) || ': only if that task is gone'
            ELSE 'no task writes to this database with it; look into the other databases of this server first' END,
       format('SELECT pg_catalog.pg_replication_origin_drop(%L);', o.roname)
           || CASE WHEN k.task_key = o.roname THEN format(' DELETE FROM pgrelay_peer.task WHERE task_key = %L;', o.roname) ELSE '' END
FROM pg_catalog.pg_replication_origin o
LEFT JOIN pgrelay_keys k ON o.roname = k.task_key OR starts_with(o.roname, k.task_key || '_')
WHERE o.roname ~ '^pgrelay_[0-9]+_[0-9]+_[0-9]+(_|$)'
UNION ALL
SELECT 'prepared transaction', x.gid, 'holds its locks since ' || x.prepared::timestamptz(0), format('ROLLBACK PREPARED %L;', x.gid)
FROM pg_catalog.pg_prepared_xacts x
WHERE x.database = current_database()
  AND x.gid ~ '^pgrelay_[0-9]+_[0-9]+_[0-9]+_[0-9]+$'
  AND NOT EXISTS (SELECT FROM pgrelay_keys k WHERE starts_with(x.gid, k.task_key || '_'))
UNION ALL
SELECT 'schema', 'pgrelay_peer', 'holds no task', 'DROP SCHEMA pgrelay_peer CASCADE;'
WHERE :'is_peer' AND NOT EXISTS (SELECT FROM pgrelay_keys)
ORDER BY 1, 2;

DROP VIEW pgrelay_live, pgrelay_keys;
