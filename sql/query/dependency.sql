-- What depends on what, among users' objects: [class, oid, sub, referenced class, oid, sub, type of dependency].
-- Schemas are left out: an object's schema is known by name.
SELECT coalesce(json_agg(json_build_array(d.classid::int8, d.objid::int8, d.objsubid, d.refclassid::int8, d.refobjid::int8, d.refobjsubid, d.deptype)),
  '[]')::text AS json
FROM pg_catalog.pg_depend d
WHERE d.objid >= 16384 AND d.refobjid >= 16384
  AND d.refclassid <> 'pg_catalog.pg_namespace'::regclass
  AND d.classid <> 'pg_catalog.pg_default_acl'::regclass;
