-- Chunks of tables that are on the peer. $1 task key.
SELECT schema_name, table_name, table_oid, key_column, key_type, lower_bound, upper_bound, snapshot, visible_below::text AS visible_below, rows, bytes
FROM pgrelay_peer.chunk_copy
WHERE task_key = $1
