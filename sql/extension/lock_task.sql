-- Holds the task against other commands until the end of the transaction; rows that refer to it can still be written. $1 name.
SELECT t.id FROM pgrelay.task t WHERE t.name = $1 FOR NO KEY UPDATE
