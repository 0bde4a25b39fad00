-- Row security policies. A role of null is PUBLIC.
SELECT coalesce(json_agg(json_strip_nulls(json_build_object(
    'oid', p.oid::int8,
    'name', p.polname,
    'table', p.polrelid::int8,
    'command', p.polcmd,
    'permissive', p.polpermissive,
    'public', 0 = ANY (p.polroles),
    'roles', (SELECT json_agg(pg_get_userbyid(r) ORDER BY pg_get_userbyid(r)) FROM unnest(p.polroles) r WHERE r <> 0),
    'using', pg_get_expr(p.polqual, p.polrelid),
    'check', pg_get_expr(p.polwithcheck, p.polrelid)
  )) ORDER BY p.polrelid, p.polname), '[]')::text AS json
FROM pg_catalog.pg_policy p
JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relpersistence <> 't'
  AND left(n.nspname, 3) <> 'pg_'
  AND n.nspname NOT IN ('information_schema', 'pgrelay', 'pgrelay_peer');
