-- How far each task and each table is. psql -d SOURCE -f progress.sql

\echo Tasks
SELECT task, state, stage, percent, tables_ready || ' of ' || tables AS tables_ready,
       pg_size_pretty(bytes_copied) || ' of ' || pg_size_pretty(bytes_estimated) AS copied,
       pg_size_pretty(bytes_per_second) || '/s' AS rate, eta, indexes_done || ' of ' || indexes_total AS indexes, throttled, lag, attached, error
FROM pgrelay.task_status
ORDER BY task;

\echo Tables that are being copied or wait for it, largest first
SELECT task, format('%I.%I', schema_name, table_name) AS table, state, percent, rows, rows_estimated,
       pg_size_pretty(bytes) AS copied, pg_size_pretty(bytes_per_second) || '/s' AS rate, eta,
       indexes_done || ' of ' || indexes_total AS indexes
FROM pgrelay.table_status
WHERE state <> 'ready'
ORDER BY bytes_estimated DESC
LIMIT 30;
