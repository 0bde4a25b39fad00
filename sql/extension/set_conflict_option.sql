-- An option for some changes of a task. $1 task, $2 option, $3 schema, $4 table, $5 direction, $6 value; NULL in $3 to $5 stands for all.
INSERT INTO pgrelay.task_conflict_option (task_id, option, schema_name, table_name, direction, value)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (task_id, option, schema_name, table_name, direction) DO UPDATE
SET value = EXCLUDED.value
