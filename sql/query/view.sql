-- Views and materialized views. Their columns are in column.sql. `rule`: the rule that holds the query.
SELECT coalesce(json_agg(json_strip_nulls(json_build_object(
    'object', json_build_object('oid', c.oid::int8, 'schema', n.nspname, 'name', c.relname, 'owner', pg_get_userbyid(c.relowner)),
    'materialized', c.relkind = 'm',
    'rule', r.oid::int8,
    'definition', rtrim(pg_get_viewdef(c.oid), ';'),
    'options', CASE WHEN c.reloptions IS NOT NULL THEN to_json(c.reloptions) END,
    'method', CASE WHEN am.amname <> 'heap' THEN am.amname END,
    'tablespace', ts.spcname,
    'populated', c.relispopulated
  )) ORDER BY n.nspname, c.relname), '[]')::text AS json
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_rewrite r ON r.ev_class = c.oid AND r.ev_type = '1'
LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
LEFT JOIN pg_catalog.pg_tablespace ts ON ts.oid = c.reltablespace
WHERE c.relkind IN ('v', 'm')
  AND c.relpersistence <> 't'
  AND left(n.nspname, 3) <> 'pg_'
  AND n.nspname NOT IN ('information_schema', 'pgrelay', 'pgrelay_peer')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                  WHERE e.classid = 'pg_catalog.pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e');
