-- Tables in a task's publications, partitioned ones left out. $1 the publication of all changes, $2 that of inserts only.
SELECT n.nspname::text AS schema_name, c.relname::text AS table_name, c.oid, pg_catalog.bool_and(p.pubname = $2) AS insert_only
FROM pg_catalog.pg_publication p
JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid
JOIN pg_catalog.pg_class c ON c.oid = r.prrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE p.pubname IN ($1, $2) AND c.relkind = 'r'
GROUP BY 1, 2, 3
ORDER BY 1, 2
