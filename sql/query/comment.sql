-- Comments on users' objects and on extensions, [class, oid, sub, what follows COMMENT ON, text].
SELECT coalesce(json_agg(json_build_array(d.classoid::int8, d.objoid::int8, d.objsubid,
    CASE WHEN d.objsubid > 0 THEN 'COLUMN ' || o.identity
         WHEN o.type = 'aggregate' AND o.identity LIKE '%()' THEN 'AGGREGATE ' || left(o.identity, -1) || '*)'
         WHEN o.type IN ('table constraint', 'rule', 'trigger', 'policy') THEN
              format('%s %I ON %s', CASE o.type WHEN 'table constraint' THEN 'CONSTRAINT' ELSE upper(o.type) END,
                coalesce(k.conname, r.rulename, t.tgname, p.polname), coalesce(k.conrelid, r.ev_class, t.tgrelid, p.polrelid)::regclass)
         WHEN o.type = 'domain constraint' THEN format('CONSTRAINT %I ON DOMAIN %s', k.conname, format_type(k.contypid, NULL))
         WHEN o.type = 'statistics object' THEN 'STATISTICS ' || o.identity
         WHEN o.type = 'foreign-data wrapper' THEN 'FOREIGN DATA WRAPPER ' || o.identity
         WHEN o.type = 'transform' THEN 'TRANSFORM ' || replace(o.identity, ' on language ', ' LANGUAGE ')
         ELSE upper(o.type) || ' ' || o.identity END,
    d.description) ORDER BY d.classoid, d.objoid, d.objsubid), '[]')::text AS json
FROM pg_catalog.pg_description d
LEFT JOIN pg_catalog.pg_constraint k ON d.classoid = 'pg_catalog.pg_constraint'::regclass AND k.oid = d.objoid
LEFT JOIN pg_catalog.pg_rewrite r ON d.classoid = 'pg_catalog.pg_rewrite'::regclass AND r.oid = d.objoid
LEFT JOIN pg_catalog.pg_trigger t ON d.classoid = 'pg_catalog.pg_trigger'::regclass AND t.oid = d.objoid
LEFT JOIN pg_catalog.pg_policy p ON d.classoid = 'pg_catalog.pg_policy'::regclass AND p.oid = d.objoid
CROSS JOIN LATERAL pg_identify_object(d.classoid, d.objoid, d.objsubid) o
-- Some thousand comments on what comes with the server are not looked up one by one.
WHERE (d.objoid >= 16384 OR d.classoid = 'pg_catalog.pg_namespace'::regclass)
  AND (d.objoid >= 16384 OR d.classoid = 'pg_catalog.pg_namespace'::regclass AND o.name = 'public'
         AND d.description <> 'standard public schema')
  AND o.identity IS NOT NULL AND o.type NOT IN ('large object', 'subscription')
  AND coalesce(o.schema, '') NOT IN ('pgrelay', 'pgrelay_peer') AND coalesce(o.schema, '') !~ '^pg_(temp|toast)'
  AND NOT (d.classoid = 'pg_catalog.pg_namespace'::regclass AND o.name IN ('pgrelay', 'pgrelay_peer'))
  AND NOT (o.type IN ('extension', 'schema') AND o.identity IN ('pgrelay', 'pgrelay_peer'))
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                  WHERE e.classid = d.classoid AND e.objid = d.objoid AND e.deptype = 'e');
