-- Extensions, with schema and version; their members are in no other query. `config`: how many tables of settings they keep.
SELECT coalesce(json_agg(json_build_object(
    'object', json_build_object('oid', x.oid::int8, 'schema', n.nspname, 'name', x.extname, 'owner', pg_get_userbyid(x.extowner)),
    'version', x.extversion,
    'schema_is_member', EXISTS (SELECT FROM pg_catalog.pg_depend e
                                WHERE e.classid = 'pg_catalog.pg_namespace'::regclass AND e.objid = n.oid
                                  AND e.refobjid = x.oid AND e.deptype = 'e'),
    'config', coalesce(cardinality(x.extconfig), 0)
  ) ORDER BY x.extname), '[]')::text AS json
FROM pg_catalog.pg_extension x
JOIN pg_catalog.pg_namespace n ON n.oid = x.extnamespace
WHERE x.extname NOT IN ('pgrelay', 'plpgsql');
