-- Columns of some tables, in order, on either side. $1 schemas, $2 names. A table without columns has one row, with no name; one
-- that is not there has none.
-- portable: its binary form means the same on another server. Not so: types made by users, and those that hold oids; but a value of
-- an enum is its label. type_oid: 0 for enums, which have oids of their own on each server.
SELECT u.n AS table_number, c.relkind = 'p' AS partitioned, a.attname::text AS name,
       CASE WHEN t.typtype = 'e' THEN 0 ELSE a.atttypid END AS type_oid, a.atttypmod AS typmod,
       a.attgenerated <> '' AS generated,
       t.typtype = 'e' OR a.atttypid < 16384 AND coalesce(e.typtype, t.typtype) = 'b'
           AND coalesce(e.typname, t.typname)::text !~ '^reg' AND t.typsend <> 0 AND t.typreceive <> 0
           AND coalesce(e.typname, t.typname) NOT IN ('aclitem', 'pg_node_tree', 'pg_snapshot', 'txid_snapshot') AS portable
FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) WITH ORDINALITY AS u (schema_name, table_name, n)
JOIN pg_catalog.pg_namespace s ON s.nspname = u.schema_name
JOIN pg_catalog.pg_class c ON c.relnamespace = s.oid AND c.relname = u.table_name AND c.relkind IN ('r', 'p')
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
ORDER BY u.n, a.attnum
