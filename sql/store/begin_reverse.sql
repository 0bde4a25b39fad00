-- Something of the reverse direction is about to be made. $1 task. A stage that it has come to stays.
INSERT INTO pgrelay.task_actual AS a (task_id, direction, state, state_since, updated_at, stage)
VALUES ($1, 'reverse', 'created', pg_catalog.clock_timestamp(), pg_catalog.clock_timestamp(), 'schema')
ON CONFLICT (task_id, direction) DO UPDATE
SET stage = coalesce(a.stage, EXCLUDED.stage)
