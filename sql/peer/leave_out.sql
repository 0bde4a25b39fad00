-- What a task leaves out on this peer. $1 task key; then one array per column.
INSERT INTO pgrelay_peer.left_out (task_key, identity, reason, fix)
SELECT $1, u.identity, u.reason, u.fix
FROM ROWS FROM (pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::text[]), pg_catalog.unnest($4::text[])) AS u (identity, reason, fix)
