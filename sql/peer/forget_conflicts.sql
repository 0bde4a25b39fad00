-- Removes records of conflicts that are old and have come to the task's home. $1 task key, $2 days.
DELETE FROM pgrelay_peer.conflict c
WHERE c.detected_at < pg_catalog.now() - pg_catalog.make_interval(days => $2) AND c.task_key = $1
    AND NOT EXISTS (
        SELECT
        FROM (SELECT pg_catalog.unnest(l.ordinals) AS ordinal FROM pgrelay_peer.conflict_to_carry l WHERE l.task_key = $1) w
        WHERE w.ordinal = c.ordinal)
