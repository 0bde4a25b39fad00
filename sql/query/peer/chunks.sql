-- Chunks of tables that are on the peer. $1 task key; $2 schema and $3 name of one table, or NULL for all.
SELECT schema_name, table_name, table_oid, key_column, key_type, lower_bound, upper_bound, snapshot, visible_below::text AS visible_below, rows, bytes
FROM pgrelay_peer.chunk_copy
WHERE task_key = $1 AND ($2::text IS NULL OR (schema_name = $2 AND table_name = $3))
