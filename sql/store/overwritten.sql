-- What the resolution of a conflict has overwritten. $1 task, $2 record. Rows as text: nothing between here and there reads their numbers.
SELECT c.direction, c.schema_name, c.table_name, c.resolution,
       ARRAY(SELECT e.value::text FROM pg_catalog.jsonb_array_elements(c.peer_rows) WITH ORDINALITY AS e (value, n) ORDER BY e.n) AS rows,
       c.result_row::text AS result
FROM pgrelay.task_conflict c
WHERE c.task_id = $1 AND c.id = $2
