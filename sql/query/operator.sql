-- Operators; a shell (an operator that was only named as a commutator or negator) has no function.
SELECT coalesce(json_agg(json_strip_nulls(json_build_object(
    'object', json_build_object('oid', o.oid::int8, 'schema', n.nspname, 'name', o.oprname, 'owner', pg_get_userbyid(o.oprowner)),
    'left', CASE WHEN o.oprleft <> 0 THEN format_type(o.oprleft, NULL) END,
    'right', CASE WHEN o.oprright <> 0 THEN format_type(o.oprright, NULL) END,
    'function', nullif(o.oprcode::oid, 0)::regproc::text,
    'commutator', CASE WHEN c.oid IS NOT NULL THEN format('OPERATOR(%I.%s)', cn.nspname, c.oprname) END,
    'negator', CASE WHEN g.oid IS NOT NULL THEN format('OPERATOR(%I.%s)', gn.nspname, g.oprname) END,
    'restrict', nullif(o.oprrest::oid, 0)::regproc::text,
    'join', nullif(o.oprjoin::oid, 0)::regproc::text,
    'hashes', o.oprcanhash,
    'merges', o.oprcanmerge
  )) ORDER BY n.nspname, o.oprname, o.oid), '[]')::text AS json
FROM pg_catalog.pg_operator o
JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
LEFT JOIN pg_catalog.pg_operator c ON c.oid = o.oprcom
LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = c.oprnamespace
LEFT JOIN pg_catalog.pg_operator g ON g.oid = o.oprnegate
LEFT JOIN pg_catalog.pg_namespace gn ON gn.oid = g.oprnamespace
WHERE left(n.nspname, 3) <> 'pg_'
  AND n.nspname NOT IN ('information_schema', 'pgrelay', 'pgrelay_peer')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                  WHERE e.classid = 'pg_catalog.pg_operator'::regclass AND e.objid = o.oid AND e.deptype = 'e');
