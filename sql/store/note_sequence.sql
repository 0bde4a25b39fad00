-- A sequence gives other values on each side from now on, or why it does not. $1 task, $2 schema, $3 name, $4 its step before, $5 reason.
INSERT INTO pgrelay.task_sequence AS s (task_id, schema_name, sequence_name, increment_before, reason)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (task_id, schema_name, sequence_name) DO UPDATE
SET increment_before = EXCLUDED.increment_before, reason = EXCLUDED.reason
