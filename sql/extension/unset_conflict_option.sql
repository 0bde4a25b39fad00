-- Takes an option for some changes back; a row when there was one. $1 task, $2 option, $3 schema, $4 table, $5 direction.
DELETE FROM pgrelay.task_conflict_option
WHERE task_id = $1
  AND option = $2
  AND schema_name IS NOT DISTINCT FROM $3
  AND table_name IS NOT DISTINCT FROM $4
  AND direction IS NOT DISTINCT FROM $5
RETURNING true
