-- What keeps rows of one table apart. $1 schema, $2 table.
-- no_arbiter: INSERT … ON CONFLICT refuses the table, for it has a deferrable key or constraint, or a rule.
-- collision: for each deferrable one the condition that two rows of the table, as subqueries n and o, have the same key; none checks
-- these where triggers do not fire. keys and filter: what those subqueries must give beside ctid. One row with NULLs when there is none;
-- no row when nothing keeps rows apart.
SELECT EXISTS (
        SELECT FROM pg_catalog.pg_index d
        WHERE d.indrelid = c.oid AND (d.indisunique OR d.indisexclusion) AND d.indisready AND NOT d.indimmediate)
    OR EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_type IN ('2', '3')) AS no_arbiter,
    k.keys, k.collision,
    CASE WHEN NOT i.indimmediate THEN coalesce(pg_catalog.pg_get_expr(i.indpred, c.oid), 'true') END AS filter
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion) AND i.indisready
LEFT JOIN pg_catalog.pg_constraint con ON con.conindid = i.indexrelid AND con.contype IN ('p', 'u', 'x')
LEFT JOIN LATERAL (
    SELECT pg_catalog.string_agg(pg_catalog.format('(%s)%s AS k%s',
               pg_catalog.pg_get_indexdef(i.indexrelid, n, false),
               CASE WHEN i.indcollation[n - 1] <> 0 THEN (
                   SELECT pg_catalog.format(' COLLATE %I.%I', cn.nspname, co.collname)
                   FROM pg_catalog.pg_collation co JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
                   WHERE co.oid = i.indcollation[n - 1]) END, n), ', ' ORDER BY n) AS keys,
           pg_catalog.string_agg(pg_catalog.format(
               CASE WHEN i.indnullsnotdistinct THEN '(n.k%1$s OPERATOR(%2$I.%3$s) o.k%1$s OR (n.k%1$s IS NULL AND o.k%1$s IS NULL))'
                    ELSE 'n.k%1$s OPERATOR(%2$I.%3$s) o.k%1$s' END, n, opn.nspname, op.oprname), ' AND ' ORDER BY n) AS collision
    FROM pg_catalog.generate_series(1, i.indnkeyatts::integer) AS n
    JOIN pg_catalog.pg_opclass oc ON oc.oid = i.indclass[n - 1]
    LEFT JOIN pg_catalog.pg_amop ao ON ao.amopfamily = oc.opcfamily AND ao.amopstrategy = 3
        AND ao.amoplefttype = oc.opcintype AND ao.amoprighttype = oc.opcintype
    JOIN pg_catalog.pg_operator op ON op.oid = coalesce(con.conexclop[n], ao.amopopr)
    JOIN pg_catalog.pg_namespace opn ON opn.oid = op.oprnamespace
) k ON NOT i.indimmediate
WHERE s.nspname = $1 AND c.relname = $2
ORDER BY i.indexrelid
