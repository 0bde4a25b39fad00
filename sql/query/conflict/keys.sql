-- What keeps the rows of one table apart, as the conditions of a query. $1 schema, $2 table. No row when nothing does.
-- name: the constraint's, else the index's. deferrable: checked at the end of a transaction. columns: each an expression over the
-- table's columns, with the collation and operator of the index. filter: the predicate of a partial index.
SELECT coalesce(con.conname, ic.relname)::pg_catalog.text AS name,
       i.indisprimary AS is_primary,
       NOT i.indimmediate AS deferrable,
       i.indnullsnotdistinct AS nulls_equal,
       pg_catalog.pg_get_expr(i.indpred, c.oid) AS filter,
       k.expressions, k.operators
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion) AND i.indisready
JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
LEFT JOIN pg_catalog.pg_constraint con ON con.conindid = i.indexrelid AND con.conrelid = c.oid AND con.contype IN ('p', 'u', 'x')
CROSS JOIN LATERAL (
    SELECT pg_catalog.array_agg(pg_catalog.format('(%s)%s',
               pg_catalog.pg_get_indexdef(i.indexrelid, n, false),
               CASE WHEN i.indcollation[n - 1] <> 0 THEN (
                   SELECT pg_catalog.format(' COLLATE %I.%I', cn.nspname, co.collname)
                   FROM pg_catalog.pg_collation co JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
                   WHERE co.oid = i.indcollation[n - 1]) END) ORDER BY n) AS expressions,
           pg_catalog.array_agg(pg_catalog.format('OPERATOR(%I.%s)', opn.nspname, op.oprname) ORDER BY n) AS operators
    FROM pg_catalog.generate_series(1, i.indnkeyatts::integer) AS n
    JOIN pg_catalog.pg_opclass oc ON oc.oid = i.indclass[n - 1]
    LEFT JOIN pg_catalog.pg_amop ao ON ao.amopfamily = oc.opcfamily AND ao.amopstrategy = 3
        AND ao.amoplefttype = oc.opcintype AND ao.amoprighttype = oc.opcintype
    JOIN pg_catalog.pg_operator op ON op.oid = coalesce(con.conexclop[n], ao.amopopr)
    JOIN pg_catalog.pg_namespace opn ON opn.oid = op.oprnamespace
) k
WHERE s.nspname = $1 AND c.relname = $2
ORDER BY i.indisprimary DESC, i.indexrelid
