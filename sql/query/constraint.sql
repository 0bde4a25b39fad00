-- Constraints of tables and domains. Left out: constraint triggers (trigger.sql has them), NOT NULL (column.sql),
-- and what a partition's or referenced partition's foreign key takes over from its parent.
-- `options`: of a key's index, which pg_get_constraintdef leaves out (an exclusion constraint's it does not).
SELECT coalesce(json_agg(json_strip_nulls(json_build_object(
    'oid', k.oid::int8,
    'name', k.conname,
    'table', nullif(k.conrelid, 0)::int8,
    'domain', nullif(k.contypid, 0)::int8,
    'type', k.contype,
    'definition', pg_get_constraintdef(k.oid),
    'validated', k.convalidated,
    'local', k.conislocal,
    'inherited', k.coninhcount,
    'no_inherit', k.connoinherit,
    'index', nullif(k.conindid, 0)::int8,
    'options', CASE WHEN k.contype IN ('p', 'u') AND i.reloptions IS NOT NULL THEN to_json(i.reloptions) END,
    'references', nullif(k.confrelid, 0)::int8
  )) ORDER BY k.conrelid, k.contypid, k.conname), '[]')::text AS json
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_namespace n ON n.oid = k.connamespace
LEFT JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
LEFT JOIN pg_catalog.pg_class i ON i.oid = k.conindid
WHERE k.contype IN ('c', 'f', 'p', 'u', 'x')
  AND NOT (k.contype = 'f' AND k.conparentid <> 0)
  AND c.relpersistence IS DISTINCT FROM 't'
  AND left(n.nspname, 3) <> 'pg_'
  AND n.nspname NOT IN ('information_schema', 'pgrelay', 'pgrelay_peer');
