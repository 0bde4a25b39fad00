-- What of pgrelay's own schema on the peer belongs to somebody else than the role that asks.
SELECT 'schema "pgrelay_peer"' AS object, pg_catalog.pg_get_userbyid(n.nspowner)::text AS owner
FROM pg_catalog.pg_namespace n
WHERE n.nspname = 'pgrelay_peer' AND n.nspowner <> (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)
UNION ALL
SELECT 'table "pgrelay_peer.' || c.relname || '"', pg_catalog.pg_get_userbyid(c.relowner)::text
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'pgrelay_peer' AND c.relowner <> (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)
