-- Replaces the findings of a task. $1 task; then one array per column. An empty list leaves none.
WITH gone AS (
    DELETE FROM pgrelay.task_finding WHERE task_id = $1 AND ordinal > pg_catalog.cardinality($2::text[])
)
INSERT INTO pgrelay.task_finding (task_id, ordinal, item, severity, object, message, fix)
SELECT $1, u.ordinal, u.item, u.severity, u.object, u.message, u.fix
FROM ROWS FROM (
    pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::text[]), pg_catalog.unnest($4::text[]), pg_catalog.unnest($5::text[]),
    pg_catalog.unnest($6::text[])
) WITH ORDINALITY AS u (item, severity, object, message, fix, ordinal)
ON CONFLICT (task_id, ordinal) DO UPDATE
SET item = EXCLUDED.item,
    severity = EXCLUDED.severity,
    object = EXCLUDED.object,
    message = EXCLUDED.message,
    fix = EXCLUDED.fix,
    found_at = pg_catalog.now()
