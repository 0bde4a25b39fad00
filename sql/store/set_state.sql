-- Moves a direction of a task to a state. $9 direction, $1 task, $2 state, $3 serial seen; $4 sqlstate, $5 message, $6 detail, $7 hint, $8 object
-- of the error that led there, all NULL when there is none. One row, with the state before.
WITH before AS (
    SELECT a.state FROM pgrelay.task_actual a WHERE a.task_id = $1 AND a.direction = $9
), changed AS (
    INSERT INTO pgrelay.task_actual AS a (task_id, direction, seen_serial, state, state_since, updated_at, retrying_since,
        error_sqlstate, error_message, error_detail, error_hint, error_object, error_at)
    VALUES ($1, $9, $3, $2, pg_catalog.clock_timestamp(), pg_catalog.clock_timestamp(),
        CASE WHEN $2 = 'retrying' THEN pg_catalog.clock_timestamp() END,
        $4, $5, $6, $7, $8, CASE WHEN $5::text IS NOT NULL THEN pg_catalog.clock_timestamp() END)
    ON CONFLICT (task_id, direction) DO UPDATE
    SET seen_serial = EXCLUDED.seen_serial,
        state = EXCLUDED.state,
        state_since = CASE WHEN a.state = EXCLUDED.state THEN a.state_since ELSE EXCLUDED.state_since END,
        stage = CASE WHEN EXCLUDED.state NOT IN ('stopped', 'finished') THEN a.stage END,
        peer_lsn = CASE WHEN EXCLUDED.state NOT IN ('stopped', 'finished') THEN a.peer_lsn END,
        cleaning = a.cleaning AND EXCLUDED.state NOT IN ('stopped', 'finished'),
        updated_at = EXCLUDED.updated_at,
        retrying_since = CASE WHEN EXCLUDED.state = 'retrying' THEN coalesce(a.retrying_since, EXCLUDED.retrying_since) END,
        error_sqlstate = EXCLUDED.error_sqlstate,
        error_message = EXCLUDED.error_message,
        error_detail = EXCLUDED.error_detail,
        error_hint = EXCLUDED.error_hint,
        error_object = EXCLUDED.error_object,
        error_at = EXCLUDED.error_at
    RETURNING true
)
SELECT (SELECT state FROM before) FROM changed
