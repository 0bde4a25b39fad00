-- Schemas, `public` among them. Read under an empty search_path, as every query here.
SELECT coalesce(json_agg(json_build_object(
    'object', json_build_object('oid', n.oid::int8, 'name', n.nspname, 'owner', pg_get_userbyid(n.nspowner))
  ) ORDER BY n.nspname), '[]')::text AS json
FROM pg_catalog.pg_namespace n
WHERE left(n.nspname, 3) <> 'pg_'
  AND n.nspname NOT IN ('information_schema', 'pgrelay', 'pgrelay_peer')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                  WHERE e.classid = 'pg_catalog.pg_namespace'::regclass AND e.objid = n.oid AND e.deptype = 'e');
