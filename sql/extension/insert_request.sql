-- Asks the applier, and forgets what was asked long ago. $1 task, $2 kind, $3 token, $4 what it is about. No row when the task is gone.
WITH old AS (
    DELETE FROM pgrelay.request
    WHERE answered_at < pg_catalog.clock_timestamp() - interval '1 hour'
       OR requested_at < pg_catalog.clock_timestamp() - interval '1 day'
)
INSERT INTO pgrelay.request (task_id, kind, lsn, token, about)
SELECT t.id, $2, pg_catalog.pg_current_wal_insert_lsn(), $3::uuid, $4
FROM pgrelay.task t
WHERE t.id = $1
