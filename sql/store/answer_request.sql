-- $1 request; $2 sqlstate, $3 message, $4 hint of the error, NULL when all is well.
UPDATE pgrelay.request
SET answered_at = pg_catalog.clock_timestamp(),
    error_sqlstate = $2,
    error_message = $3,
    error_hint = $4
WHERE id = $1
