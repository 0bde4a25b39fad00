-- Whether the peer's table $1 (its quoted name) may be truncated by this role without touching another table.
SELECT coalesce(
           pg_catalog.has_table_privilege(c.oid, 'TRUNCATE')
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.contype = 'f' AND k.confrelid = c.oid),
           false)
FROM (SELECT pg_catalog.to_regclass($1) AS oid) c
