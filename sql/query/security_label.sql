-- Security labels, [class, oid, sub, provider, what follows ON, label].
SELECT coalesce(json_agg(json_build_array(s.classoid::int8, s.objoid::int8, s.objsubid, s.provider,
    CASE WHEN s.objsubid > 0 THEN 'COLUMN' ELSE upper(o.type) END || ' ' || o.identity, s.label)
    ORDER BY s.classoid, s.objoid, s.objsubid, s.provider), '[]')::text AS json
FROM pg_catalog.pg_seclabel s
CROSS JOIN LATERAL pg_identify_object(s.classoid, s.objoid, s.objsubid) o
WHERE o.identity IS NOT NULL AND o.type <> 'large object';
