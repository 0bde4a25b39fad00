-- What decides how the copy of a table is cut. $1 its oid.
-- key: the first column of the primary key, where every change of the stream tells it; its type decides whether its order is known.
-- ordered: rows of neighbouring keys lie near each other, or the table fits into memory, so that reading by key costs no more than reading
-- through.
SELECT pg_catalog.pg_table_size(c.oid)::text AS bytes,
       (pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::bigint)::text AS pages,
       a.attname::text AS key_column,
       a.atttypid::text AS key_type,
       coalesce(abs(s.correlation) >= 0.5, false)
           OR pg_catalog.pg_table_size(c.oid) <= pg_catalog.pg_size_bytes(pg_catalog.current_setting('effective_cache_size')) / 2 AS ordered
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisprimary AND i.indisvalid AND i.indimmediate AND c.relreplident IN ('d', 'f')
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
LEFT JOIN pg_catalog.pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname AND NOT s.inherited
WHERE c.oid = $1::oid
