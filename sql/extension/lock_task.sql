-- Holds the task against other commands until the end of the transaction. $1 name.
SELECT t.id FROM pgrelay.task t WHERE t.name = $1 FOR UPDATE
