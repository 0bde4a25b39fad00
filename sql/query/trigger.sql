-- Triggers of users, and of their copies on partitions only those whose enabled state is not that of a new one.
SELECT coalesce(json_agg(json_strip_nulls(json_build_object(
    'oid', t.oid::int8,
    'name', t.tgname,
    'table', t.tgrelid::int8,
    'definition', pg_get_triggerdef(t.oid),
    'enabled', t.tgenabled,
    'parent', p.oid::int8
  )) ORDER BY t.tgrelid, t.tgname), '[]')::text AS json
FROM pg_catalog.pg_trigger t
JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_trigger p ON p.oid = t.tgparentid
WHERE NOT t.tgisinternal
  AND (p.oid IS NULL OR t.tgenabled <> 'O')
  AND c.relpersistence <> 't'
  AND left(n.nspname, 3) <> 'pg_'
  AND n.nspname NOT IN ('information_schema', 'pgrelay', 'pgrelay_peer')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                  WHERE e.classid = 'pg_catalog.pg_trigger'::regclass AND e.objid = t.oid AND e.deptype = 'e');
