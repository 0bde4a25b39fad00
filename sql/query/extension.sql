-- Extensions, with schema and version; their members are in no other query. `config`: the tables and sequences in which users keep
-- something of theirs (pg_extension_config_dump), each with the condition (WHERE …) for those rows, and what the role may do.
SELECT coalesce(json_agg(json_build_object(
    'object', json_build_object('oid', x.oid::int8, 'schema', n.nspname, 'name', x.extname, 'owner', pg_get_userbyid(x.extowner)),
    'version', x.extversion,
    'schema_is_member', EXISTS (SELECT FROM pg_catalog.pg_depend e
                                WHERE e.classid = 'pg_catalog.pg_namespace'::regclass AND e.objid = n.oid
                                  AND e.refobjid = x.oid AND e.deptype = 'e'),
    'config', coalesce((
        SELECT json_agg(json_build_object('oid', c.oid::int8, 'schema', cn.nspname, 'name', c.relname, 'kind', c.relkind,
            'condition', coalesce(g.condition, ''),
            'owned', pg_has_role(c.relowner, 'USAGE'),
            'readable', has_schema_privilege(cn.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')) ORDER BY g.place)
        FROM unnest(x.extconfig, x.extcondition) WITH ORDINALITY AS g (oid, condition, place)
        JOIN pg_catalog.pg_class c ON c.oid = g.oid AND c.relkind IN ('r', 'p', 'S') AND c.relpersistence = 'p'
        JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace), '[]')
  ) ORDER BY x.extname), '[]')::text AS json
FROM pg_catalog.pg_extension x
JOIN pg_catalog.pg_namespace n ON n.oid = x.extnamespace
WHERE x.extname NOT IN ('pgrelay', 'plpgsql');
