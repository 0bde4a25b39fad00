-- Removes records of conflicts that are old; counts stay. $1 task, $2 days.
DELETE FROM pgrelay.task_conflict
WHERE task_id = $1 AND detected_at < pg_catalog.now() - pg_catalog.make_interval(days => $2)
