-- $1 task, $2 direction: what the stream has done so far.
SELECT transactions_applied, changes_applied, replayed FROM pgrelay.task_actual WHERE task_id = $1 AND direction = $2
