-- Shape of one table as changes are applied to it, NULL json when there is none. $1 schema, $2 table.
-- Types are named without a type modifier: a cast to varchar(10) would cut a value instead of refusing it.
-- acts_as: the owner, when the session may take his role and he may do what applying needs; then nothing that belongs to the table runs
-- with more rights than his. Membership is the session user's, whatever role it has taken by now.
-- deferred: constraint triggers that wait for the end of the transaction although the session replicates.
-- deferrable_keys: what keeps rows apart at the end of a transaction only, by triggers that do not run in a session that replicates.
-- Keys are unique, immediate, valid, complete indexes on plain columns, with the equality operator of each column's operator class.
SELECT pg_catalog.json_build_object(
    'partitioned', c.relkind = 'p',
    'watched', EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE g.tgrelid = c.oid AND g.tgenabled IN ('A', 'R'))
        OR EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_enabled IN ('A', 'R')),
    'acts_as', (
        SELECT o.rolname
        FROM pg_catalog.pg_roles o
        WHERE o.oid = c.relowner
          AND pg_catalog.pg_has_role(session_user, o.oid,
              CASE WHEN pg_catalog.current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END)
          AND pg_catalog.has_schema_privilege(o.oid, n.oid, 'USAGE')
          AND NOT EXISTS (
              SELECT FROM pg_catalog.unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE}'::text[]) p (name)
              WHERE NOT pg_catalog.has_table_privilege(o.oid, c.oid, p.name))
          AND NOT EXISTS (
              SELECT FROM pg_catalog.pg_attribute a
              JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                AND NOT pg_catalog.has_schema_privilege(o.oid, t.typnamespace, 'USAGE'))
          -- The owner himself would see a part of the rows only.
          AND NOT (c.relrowsecurity AND c.relforcerowsecurity AND NOT o.rolsuper AND NOT o.rolbypassrls)),
    'deferred', (
        SELECT coalesce(pg_catalog.json_agg(pg_catalog.format('%I.%I', kn.nspname, k.conname)), '[]')
        FROM pg_catalog.pg_trigger g
        JOIN pg_catalog.pg_constraint k ON k.oid = g.tgconstraint
        JOIN pg_catalog.pg_namespace kn ON kn.oid = k.connamespace
        WHERE g.tgrelid = c.oid AND g.tgenabled IN ('A', 'R') AND g.tginitdeferred),
    'deferrable_keys', EXISTS (
        SELECT FROM pg_catalog.pg_index i
        WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion) AND NOT i.indimmediate AND i.indisready),
    'columns', (
        SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', a.attname,
            'type_oid', t.oid::bigint,
            'type_schema', tn.nspname,
            'type_name', t.typname,
            'typmod', a.atttypmod,
            'generated', a.attgenerated <> '',
            'identity_always', a.attidentity = 'a',
            'in_arrays', t.typarray <> 0 AND t.typcategory NOT IN ('A', 'C') AND t.typdelim = ',',
            'one_image', t.typtype IN ('b', 'e') AND (t.typlen > 0 OR (t.oid < 16384 AND t.typname IN
                ('text', 'varchar', 'bpchar', 'numeric', 'bytea', 'json', 'jsonb', 'xml', 'bit', 'varbit', 'inet', 'cidr')))) ORDER BY a.attnum), '[]')
        FROM pg_catalog.pg_attribute a
        JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
        JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
    'keys', (
        SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
            'primary', i.indisprimary,
            'columns', (
                SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
                    'name', a.attname,
                    'operator_schema', o.operator_schema,
                    'deterministic', coalesce((SELECT l.collisdeterministic FROM pg_catalog.pg_collation l WHERE l.oid = i.indcollation[k.n - 1]), true),
                    'operator', o.operator) ORDER BY k.n)
                FROM pg_catalog.generate_series(1, i.indnkeyatts::integer) AS k (n)
                JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[k.n - 1]
                -- By itself: among all the rest the planner may join every operator class with every operator.
                CROSS JOIN LATERAL (
                    SELECT op.oprname AS operator, opn.nspname AS operator_schema
                    FROM pg_catalog.pg_opclass oc
                    JOIN pg_catalog.pg_amop ao ON ao.amopfamily = oc.opcfamily AND ao.amopstrategy = 3
                        AND ao.amoplefttype = oc.opcintype AND ao.amoprighttype = oc.opcintype
                    JOIN pg_catalog.pg_operator op ON op.oid = ao.amopopr
                    JOIN pg_catalog.pg_namespace opn ON opn.oid = op.oprnamespace
                    WHERE oc.oid = i.indclass[k.n - 1]
                    OFFSET 0) AS o)
            ) ORDER BY i.indisprimary DESC, i.indexrelid), '[]')
        FROM pg_catalog.pg_index i
        JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
        JOIN pg_catalog.pg_am am ON am.oid = ic.relam AND am.amname = 'btree'
        WHERE i.indrelid = c.oid AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL
          AND NOT 0 = ANY (i.indkey::smallint[]))
) AS json
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')
