-- Options of the foreign server that a task names as its peer, and of the applier's user mapping for it. $1 server.
SELECT coalesce(s.srvoptions, '{}') AS server_options,
       coalesce((SELECT m.umoptions FROM pg_catalog.pg_user_mappings m
                 WHERE m.srvid = s.oid AND m.usename IN (current_user, 'public')
                 ORDER BY m.usename = 'public' LIMIT 1), '{}') AS user_options
FROM pg_catalog.pg_foreign_server s
WHERE s.srvname = $1
