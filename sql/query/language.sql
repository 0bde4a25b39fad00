-- Procedural languages that no extension brought.
SELECT coalesce(json_agg(json_strip_nulls(json_build_object(
    'object', json_build_object('oid', l.oid::int8, 'name', l.lanname, 'owner', pg_get_userbyid(l.lanowner)),
    'trusted', l.lanpltrusted,
    'handler', nullif(l.lanplcallfoid, 0)::regproc,
    'inline', nullif(l.laninline, 0)::regproc,
    'validator', nullif(l.lanvalidator, 0)::regproc
  )) ORDER BY l.lanname), '[]')::text AS json
FROM pg_catalog.pg_language l
WHERE l.lanispl
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                  WHERE e.classid = 'pg_catalog.pg_language'::regclass AND e.objid = l.oid AND e.deptype = 'e');
