-- Questions to this task that have no answer. $1 task.
SELECT id, kind, lsn::text, about
FROM pgrelay.request
WHERE task_id = $1 AND answered_at IS NULL
ORDER BY id
