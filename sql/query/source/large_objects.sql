-- Large objects above an OID, in order. $1 the OID, $2 how many, $3 bytes of the content from its beginning; none of it for NULL.
SELECT m.oid,
    pg_catalog.json_build_object(
        'owner', pg_catalog.pg_get_userbyid(m.lomowner),
        'acl', CASE WHEN m.lomacl IS NOT NULL THEN (
            SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(pg_catalog.pg_get_userbyid(g.grantor),
                CASE WHEN g.grantee <> 0 THEN pg_catalog.pg_get_userbyid(g.grantee) END, g.privilege_type, g.is_grantable)), '[]')
            FROM pg_catalog.aclexplode(m.lomacl) g) END,
        'base', (
            SELECT pg_catalog.json_agg(pg_catalog.json_build_array(pg_catalog.pg_get_userbyid(g.grantor),
                pg_catalog.pg_get_userbyid(g.grantee), g.privilege_type, g.is_grantable))
            FROM pg_catalog.aclexplode(pg_catalog.acldefault('L', m.lomowner)) g),
        'comment', pg_catalog.obj_description(m.oid, 'pg_largeobject'),
        'labels', coalesce((
            SELECT pg_catalog.json_agg(pg_catalog.json_build_array(s.provider, s.label) ORDER BY s.provider)
            FROM pg_catalog.pg_seclabel s
            WHERE s.classoid = 'pg_catalog.pg_largeobject'::pg_catalog.regclass AND s.objoid = m.oid), '[]'))::text AS metadata,
    CASE WHEN $3::integer IS NOT NULL THEN pg_catalog.lo_get(m.oid, 0, $3::integer) END AS content
FROM pg_catalog.pg_largeobject_metadata m
WHERE m.oid > $1::oid
ORDER BY m.oid
LIMIT $2::bigint
