-- Removes records of conflicts that are old and have come to the task's home. $1 task key, $2 days.
DELETE FROM pgrelay_peer.conflict
WHERE task_key = $1 AND carried AND detected_at < pg_catalog.now() - pg_catalog.make_interval(days => $2)
