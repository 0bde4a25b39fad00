-- How rows t and n of one table share a key, a condition for each of its unique indexes. $1 schema, $2 table, $3 quoted names of the
-- columns that n has. Indexes over expressions, other columns or some rows are left out.
SELECT (SELECT pg_catalog.string_agg(
            pg_catalog.format('t.%1$I OPERATOR(%2$I.%3$s) n.%1$I', a.attname, opn.nspname, op.oprname), ' AND ' ORDER BY k.n)
        FROM pg_catalog.generate_series(1, i.indnkeyatts::integer) AS k (n)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[k.n - 1]
        JOIN pg_catalog.pg_opclass oc ON oc.oid = i.indclass[k.n - 1]
        JOIN pg_catalog.pg_amop ao ON ao.amopfamily = oc.opcfamily AND ao.amopstrategy = 3
            AND ao.amoplefttype = oc.opcintype AND ao.amoprighttype = oc.opcintype
        JOIN pg_catalog.pg_operator op ON op.oid = ao.amopopr
        JOIN pg_catalog.pg_namespace opn ON opn.oid = op.oprnamespace) AS same_key
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
JOIN pg_catalog.pg_am am ON am.oid = ic.relam AND am.amname = 'btree'
WHERE s.nspname = $1 AND c.relname = $2 AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
  AND NOT EXISTS (
      SELECT FROM pg_catalog.generate_series(1, i.indnkeyatts::integer) AS k (n)
      LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[k.n - 1]
      WHERE i.indkey[k.n - 1] = 0 OR '"' || pg_catalog.replace(a.attname, '"', '""') || '"' <> ALL ($3::text[]))
