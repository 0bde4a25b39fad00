-- Brings records of conflicts here, each once, and counts those that are new, in one statement. $1 task; then arrays with an element for each
-- record, as conflicts_to_carry.sql gives them, those of arrays as text.
WITH record AS MATERIALIZED (
    SELECT *
    FROM ROWS FROM (
        pg_catalog.unnest($2::uuid[]), pg_catalog.unnest($3::text[]), pg_catalog.unnest($4::timestamptz[]), pg_catalog.unnest($5::text[]),
        pg_catalog.unnest($6::text[]), pg_catalog.unnest($7::text[]), pg_catalog.unnest($8::text[]), pg_catalog.unnest($9::text[]),
        pg_catalog.unnest($10::text[]), pg_catalog.unnest($11::text[]), pg_catalog.unnest($12::xid8[]), pg_catalog.unnest($13::pg_lsn[]),
        pg_catalog.unnest($14::timestamptz[]), pg_catalog.unnest($15::bigint[]), pg_catalog.unnest($16::jsonb[]),
        pg_catalog.unnest($17::jsonb[]), pg_catalog.unnest($18::jsonb[]), pg_catalog.unnest($19::jsonb[]), pg_catalog.unnest($20::jsonb[]),
        pg_catalog.unnest($21::text[]), pg_catalog.unnest($22::text[]), pg_catalog.unnest($23::text[])
    ) WITH ORDINALITY AS r (id, direction, detected_at, schema_name, table_name, operation, kind, constraints, policy, resolution, source_xid,
        source_commit_lsn, source_commit_ts, change_no, key, incoming_old, incoming_new, peer_rows, result_row, peer_origins, peer_commit_ts,
        note, ordinal)
), named AS MATERIALIZED (
    -- Each once: there are few tables among many records.
    SELECT d.schema_name, d.table_name,
           (SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = d.schema_name AND c.relname = d.table_name AND c.relkind IN ('r', 'p')) AS oid
    FROM (SELECT DISTINCT schema_name, table_name FROM record) d
), came AS (
    INSERT INTO pgrelay.task_conflict (task_id, record, table_oid, direction, detected_at, schema_name, table_name, operation, kind,
        constraints, policy, resolution, source_xid, source_commit_lsn, source_commit_ts, change_no, key, incoming_old, incoming_new,
        peer_rows, result_row, peer_origins, peer_commit_ts, note)
    SELECT $1, r.id, t.oid, r.direction, r.detected_at, r.schema_name, r.table_name, r.operation, r.kind,
           r.constraints::text[], r.policy, r.resolution, r.source_xid, r.source_commit_lsn, r.source_commit_ts, r.change_no, r.key,
           r.incoming_old, r.incoming_new, r.peer_rows, r.result_row, r.peer_origins::text[], r.peer_commit_ts::timestamptz[], r.note
    FROM record r
    JOIN named t USING (schema_name, table_name)
    ORDER BY r.ordinal
    ON CONFLICT (record) DO NOTHING
    RETURNING direction, schema_name, table_name, kind
)
INSERT INTO pgrelay.task_conflict_count AS n (task_id, direction, schema_name, table_name, confl_insert_exists,
    confl_update_origin_differs, confl_update_exists, confl_update_missing, confl_delete_origin_differs, confl_delete_missing,
    confl_multiple_unique_conflicts)
SELECT $1, direction, schema_name, table_name,
       pg_catalog.count(*) FILTER (WHERE kind = 'insert_exists'),
       pg_catalog.count(*) FILTER (WHERE kind = 'update_origin_differs'),
       pg_catalog.count(*) FILTER (WHERE kind = 'update_exists'),
       pg_catalog.count(*) FILTER (WHERE kind = 'update_missing'),
       pg_catalog.count(*) FILTER (WHERE kind = 'delete_origin_differs'),
       pg_catalog.count(*) FILTER (WHERE kind = 'delete_missing'),
       pg_catalog.count(*) FILTER (WHERE kind = 'multiple_unique_conflicts')
FROM came
WHERE kind IS NOT NULL
GROUP BY direction, schema_name, table_name
ORDER BY direction, schema_name, table_name
ON CONFLICT (task_id, direction, schema_name, table_name) DO UPDATE
SET confl_insert_exists = n.confl_insert_exists + EXCLUDED.confl_insert_exists,
    confl_update_origin_differs = n.confl_update_origin_differs + EXCLUDED.confl_update_origin_differs,
    confl_update_exists = n.confl_update_exists + EXCLUDED.confl_update_exists,
    confl_update_missing = n.confl_update_missing + EXCLUDED.confl_update_missing,
    confl_delete_origin_differs = n.confl_delete_origin_differs + EXCLUDED.confl_delete_origin_differs,
    confl_delete_missing = n.confl_delete_missing + EXCLUDED.confl_delete_missing,
    confl_multiple_unique_conflicts = n.confl_multiple_unique_conflicts + EXCLUDED.confl_multiple_unique_conflicts
