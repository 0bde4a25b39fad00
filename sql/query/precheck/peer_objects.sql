-- What stands on the peer outside the system's and pgrelay's schemas. No parameters; one row, one JSON value.
WITH namespace AS (
    SELECT n.oid, n.nspname,
        pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS schema_usage,
        pg_catalog.has_schema_privilege(n.oid, 'CREATE') AS schema_create
    FROM pg_catalog.pg_namespace n
    WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgrelay', 'pgrelay_peer')
),
object AS (
    SELECT 'schema' AS kind, n.nspname::text AS name, pg_catalog.format('%I', n.nspname) AS quoted
    FROM namespace n
    UNION ALL
    SELECT CASE c.relkind
            WHEN 'v' THEN 'view'
            WHEN 'm' THEN 'materialized view'
            WHEN 'S' THEN 'sequence'
            WHEN 'f' THEN 'foreign table'
            WHEN 'i' THEN 'index'
            WHEN 'I' THEN 'index'
            WHEN 'c' THEN 'type'
            ELSE 'table'
        END, n.nspname || '.' || c.relname, pg_catalog.format('%I.%I', n.nspname, c.relname)
    FROM pg_catalog.pg_class c
    JOIN namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'i', 'I', 'c')
    UNION ALL
    SELECT CASE t.typtype WHEN 'd' THEN 'domain' ELSE 'type' END, n.nspname || '.' || t.typname, pg_catalog.format('%I.%I', n.nspname, t.typname)
    FROM pg_catalog.pg_type t
    JOIN namespace n ON n.oid = t.typnamespace
    WHERE t.typtype IN ('e', 'd', 'r') OR (t.typtype = 'b' AND t.typelem = 0)
    UNION ALL
    SELECT CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END,
        n.nspname || '.' || p.proname || '(' || a.types || ')',
        pg_catalog.format('%I.%I(%s)', n.nspname, p.proname, a.types)
    FROM pg_catalog.pg_proc p
    JOIN namespace n ON n.oid = p.pronamespace
    CROSS JOIN LATERAL (
        SELECT coalesce(pg_catalog.string_agg(pg_catalog.format_type(t.oid, NULL), ', ' ORDER BY t.place), '') AS types
        FROM pg_catalog.unnest(p.proargtypes::oid[]) WITH ORDINALITY t (oid, place)) a
),
firing AS (
    SELECT t.tgrelid, pg_catalog.jsonb_agg(
            pg_catalog.jsonb_build_object('name', t.tgname, 'always', t.tgenabled = 'A') ORDER BY t.tgname) AS triggers
    FROM pg_catalog.pg_trigger t
    WHERE t.tgenabled IN ('A', 'R') AND NOT t.tgisinternal
    GROUP BY t.tgrelid
)
SELECT pg_catalog.jsonb_build_object(
        'objects', (SELECT pg_catalog.jsonb_agg(pg_catalog.to_jsonb(o)) FROM object o),
        'schemas', (
            SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('name', n.nspname, 'create', n.schema_usage AND n.schema_create))
            FROM namespace n),
        'tables', coalesce((
            SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                'schema', n.nspname,
                'name', c.relname,
                'lacks', (
                    SELECT coalesce(pg_catalog.jsonb_agg(p.name), '[]')
                    FROM (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE')) p (name)
                    WHERE NOT pg_catalog.has_table_privilege(c.oid, p.name)),
                'schema_usage', n.schema_usage,
                'row_security_active', pg_catalog.row_security_active(c.oid),
                'owner', pg_catalog.pg_get_userbyid(c.relowner),
                'can_act', pg_catalog.pg_has_role(c.relowner,
                    CASE WHEN pg_catalog.current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END),
                'has_pages', c.relkind = 'r' AND pg_catalog.pg_relation_size(c.oid) > 0,
                'replica_triggers', coalesce(f.triggers, '[]')))
            FROM pg_catalog.pg_class c
            JOIN namespace n ON n.oid = c.relnamespace
            LEFT JOIN firing f ON f.tgrelid = c.oid
            WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'), '[]'));
