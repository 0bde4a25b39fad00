CREATE VIEW pgrelay.conflict_count AS
SELECT t.name AS task,
       c.direction,
       c.schema_name AS schema,
       c.table_name AS "table",
       coalesce(pg_catalog.sum(c.count) FILTER (WHERE c.kind = 'insert_exists'), 0)::bigint AS confl_insert_exists,
       coalesce(pg_catalog.sum(c.count) FILTER (WHERE c.kind = 'update_origin_differs'), 0)::bigint AS confl_update_origin_differs,
       coalesce(pg_catalog.sum(c.count) FILTER (WHERE c.kind = 'update_exists'), 0)::bigint AS confl_update_exists,
       coalesce(pg_catalog.sum(c.count) FILTER (WHERE c.kind = 'update_missing'), 0)::bigint AS confl_update_missing,
       coalesce(pg_catalog.sum(c.count) FILTER (WHERE c.kind = 'delete_origin_differs'), 0)::bigint AS confl_delete_origin_differs,
       coalesce(pg_catalog.sum(c.count) FILTER (WHERE c.kind = 'delete_missing'), 0)::bigint AS confl_delete_missing,
       coalesce(pg_catalog.sum(c.count) FILTER (WHERE c.kind = 'multiple_unique_conflicts'), 0)::bigint AS confl_multiple_unique_conflicts
FROM pgrelay.task_conflict_count c
JOIN pgrelay.task t ON t.id = c.task_id
GROUP BY t.name, c.direction, c.schema_name, c.table_name;

COMMENT ON VIEW pgrelay.conflict_count IS 'Conflicts of each task by table and kind since it was created, those too whose records are removed. Names as in pg_stat_subscription_stats of PostgreSQL 18.';
COMMENT ON COLUMN pgrelay.conflict_count.task IS 'Name of the task.';
COMMENT ON COLUMN pgrelay.conflict_count.direction IS 'forward or reverse.';
COMMENT ON COLUMN pgrelay.conflict_count.schema IS 'Schema of the table on the source.';
COMMENT ON COLUMN pgrelay.conflict_count."table" IS 'Table on the source.';
COMMENT ON COLUMN pgrelay.conflict_count.confl_insert_exists IS 'An insert met a row with the value of a unique key.';
COMMENT ON COLUMN pgrelay.conflict_count.confl_update_origin_differs IS 'An update met a row that the other side wrote last.';
COMMENT ON COLUMN pgrelay.conflict_count.confl_update_exists IS 'An update gave its row the value of a unique key that another row has.';
COMMENT ON COLUMN pgrelay.conflict_count.confl_update_missing IS 'An update met no row.';
COMMENT ON COLUMN pgrelay.conflict_count.confl_delete_origin_differs IS 'A delete met a row that the other side wrote last.';
COMMENT ON COLUMN pgrelay.conflict_count.confl_delete_missing IS 'A delete met no row.';
COMMENT ON COLUMN pgrelay.conflict_count.confl_multiple_unique_conflicts IS 'An insert or update met several rows by several unique keys.';
GRANT SELECT ON pgrelay.conflict_count TO pgrelay_monitor;
