-- What keeps a task from going on while its state stays. $1 task; $2 sqlstate, $3 message, $4 detail, $5 hint, $6 object, all NULL
-- when nothing does any more; $7 direction.
UPDATE pgrelay.task_actual a
SET error_sqlstate = $2,
    error_message = $3,
    error_detail = $4,
    error_hint = $5,
    error_object = $6,
    error_at = CASE WHEN $3::text IS NOT NULL THEN pg_catalog.clock_timestamp() END
WHERE a.task_id = $1 AND a.direction = $7
