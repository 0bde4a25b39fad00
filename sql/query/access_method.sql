-- Access methods that no extension brought.
SELECT coalesce(json_agg(json_build_object(
    'oid', a.oid::int8, 'name', a.amname, 'type', a.amtype, 'handler', a.amhandler::oid::regproc::text
  ) ORDER BY a.amname), '[]')::text AS json
FROM pg_catalog.pg_am a
WHERE a.oid >= 16384
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                  WHERE e.classid = 'pg_catalog.pg_am'::regclass AND e.objid = a.oid AND e.deptype = 'e');
