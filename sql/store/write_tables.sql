-- $1 task; then one array per column, an element per table.
INSERT INTO pgrelay.table_state AS s (task_id, schema_name, table_name, state, insert_only, rows_estimated, bytes_estimated,
    rows_copied, bytes_copied, copy_started_at, copy_finished_at, inserts, updates, deletes, truncates,
    indexes_done, indexes_total, rows_per_second, bytes_per_second, rows_kept)
SELECT $1, u.schema_name, u.table_name, u.state, u.insert_only, u.rows_estimated, u.bytes_estimated, u.rows_copied, u.bytes_copied,
       CASE WHEN u.state <> 'init' THEN pg_catalog.clock_timestamp() END,
       CASE WHEN u.state NOT IN ('init', 'datasync') THEN pg_catalog.clock_timestamp() END,
       u.inserts, u.updates, u.deletes, u.truncates, u.indexes_done, u.indexes_total, u.rows_per_second, u.bytes_per_second, u.rows_kept
FROM ROWS FROM (
    pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::text[]), pg_catalog.unnest($4::text[]), pg_catalog.unnest($5::boolean[]),
    pg_catalog.unnest($6::bigint[]), pg_catalog.unnest($7::bigint[]), pg_catalog.unnest($8::bigint[]), pg_catalog.unnest($9::bigint[]),
    pg_catalog.unnest($10::bigint[]), pg_catalog.unnest($11::bigint[]), pg_catalog.unnest($12::bigint[]), pg_catalog.unnest($13::bigint[]),
    pg_catalog.unnest($14::bigint[]), pg_catalog.unnest($15::bigint[]), pg_catalog.unnest($16::double precision[]),
    pg_catalog.unnest($17::double precision[]), pg_catalog.unnest($18::bigint[])
) AS u (schema_name, table_name, state, insert_only, rows_estimated, bytes_estimated, rows_copied, bytes_copied, inserts, updates,
    deletes, truncates, indexes_done, indexes_total, rows_per_second, bytes_per_second, rows_kept)
ON CONFLICT (task_id, schema_name, table_name) DO UPDATE
SET state = EXCLUDED.state,
    insert_only = EXCLUDED.insert_only,
    rows_estimated = EXCLUDED.rows_estimated,
    bytes_estimated = EXCLUDED.bytes_estimated,
    rows_copied = EXCLUDED.rows_copied,
    bytes_copied = EXCLUDED.bytes_copied,
    copy_started_at = CASE WHEN EXCLUDED.copy_started_at IS NOT NULL THEN coalesce(s.copy_started_at, EXCLUDED.copy_started_at) END,
    copy_finished_at = CASE WHEN EXCLUDED.copy_finished_at IS NOT NULL THEN coalesce(s.copy_finished_at, EXCLUDED.copy_finished_at) END,
    inserts = EXCLUDED.inserts,
    updates = EXCLUDED.updates,
    deletes = EXCLUDED.deletes,
    truncates = EXCLUDED.truncates,
    indexes_done = EXCLUDED.indexes_done,
    indexes_total = EXCLUDED.indexes_total,
    rows_per_second = EXCLUDED.rows_per_second,
    bytes_per_second = EXCLUDED.bytes_per_second,
    rows_kept = EXCLUDED.rows_kept
