-- How far a task is on this peer; no row when it has not begun or was cleaned up. $1 task key.
SELECT t.pre_data_done, t.post_data_done
FROM pgrelay_peer.task t
WHERE t.task_key = $1
