-- Writes the records of `record` down at the task's home and counts those that are new, in one statement. What happened here is written so in
-- the transaction that resolves it; what is carried here has an id, and stands here once.
-- $1 task.
, named AS MATERIALIZED (
    -- Each once: there are few tables among many records.
    SELECT d.schema_name, d.table_name,
           (SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = d.schema_name AND c.relname = d.table_name AND c.relkind IN ('r', 'p')) AS oid
    FROM (SELECT DISTINCT schema_name, table_name FROM record) d
), came AS (
    INSERT INTO pgrelay.task_conflict (task_id, record, table_oid, direction, detected_at, schema_name, table_name, operation, kind,
        constraints, policy, resolution, source_xid, source_commit_lsn, source_commit_ts, change_no, key, incoming_old, incoming_new,
        peer_rows, result_row, peer_origins, peer_commit_ts, note)
    SELECT $1::bigint, r.id,
           (SELECT n.oid FROM named n WHERE n.schema_name = r.schema_name AND n.table_name = r.table_name),
           r.direction, r.detected_at, r.schema_name, r.table_name, r.operation, r.kind,
           r.constraints, r.policy, r.resolution, r.source_xid, r.source_commit_lsn, r.source_commit_ts, r.change_no, r.key,
           r.incoming_old, r.incoming_new, r.peer_rows, r.result_row, r.peer_origins, r.peer_commit_ts, r.note
    FROM record r
    ON CONFLICT (record) WHERE record IS NOT NULL DO NOTHING
    RETURNING direction, schema_name, table_name, kind
)
INSERT INTO pgrelay.task_conflict_count (task_id, direction, schema_name, table_name, kind, count)
SELECT $1::bigint, direction, schema_name, table_name, kind, pg_catalog.count(*)
FROM came
WHERE kind IS NOT NULL
GROUP BY direction, schema_name, table_name, kind
