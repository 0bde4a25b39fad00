-- Privileges that differ from what a new object has: of users' objects against acldefault, of the system's and of extensions' members
-- against pg_init_privs. A grant is [grantor, grantee or null for PUBLIC, privilege, grant option]; `target` is what follows ON.
WITH acls (class, oid, sub, owner, acl, base) AS (
  SELECT 'pg_catalog.pg_class'::regclass, c.oid, 0, c.relowner, c.relacl, acldefault((CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END)::"char", c.relowner)
  FROM pg_catalog.pg_class c WHERE c.relacl IS NOT NULL AND c.relpersistence <> 't'
  UNION ALL
  SELECT 'pg_catalog.pg_class'::regclass, a.attrelid, a.attnum, r.relowner, a.attacl, acldefault('c', r.relowner)
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class r ON r.oid = a.attrelid WHERE a.attacl IS NOT NULL AND NOT a.attisdropped
  UNION ALL
  SELECT 'pg_catalog.pg_proc'::regclass, p.oid, 0, p.proowner, p.proacl, acldefault('f', p.proowner) FROM pg_catalog.pg_proc p WHERE p.proacl IS NOT NULL
  UNION ALL
  SELECT 'pg_catalog.pg_type'::regclass, t.oid, 0, t.typowner, t.typacl, acldefault('T', t.typowner) FROM pg_catalog.pg_type t WHERE t.typacl IS NOT NULL
  UNION ALL
  SELECT 'pg_catalog.pg_namespace'::regclass, n.oid, 0, n.nspowner, n.nspacl, acldefault('n', n.nspowner)
  FROM pg_catalog.pg_namespace n WHERE n.nspacl IS NOT NULL AND n.nspname !~ '^pg_(temp|toast)'
  UNION ALL
  SELECT 'pg_catalog.pg_language'::regclass, l.oid, 0, l.lanowner, l.lanacl, acldefault('l', l.lanowner) FROM pg_catalog.pg_language l WHERE l.lanacl IS NOT NULL
  UNION ALL
  SELECT 'pg_catalog.pg_foreign_data_wrapper'::regclass, w.oid, 0, w.fdwowner, w.fdwacl, acldefault('F', w.fdwowner)
  FROM pg_catalog.pg_foreign_data_wrapper w WHERE w.fdwacl IS NOT NULL
  UNION ALL
  SELECT 'pg_catalog.pg_foreign_server'::regclass, s.oid, 0, s.srvowner, s.srvacl, acldefault('S', s.srvowner)
  FROM pg_catalog.pg_foreign_server s WHERE s.srvacl IS NOT NULL
)
SELECT coalesce(json_agg(json_build_object(
    'class', a.class::oid::int8, 'oid', a.oid::int8, 'sub', a.sub, 'owner', pg_get_userbyid(a.owner),
    'target', CASE WHEN o.type IN ('view', 'materialized view', 'foreign table') OR a.sub > 0 THEN 'TABLE'
                   WHEN o.type = 'aggregate' THEN 'FUNCTION' WHEN o.type = 'foreign-data wrapper' THEN 'FOREIGN DATA WRAPPER'
                   WHEN o.type = 'server' THEN 'FOREIGN SERVER' ELSE upper(o.type) END
              || ' ' || CASE WHEN a.sub > 0 THEN format('%I.%I', tn.nspname, t.relname) ELSE o.identity END,
    'column', CASE WHEN a.sub > 0 THEN (SELECT c.attname FROM pg_catalog.pg_attribute c WHERE c.attrelid = a.oid AND c.attnum = a.sub) END,
    'acl', coalesce((SELECT json_agg(json_build_array(pg_get_userbyid(g.grantor), CASE WHEN g.grantee <> 0 THEN pg_get_userbyid(g.grantee) END,
             g.privilege_type, g.is_grantable)) FROM aclexplode(a.acl) g), '[]'),
    'base', coalesce((SELECT json_agg(json_build_array(pg_get_userbyid(g.grantor), CASE WHEN g.grantee <> 0 THEN pg_get_userbyid(g.grantee) END,
             g.privilege_type, g.is_grantable)) FROM aclexplode(coalesce(i.initprivs, a.base)) g), '[]')
  ) ORDER BY a.class, a.oid, a.sub), '[]')::text AS json
FROM acls a
LEFT JOIN pg_catalog.pg_init_privs i ON i.classoid = a.class AND i.objoid = a.oid AND i.objsubid = a.sub
LEFT JOIN pg_catalog.pg_class t ON a.sub > 0 AND t.oid = a.oid
LEFT JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
CROSS JOIN LATERAL pg_identify_object(a.class, a.oid, a.sub) o
WHERE NOT (coalesce(i.initprivs, a.base) @> a.acl AND a.acl @> coalesce(i.initprivs, a.base))
  AND coalesce(o.schema, tn.nspname, '') NOT IN ('pgrelay', 'pgrelay_peer', 'pg_toast', 'information_schema')
  AND NOT (a.class = 'pg_catalog.pg_namespace'::regclass AND o.name IN ('pgrelay', 'pgrelay_peer', 'information_schema'));
