-- $1 task
SELECT f.item, f.severity, f.object, f.message, f.fix
FROM pgrelay.task_finding f
WHERE f.task_id = $1
ORDER BY f.ordinal
