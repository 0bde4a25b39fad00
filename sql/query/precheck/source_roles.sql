-- Roles that own, are granted something on, or are named by a policy of what stands in each schema, with the objects by name
-- (a null name is the schema itself), and the extensions of the database. No parameters; one row, one JSON value.
WITH object AS (
    SELECT c.relnamespace AS namespace, c.relname AS name, c.relowner AS owner, c.relacl AS acl
    FROM pg_catalog.pg_class c
    WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S') AND c.relpersistence <> 't'
    UNION ALL
    SELECT c.relnamespace, c.relname, c.relowner, a.attacl
    FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    WHERE a.attacl IS NOT NULL AND NOT a.attisdropped
    UNION ALL
    SELECT p.pronamespace, p.proname, p.proowner, p.proacl
    FROM pg_catalog.pg_proc p
    WHERE NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend e
        WHERE e.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND e.objid = p.oid AND e.deptype = 'e')
    UNION ALL
    SELECT t.typnamespace, t.typname, t.typowner, t.typacl
    FROM pg_catalog.pg_type t
    WHERE t.typtype IN ('e', 'd', 'r')
        AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_depend e
            WHERE e.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND e.objid = t.oid AND e.deptype = 'e')
    UNION ALL
    SELECT n.oid, NULL, n.nspowner, n.nspacl
    FROM pg_catalog.pg_namespace n
),
need AS (
    SELECT o.namespace, o.name, o.owner AS role, true AS owns
    FROM object o
    UNION ALL
    SELECT o.namespace, o.name, a.grantee, false
    FROM object o
    CROSS JOIN LATERAL pg_catalog.aclexplode(o.acl) a
    UNION ALL
    SELECT c.relnamespace, c.relname, r.role, false
    FROM pg_catalog.pg_policy p
    JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
    CROSS JOIN LATERAL pg_catalog.unnest(p.polroles) r (role)
),
by_role AS (
    SELECT r.rolname AS role, d.owns, n.nspname AS schema, pg_catalog.jsonb_agg(DISTINCT d.name) AS names
    FROM need d
    JOIN pg_catalog.pg_namespace n ON n.oid = d.namespace
    JOIN pg_catalog.pg_roles r ON r.oid = d.role
    WHERE r.rolname !~ '^pg_'
        AND n.nspname !~ '^pg_'
        AND n.nspname NOT IN ('information_schema', 'pgrelay', 'pgrelay_peer')
    GROUP BY r.rolname, d.owns, n.nspname
)
SELECT pg_catalog.jsonb_build_object(
        'roles', coalesce((
            SELECT pg_catalog.jsonb_agg(pg_catalog.to_jsonb(b) ORDER BY b.role, b.schema, b.owns DESC)
            FROM by_role b), '[]'),
        'extensions', coalesce((
            SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('name', e.extname, 'version', e.extversion) ORDER BY e.extname)
            FROM pg_catalog.pg_extension e), '[]'));
