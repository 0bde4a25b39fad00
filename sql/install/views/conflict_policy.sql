CREATE VIEW pgrelay.conflict_policy AS
SELECT t.name AS task,
       p.schema_name AS schema,
       p.table_name AS "table",
       p.kind,
       p.direction,
       p.policy
FROM pgrelay.task t
CROSS JOIN LATERAL (
    SELECT NULL::text AS schema_name, NULL::text AS table_name, NULL::text AS kind, NULL::text AS direction,
           coalesce(t.options ->> 'conflict_policy', 'fail') AS policy
    UNION ALL
    SELECT o.schema_name, o.table_name, o.kind, o.direction, o.policy
    FROM pgrelay.task_policy o
    WHERE o.task_id = t.id) p;

COMMENT ON VIEW pgrelay.conflict_policy IS 'How conflicts of each task are decided; NULL stands for all. The most specific row counts: a table before a kind before a direction.';
COMMENT ON COLUMN pgrelay.conflict_policy.task IS 'Name of the task.';
COMMENT ON COLUMN pgrelay.conflict_policy.schema IS 'Schema of the table on the source.';
COMMENT ON COLUMN pgrelay.conflict_policy."table" IS 'Table on the source.';
COMMENT ON COLUMN pgrelay.conflict_policy.kind IS 'Kind of conflict.';
COMMENT ON COLUMN pgrelay.conflict_policy.direction IS 'forward or reverse.';
COMMENT ON COLUMN pgrelay.conflict_policy.policy IS 'What counts there: fail, ignore, overwrite, latest_wins or source_priority.';
GRANT SELECT ON pgrelay.conflict_policy TO pgrelay_monitor;
