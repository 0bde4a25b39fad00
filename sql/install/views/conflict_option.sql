CREATE VIEW pgrelay.conflict_option AS
SELECT t.name AS task,
       o.option,
       o.schema_name AS schema,
       o.table_name AS "table",
       o.direction,
       o.value
FROM pgrelay.task t
CROSS JOIN LATERAL (
    SELECT 'strict' AS option, NULL::text AS schema_name, NULL::text AS table_name, NULL::text AS direction,
           coalesce(t.options ->> 'strict', 'false') AS value
    UNION ALL
    SELECT 'update_missing', NULL, NULL, NULL, coalesce(t.options ->> 'update_missing', 'insert')
    UNION ALL
    SELECT s.option, s.schema_name, s.table_name, s.direction, s.value
    FROM pgrelay.task_conflict_option s
    WHERE s.task_id = t.id) o;

COMMENT ON VIEW pgrelay.conflict_option IS 'What counts beside the policies of each task; NULL stands for all. The most specific row of an option counts: a table before a direction.';
COMMENT ON COLUMN pgrelay.conflict_option.task IS 'Name of the task.';
COMMENT ON COLUMN pgrelay.conflict_option.option IS 'strict: the policy also decides about an update of a row that the other side wrote last. update_missing: what an update does that meets no row.';
COMMENT ON COLUMN pgrelay.conflict_option.schema IS 'Schema of the table on the source.';
COMMENT ON COLUMN pgrelay.conflict_option."table" IS 'Table on the source.';
COMMENT ON COLUMN pgrelay.conflict_option.direction IS 'forward or reverse.';
COMMENT ON COLUMN pgrelay.conflict_option.value IS 'What counts there: true or false; insert, skip or fail.';
GRANT SELECT ON pgrelay.conflict_option TO pgrelay_monitor;
