-- How far behind each task is, and how much WAL it makes the source keep. psql -d SOURCE -f lag.sql

SELECT t.task, t.state, pg_size_pretty(t.lag_bytes) AS behind, t.lag, t.applied_lsn,
       s.slot_name, s.active, s.wal_status, pg_size_pretty(pg_current_wal_lsn() - s.restart_lsn) AS wal_kept,
       pg_size_pretty(s.safe_wal_size) AS until_lost
FROM pgrelay.task_status t
LEFT JOIN pg_catalog.pg_replication_slots s
    ON s.database = pg_catalog.current_database()
   AND s.slot_name = (SELECT format('pgrelay_%s_%s', d.oid, t.task_id) FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
ORDER BY t.task;

\echo Transactions that have run for more than a minute: a task that starts waits for them
SELECT pid, usename, application_name, state, pg_catalog.clock_timestamp() - xact_start AS open_for
FROM pg_catalog.pg_stat_activity
WHERE xact_start < pg_catalog.clock_timestamp() - interval '1 minute' AND backend_type = 'client backend'
ORDER BY xact_start;
