-- What a new row of one table holds beside what a change brings. $1 schema, $2 table.
-- generated: the expression of a generated column over the others; NULL for an ordinary column.
SELECT a.attname::pg_catalog.text AS name,
       pg_catalog.format('%I.%I', tn.nspname, t.typname) AS type,
       CASE WHEN a.attgenerated <> '' THEN pg_catalog.pg_get_expr(d.adbin, c.oid) END AS generated
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE s.nspname = $1 AND c.relname = $2
ORDER BY a.attnum
