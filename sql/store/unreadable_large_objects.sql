-- How many large objects a role may not read; all of them when the role is gone. $1 the role.
SELECT count(*)
FROM pg_catalog.pg_largeobject_metadata m
LEFT JOIN pg_catalog.pg_roles r ON r.rolname = $1
WHERE r.oid IS NULL
   OR NOT (pg_catalog.pg_has_role(r.oid, m.lomowner, 'USAGE')
       OR EXISTS (
           SELECT FROM pg_catalog.aclexplode(m.lomacl) g
           WHERE g.privilege_type = 'SELECT'
             AND (g.grantee = 0 OR pg_catalog.pg_has_role(r.oid, g.grantee, 'USAGE'))))
