-- Writes the records of `record` down on the side where the conflicts happened: in the transaction that resolves them, or, of what made a
-- task fail, in one of its own, from a session without the task's origin. Whoever carries them to the task's home counts them there.
-- The list of those to be carried gets a row for each 4 MB: what one row tells is carried together.
-- $1 task key.
, made AS (
    INSERT INTO pgrelay_peer.conflict (task_key, direction, detected_at, schema_name, table_name, operation, kind, constraints, policy,
        resolution, source_xid, source_commit_lsn, source_commit_ts, change_no, key, incoming_old, incoming_new, peer_rows, result_row,
        peer_origins, peer_commit_ts, note)
    SELECT $1::text, r.direction, r.detected_at, r.schema_name, r.table_name, r.operation, r.kind, r.constraints, r.policy,
        r.resolution, r.source_xid, r.source_commit_lsn, r.source_commit_ts, r.change_no, r.key, r.incoming_old, r.incoming_new, r.peer_rows,
        r.result_row, r.peer_origins, r.peer_commit_ts, r.note
    FROM record r
    RETURNING ordinal, pg_catalog.pg_column_size(peer_rows) + coalesce(pg_catalog.pg_column_size(incoming_new), 0)
        + coalesce(pg_catalog.pg_column_size(incoming_old), 0) + coalesce(pg_catalog.pg_column_size(result_row), 0) AS bytes
)
INSERT INTO pgrelay_peer.conflict_to_carry (task_key, ordinal, ordinals, bytes)
SELECT $1::text, pg_catalog.min(ordinal), pg_catalog.array_agg(ordinal), pg_catalog.sum(bytes)
FROM (SELECT ordinal, bytes, pg_catalog.sum(bytes) OVER (ORDER BY ordinal) / 4000000 AS part FROM made) parts
GROUP BY part
