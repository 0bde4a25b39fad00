-- Makes one row of those that count the same conflicts. $1 task.
WITH many AS (
    SELECT direction, schema_name, table_name, kind
    FROM pgrelay.task_conflict_count
    WHERE task_id = $1
    GROUP BY direction, schema_name, table_name, kind
    HAVING pg_catalog.count(*) > 1
), gone AS (
    DELETE FROM pgrelay.task_conflict_count c
    USING many m
    WHERE c.task_id = $1
        AND (c.direction, c.schema_name, c.table_name, c.kind) = (m.direction, m.schema_name, m.table_name, m.kind)
    RETURNING c.direction, c.schema_name, c.table_name, c.kind, c.count
)
INSERT INTO pgrelay.task_conflict_count (task_id, direction, schema_name, table_name, kind, count)
SELECT $1, direction, schema_name, table_name, kind, pg_catalog.sum(count)
FROM gone
GROUP BY direction, schema_name, table_name, kind
