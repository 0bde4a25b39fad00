-- The mark of a table whose chunks are all there. $1 task key, $2 schema, $3 table, $4 its oid on the source, $5 snapshot, $6 position, $7 how many
-- chunks there must be: no row when there are not.
INSERT INTO pgrelay_peer.table_copy (task_key, schema_name, table_name, table_oid, snapshot, visible_below, rows, bytes)
SELECT $1, $2, $3, $4::oid, $5, $6::text::pg_lsn, coalesce(sum(c.rows), 0), coalesce(sum(c.bytes), 0)
FROM pgrelay_peer.chunk_copy c
WHERE c.task_key = $1 AND c.schema_name = $2 AND c.table_name = $3
HAVING count(*) = $7::bigint
RETURNING rows
