-- Tables that a task's owner may not read. $1 owner, $2 schemas, $3 names.
SELECT u.schema_name || '.' || u.table_name AS table_name
FROM ROWS FROM (pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::text[])) AS u (schema_name, table_name)
JOIN pg_catalog.pg_namespace n ON n.nspname = u.schema_name
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = u.table_name
LEFT JOIN pg_catalog.pg_roles r ON r.rolname = $1
WHERE r.oid IS NULL
   OR NOT (pg_catalog.has_table_privilege(r.oid, c.oid, 'SELECT')
       OR EXISTS (SELECT FROM pg_catalog.pg_partition_ancestors(c.oid) a WHERE pg_catalog.has_table_privilege(r.oid, a.relid, 'SELECT')))
ORDER BY 1
