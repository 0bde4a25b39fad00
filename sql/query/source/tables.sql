-- Tables that may hold rows of a task, with what the stream can carry of each. Partitioned tables are listed, though their rows
-- are in their partitions. Not: system tables, temporary ones, those of extensions but for the ones in which users keep rows.
-- usable: UPDATE and DELETE are possible once they are published. publishable: not unlogged.
SELECT n.nspname::text AS schema_name, c.relname::text AS table_name, c.oid, c.relkind = 'p' AS partitioned,
       c.relpersistence = 'p' AS publishable,
       c.relispartition AS is_partition,
       e.oid IS NOT NULL AS of_extension,
       c.relreplident::text AS identity,
       (SELECT ic.relname::text FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
        WHERE i.indrelid = c.oid AND i.indisreplident) AS identity_index,
       CASE c.relreplident
           WHEN 'f' THEN true
           WHEN 'd' THEN EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND i.indimmediate AND i.indisvalid)
           WHEN 'i' THEN EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisreplident AND i.indimmediate AND i.indisvalid)
           ELSE false
       END AS usable,
       -- As the planner does: as many rows on a page as ANALYZE has seen, on the pages there are now. -1: it never looked.
       CASE WHEN c.relkind = 'p' OR pg_catalog.pg_relation_size(c.oid) = 0 THEN 0
            WHEN c.reltuples < 0 OR c.relpages = 0 THEN -1
            ELSE c.reltuples / c.relpages * (pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::bigint)
       END::bigint AS rows_estimated,
       CASE WHEN c.relkind = 'p' THEN 0 ELSE pg_catalog.pg_table_size(c.oid) END AS bytes_estimated,
       coalesce((SELECT pg_catalog.array_agg(a.relid::oid) FROM pg_catalog.pg_partition_ancestors(c.oid) AS a (relid)), '{}') AS ancestors
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.objsubid = 0
    AND d.deptype = 'e' AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
LEFT JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
WHERE c.relkind IN ('r', 'p') AND c.relpersistence IN ('p', 'u')
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND (e.oid IS NULL OR e.extname <> 'pgrelay' AND c.oid = ANY (e.extconfig))
ORDER BY 1, 2
