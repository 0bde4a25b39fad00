-- Gives a command. $1 task, $2 desired, $3 force, $4 timeline, NULL to keep the stored one.
UPDATE pgrelay.task
SET desired = $2,
    desired_serial = desired_serial + 1,
    desired_force = $3,
    desired_at = pg_catalog.clock_timestamp(),
    timeline = coalesce($4, timeline)
WHERE id = $1
