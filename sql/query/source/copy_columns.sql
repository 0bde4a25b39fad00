-- Columns of one table to copy, in order. $1 schema, $2 table.
-- portable: its binary form means the same on another server. Not so: types made by users, and those that hold oids.
SELECT a.attname::text AS name, a.atttypid AS type_oid, a.atttypmod AS typmod,
       a.atttypid < 16384 AND coalesce(e.typtype, t.typtype) = 'b'
           AND coalesce(e.typname, t.typname)::text !~ '^reg' AND t.typsend <> 0 AND t.typreceive <> 0
           AND coalesce(e.typname, t.typname) NOT IN ('aclitem', 'pg_node_tree', 'pg_snapshot', 'txid_snapshot') AS portable
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind = 'r'
  AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
ORDER BY a.attnum
