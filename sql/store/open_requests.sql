-- Questions to a direction of this task that have no answer. $1 task, $2 direction.
SELECT id, kind, lsn::text, about
FROM pgrelay.request
WHERE task_id = $1 AND answered_at IS NULL AND (kind = 'catchup_reverse') = ($2 = 'reverse')
ORDER BY id
