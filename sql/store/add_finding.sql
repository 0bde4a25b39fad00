-- Adds one finding to a task's, unless it stands there. $1 task, $2 item, $3 severity, $4 object, $5 message, $6 fix.
INSERT INTO pgrelay.task_finding (task_id, ordinal, item, severity, object, message, fix)
SELECT $1, coalesce(pg_catalog.max(f.ordinal), 0) + 1, $2, $3, $4, $5, $6
FROM pgrelay.task_finding f
WHERE f.task_id = $1
HAVING NOT coalesce(pg_catalog.bool_or(f.item = $2 AND f.object = $4 AND f.message = $5), false)
