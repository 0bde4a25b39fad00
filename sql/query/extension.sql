-- Extensions, with schema and version; their members are in no other query. `config`: their tables of settings, each with
-- the condition (WHERE …) for the rows that are the user's.
SELECT coalesce(json_agg(json_build_object(
    'object', json_build_object('oid', x.oid::int8, 'schema', n.nspname, 'name', x.extname, 'owner', pg_get_userbyid(x.extowner)),
    'version', x.extversion,
    'schema_is_member', EXISTS (SELECT FROM pg_catalog.pg_depend e
                                WHERE e.classid = 'pg_catalog.pg_namespace'::regclass AND e.objid = n.oid
                                  AND e.refobjid = x.oid AND e.deptype = 'e'),
    'config', coalesce((
        SELECT json_agg(json_build_array(cn.nspname, c.relname, coalesce(g.condition, '')) ORDER BY g.place)
        FROM unnest(x.extconfig, x.extcondition) WITH ORDINALITY AS g (oid, condition, place)
        JOIN pg_catalog.pg_class c ON c.oid = g.oid AND c.relkind IN ('r', 'p')
        JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace), '[]')
  ) ORDER BY x.extname), '[]')::text AS json
FROM pg_catalog.pg_extension x
JOIN pg_catalog.pg_namespace n ON n.oid = x.extnamespace
WHERE x.extname NOT IN ('pgrelay', 'plpgsql');
