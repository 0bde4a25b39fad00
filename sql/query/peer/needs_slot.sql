-- Whether anything that is on the peer of a task depends on its slot. $1 task key.
SELECT t.one_position
    OR EXISTS (SELECT FROM pgrelay_peer.table_copy c WHERE c.task_key = t.task_key)
    OR EXISTS (SELECT FROM pgrelay_peer.chunk_copy c WHERE c.task_key = t.task_key)
FROM pgrelay_peer.task t
WHERE t.task_key = $1
