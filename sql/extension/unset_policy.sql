-- Takes a policy for some conflicts back; a row when there was one. $1 task, $2 schema, $3 table, $4 kind, $5 direction.
DELETE FROM pgrelay.task_policy
WHERE task_id = $1
  AND schema_name IS NOT DISTINCT FROM $2
  AND table_name IS NOT DISTINCT FROM $3
  AND kind IS NOT DISTINCT FROM $4
  AND direction IS NOT DISTINCT FROM $5
RETURNING true
