-- The reverse direction has ended with its task, and nothing of it is left. $1 task.
UPDATE pgrelay.task_actual
SET state = 'stopped',
    state_since = pg_catalog.clock_timestamp(),
    updated_at = pg_catalog.clock_timestamp(),
    stage = NULL,
    peer_lsn = NULL,
    lag_bytes = NULL,
    lag = NULL,
    oldest_unapplied_commit = NULL,
    retrying_since = NULL,
    error_sqlstate = NULL,
    error_message = NULL,
    error_detail = NULL,
    error_hint = NULL,
    error_object = NULL,
    error_at = NULL
WHERE task_id = $1 AND direction = 'reverse'
