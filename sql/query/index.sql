-- Indexes of tables and materialized views. `constraint`: the one they were made by; `parent`: the partitioned index they are attached to.
SELECT coalesce(json_agg(json_strip_nulls(json_build_object(
    'object', json_build_object('oid', c.oid::int8, 'schema', n.nspname, 'name', c.relname, 'owner', pg_get_userbyid(c.relowner)),
    'table', i.indrelid::int8,
    'definition', pg_get_indexdef(c.oid),
    'constraint', k.oid::int8,
    'parent', p.inhparent::int8,
    'partitioned', c.relkind = 'I',
    'clustered', i.indisclustered,
    'replica_identity', i.indisreplident,
    'valid', i.indisvalid,
    'tablespace', ts.spcname,
    'statistics', (SELECT json_agg(json_build_array(a.attnum, a.attstattarget) ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
                   WHERE a.attrelid = c.oid AND a.attstattarget >= 0)
  )) ORDER BY n.nspname, c.relname), '[]')::text AS json
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_constraint k ON k.conindid = c.oid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x')
LEFT JOIN pg_catalog.pg_inherits p ON p.inhrelid = c.oid
LEFT JOIN pg_catalog.pg_tablespace ts ON ts.oid = c.reltablespace
WHERE c.relpersistence <> 't'
  AND left(n.nspname, 3) <> 'pg_'
  AND n.nspname NOT IN ('information_schema', 'pgrelay', 'pgrelay_peer');
