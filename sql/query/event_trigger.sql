-- Event triggers, without pgrelay's own.
SELECT coalesce(json_agg(json_strip_nulls(json_build_object(
    'object', json_build_object('oid', t.oid::int8, 'name', t.evtname, 'owner', pg_get_userbyid(t.evtowner)),
    'event', t.evtevent,
    'tags', CASE WHEN t.evttags IS NOT NULL THEN to_json(t.evttags) END,
    'function', format('%I.%I', n.nspname, p.proname),
    'enabled', t.evtenabled
  )) ORDER BY t.evtname), '[]')::text AS json
FROM pg_catalog.pg_event_trigger t
JOIN pg_catalog.pg_proc p ON p.oid = t.evtfoid
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname NOT IN ('pgrelay', 'pgrelay_peer')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                  WHERE e.classid = 'pg_catalog.pg_event_trigger'::regclass AND e.objid = t.oid AND e.deptype = 'e');
