-- A policy for some conflicts of a task. $1 task, $2 schema, $3 table, $4 kind, $5 direction, $6 policy; NULL in $2 to $5 stands for all.
INSERT INTO pgrelay.task_policy AS p (task_id, schema_name, table_name, kind, direction, policy)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (task_id, schema_name, table_name, kind, direction) DO UPDATE
SET policy = EXCLUDED.policy
