-- Sessions that wait for a lock which a copy holds. $1 the application_name of copy sessions.
SELECT DISTINCT w.pid, pg_catalog.format('%s.%s', n.nspname, c.relname) AS table_name
FROM pg_catalog.pg_locks w
JOIN pg_catalog.pg_class c ON c.oid = w.relation
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE w.locktype = 'relation' AND NOT w.granted
  AND w.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
  AND EXISTS (
      SELECT FROM pg_catalog.pg_stat_activity a
      WHERE a.pid = ANY (pg_catalog.pg_blocking_pids(w.pid)) AND a.application_name = $1)
