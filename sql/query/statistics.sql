-- Extended statistics objects. stxstattarget is -1 or NULL (from 17 on) by default.
SELECT coalesce(json_agg(json_strip_nulls(json_build_object(
    'object', json_build_object('oid', s.oid::int8, 'schema', n.nspname, 'name', s.stxname, 'owner', pg_get_userbyid(s.stxowner)),
    'table', s.stxrelid::int8,
    'definition', pg_get_statisticsobjdef(s.oid),
    'target', CASE WHEN s.stxstattarget >= 0 THEN s.stxstattarget END
  )) ORDER BY n.nspname, s.stxname), '[]')::text AS json
FROM pg_catalog.pg_statistic_ext s
JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace
WHERE left(n.nspname, 3) <> 'pg_'
  AND n.nspname NOT IN ('information_schema', 'pgrelay', 'pgrelay_peer')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                  WHERE e.classid = 'pg_catalog.pg_statistic_ext'::regclass AND e.objid = s.oid AND e.deptype = 'e');
