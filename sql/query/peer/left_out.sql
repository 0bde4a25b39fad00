-- What a task leaves out: one row with NULLs when it leaves out nothing, none when it has not begun here. $1 task key.
SELECT l.identity, l.reason, l.fix
FROM pgrelay_peer.task t
LEFT JOIN pgrelay_peer.left_out l ON l.task_key = t.task_key
WHERE t.task_key = $1
