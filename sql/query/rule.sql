-- Rules, without those that hold the queries of views.
SELECT coalesce(json_agg(json_build_object(
    'oid', r.oid::int8,
    'name', r.rulename,
    'table', r.ev_class::int8,
    'definition', rtrim(pg_get_ruledef(r.oid), ';'),
    'enabled', r.ev_enabled
  ) ORDER BY r.ev_class, r.rulename), '[]')::text AS json
FROM pg_catalog.pg_rewrite r
JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE r.ev_type <> '1'
  AND c.relpersistence <> 't'
  AND left(n.nspname, 3) <> 'pg_'
  AND n.nspname NOT IN ('information_schema', 'pgrelay', 'pgrelay_peer')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                  WHERE e.classid = 'pg_catalog.pg_rewrite'::regclass AND e.objid = r.oid AND e.deptype = 'e');
