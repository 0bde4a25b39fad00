-- ALTER DEFAULT PRIVILEGES. `base`: what holds without the entry. A grant is [grantor, grantee or null for PUBLIC, privilege, grant option].
SELECT coalesce(json_agg(json_strip_nulls(json_build_object(
    'oid', d.oid::int8,
    'role', pg_get_userbyid(d.defaclrole),
    'schema', n.nspname,
    'type', d.defaclobjtype,
    'acl', (SELECT json_agg(json_build_array(pg_get_userbyid(g.grantor), CASE WHEN g.grantee <> 0 THEN pg_get_userbyid(g.grantee) END,
              g.privilege_type, g.is_grantable)) FROM aclexplode(d.defaclacl) g),
    'base', CASE WHEN d.defaclnamespace = 0 THEN
             (SELECT json_agg(json_build_array(pg_get_userbyid(g.grantor), CASE WHEN g.grantee <> 0 THEN pg_get_userbyid(g.grantee) END,
                g.privilege_type, g.is_grantable))
              FROM aclexplode(acldefault((CASE d.defaclobjtype WHEN 'S' THEN 's' ELSE d.defaclobjtype END)::"char", d.defaclrole)) g) END
  )) ORDER BY d.oid), '[]')::text AS json
FROM pg_catalog.pg_default_acl d
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace
WHERE n.nspname IS NULL OR n.nspname NOT IN ('pgrelay', 'pgrelay_peer');
