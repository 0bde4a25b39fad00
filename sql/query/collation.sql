-- Collations. The ICU locale's column is colliculocale on 15 and 16, colllocale from 17 on.
SELECT coalesce(json_agg(json_strip_nulls(json_build_object(
    'object', json_build_object('oid', c.oid::int8, 'schema', n.nspname, 'name', c.collname, 'owner', pg_get_userbyid(c.collowner)),
    'provider', c.collprovider,
    'any_encoding', c.collencoding = -1,
    'deterministic', c.collisdeterministic,
    'collate', c.collcollate,
    'ctype', c.collctype,
    'locale', coalesce(to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale'),
    'rules', to_jsonb(c) ->> 'collicurules'
  )) ORDER BY n.nspname, c.collname, c.collencoding), '[]')::text AS json
FROM pg_catalog.pg_collation c
JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
WHERE left(n.nspname, 3) <> 'pg_'
  AND n.nspname NOT IN ('information_schema', 'pgrelay', 'pgrelay_peer')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                  WHERE e.classid = 'pg_catalog.pg_collation'::regclass AND e.objid = c.oid AND e.deptype = 'e');
