-- $1 task, $2 direction, $3 transactions, $4 changes and $5 groups applied again since the task started; what is written twice counts once.
UPDATE pgrelay.task_actual
SET transactions_applied = greatest(transactions_applied, $3),
    changes_applied = greatest(changes_applied, $4),
    replayed = greatest(replayed, $5)
WHERE task_id = $1 AND direction = $2
