-- Gives a command to the reverse direction. $1 task, $2 desired.
UPDATE pgrelay.task
SET reverse_desired = $2,
    reverse_serial = reverse_serial + 1
WHERE id = $1
