-- Conversions between encodings.
SELECT coalesce(json_agg(json_build_object(
    'object', json_build_object('oid', c.oid::int8, 'schema', n.nspname, 'name', c.conname, 'owner', pg_get_userbyid(c.conowner)),
    'from', pg_encoding_to_char(c.conforencoding),
    'to', pg_encoding_to_char(c.contoencoding),
    'function', c.conproc::oid::regproc::text,
    'is_default', c.condefault
  ) ORDER BY n.nspname, c.conname), '[]')::text AS json
FROM pg_catalog.pg_conversion c
JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace
WHERE left(n.nspname, 3) <> 'pg_'
  AND n.nspname NOT IN ('information_schema', 'pgrelay', 'pgrelay_peer')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                  WHERE e.classid = 'pg_catalog.pg_conversion'::regclass AND e.objid = c.oid AND e.deptype = 'e');
