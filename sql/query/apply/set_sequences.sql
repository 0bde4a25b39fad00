-- Sets positions of sequences. $1 schemas, $2 names, $3 last values, $4 whether they were called.
-- A sequence that the peer does not have was made after the task began: the watch on the source reports it.
SELECT pg_catalog.setval(c.oid::pg_catalog.regclass, u.value, u.called)
FROM ROWS FROM (
    pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::bigint[]), pg_catalog.unnest($4::boolean[])
) AS u (schema_name, sequence_name, value, called)
JOIN pg_catalog.pg_namespace n ON n.nspname = u.schema_name
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = u.sequence_name AND c.relkind = 'S'
