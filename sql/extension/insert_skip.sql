-- Notes that a transaction is left out. $1 task, $2 position of its commit record (text), $3 role, $4 direction. One row: whether it lies ahead of all
-- WAL of the source (of the peer's nothing is known here), whether it is applied already, whether it is noted now. Neither of the former is noted.
WITH place AS (
    SELECT $4 = 'forward' AND $2::pg_lsn >= pg_catalog.pg_current_wal_insert_lsn() AS ahead, coalesce($2::pg_lsn < a.applied_lsn, false) AS applied
    FROM pgrelay.task t
    LEFT JOIN pgrelay.task_actual a ON a.task_id = t.id AND a.direction = $4
    WHERE t.id = $1
), noted AS (
    INSERT INTO pgrelay.task_skip (task_id, direction, commit_lsn, requested_by)
    SELECT $1, $4, $2::pg_lsn, $3::name
    FROM place
    WHERE NOT place.ahead AND NOT place.applied
    ON CONFLICT (task_id, direction, commit_lsn) DO NOTHING
    RETURNING true
)
SELECT place.ahead, place.applied, EXISTS (SELECT FROM noted) AS noted
FROM place
