-- A task's transactions that are prepared here, those that are committed and marked, those whose end is to come. $1 task key.
SELECT ARRAY(
           SELECT x.gid
           FROM pg_catalog.pg_prepared_xacts x
           WHERE x.database = pg_catalog.current_database() AND pg_catalog.starts_with(x.gid, $1 || '_')),
       ARRAY(SELECT p.name FROM pgrelay_peer.prepared p WHERE p.task_key = $1 AND p.committed),
       ARRAY(SELECT p.name FROM pgrelay_peer.prepared p WHERE p.task_key = $1 AND NOT p.committed)
