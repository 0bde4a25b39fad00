-- What is no part of a plan, to be said by name: subscriptions, temporary tables, and large objects, with the roles that these need.
SELECT coalesce(json_agg(json_build_object('kind', x.kind, 'name', x.name, 'roles', x.roles) ORDER BY x.kind, x.name), '[]')::text AS json
FROM (
  SELECT 'subscription' AS kind, s.subname::text AS name, '{}'::text[] AS roles
  FROM pg_catalog.pg_subscription s
  WHERE s.subdbid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
  UNION ALL
  SELECT 'large objects', count(*)::text, array(
      SELECT DISTINCT r.rolname::text
      FROM pg_catalog.pg_roles r
      WHERE r.oid IN (SELECT m.lomowner FROM pg_catalog.pg_largeobject_metadata m
                      UNION SELECT g.grantee FROM pg_catalog.pg_largeobject_metadata m, aclexplode(m.lomacl) g))
  FROM pg_catalog.pg_largeobject_metadata
  HAVING count(*) > 0
  UNION ALL
  SELECT 'temporary table', format('%s.%s', n.nspname, c.relname), '{}'
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relpersistence = 't' AND c.relkind IN ('r', 'p')
) x;
