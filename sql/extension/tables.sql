-- Every table that a task could select, and whether the current user may read all of it.
-- A partition may be read through any of its ancestors.
SELECT n.nspname::text AS schema_name,
       c.relname::text AS table_name,
       pg_catalog.has_schema_privilege(n.oid, 'USAGE')
           AND (pg_catalog.has_table_privilege(c.oid, 'SELECT')
               OR EXISTS (
                   SELECT FROM pg_catalog.pg_partition_ancestors(c.oid) a
                   WHERE pg_catalog.has_table_privilege(a.relid, 'SELECT'))) AS may_select,
       pg_catalog.row_security_active(c.oid) AS rows_hidden
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p')
  AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pgrelay', 'pgrelay_peer', 'information_schema')
  AND n.nspname !~ '^pg_'
  AND NOT EXISTS (
      SELECT FROM pg_catalog.pg_depend d
      WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2
