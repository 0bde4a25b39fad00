-- One row per table of a task.

CREATE VIEW pgrelay.table_status AS
WITH source AS (
    SELECT pgrelay.applier_attached() AS attached
)
SELECT t.name AS task,
       s.schema_name,
       s.table_name,
       s.state,
       s.rows_copied AS rows,
       s.rows_kept,
       s.rows_estimated,
       s.bytes_copied AS bytes,
       s.bytes_estimated,
       CASE WHEN d.copied THEN 100.0 ELSE pg_catalog.trunc(100 * d.done, 1) END AS percent,
       CASE WHEN d.copied THEN s.rows_copied / d.taken WHEN d.moves THEN s.rows_per_second END::bigint AS rows_per_second,
       CASE WHEN d.copied THEN s.bytes_copied / d.taken WHEN d.moves THEN s.bytes_per_second END::bigint AS bytes_per_second,
       CASE WHEN d.moves AND s.rows_per_second > 0 AND s.rows_copied < s.rows_estimated
           THEN pg_catalog.make_interval(secs => pg_catalog.round(((s.rows_estimated - s.rows_copied) / s.rows_per_second)::numeric)::float8)
       END AS eta,
       s.indexes_done,
       s.indexes_total,
       s.copy_started_at,
       s.copy_finished_at,
       s.inserts,
       s.updates,
       s.deletes,
       s.truncates,
       CASE WHEN s.insert_only THEN 'only INSERT and TRUNCATE are carried: the table has no replica identity' END AS note
FROM pgrelay.table_state s
JOIN pgrelay.task t ON t.id = s.task_id
CROSS JOIN source
LEFT JOIN pgrelay.task_actual a ON a.task_id = s.task_id AND a.direction = 'forward'
CROSS JOIN LATERAL (
    SELECT s.state IN ('finishedcopy', 'syncdone', 'ready') AS copied,
           CASE WHEN s.rows_estimated > 0 THEN least(0.99, s.rows_copied::numeric / s.rows_estimated)
                WHEN s.bytes_estimated > 0 THEN least(0.99, s.bytes_copied::numeric / s.bytes_estimated)
                ELSE 0 END AS done,
           nullif(pg_catalog.date_part('epoch', s.copy_finished_at - s.copy_started_at), 0) AS taken,
           s.state = 'datasync' AND source.attached AND a.state IN ('copying', 'catching_up', 'running') AS moves
) d;

COMMENT ON VIEW pgrelay.table_status IS 'One row per table of each task: how far its copy is, and what the stream has carried.';
COMMENT ON COLUMN pgrelay.table_status.task IS 'Name of the task.';
COMMENT ON COLUMN pgrelay.table_status.schema_name IS 'Schema on the source.';
COMMENT ON COLUMN pgrelay.table_status.table_name IS 'Table on the source.';
COMMENT ON COLUMN pgrelay.table_status.state IS 'init (not begun), datasync (rows are being copied), finishedcopy (rows are there, indexes are being built), syncdone (its waiting changes are applied), ready (it stands where the stream stands).';
COMMENT ON COLUMN pgrelay.table_status.rows IS 'Rows copied.';
COMMENT ON COLUMN pgrelay.table_status.rows_kept IS 'Rows of the source that the copy left out, since one of the peer''s with the same key stays (existing_objects = keep).';
COMMENT ON COLUMN pgrelay.table_status.rows_estimated IS 'The planner''s estimate of rows on the source when the copy began; -1 when it never looked.';
COMMENT ON COLUMN pgrelay.table_status.bytes IS 'Bytes of COPY sent.';
COMMENT ON COLUMN pgrelay.table_status.bytes_estimated IS 'Size on the source.';
COMMENT ON COLUMN pgrelay.table_status.percent IS 'Of the copy: rows of those estimated, 99 at most until all are there; by bytes, which is rough, where rows were never estimated.';
COMMENT ON COLUMN pgrelay.table_status.rows_per_second IS 'Of the copy: over the last 5 seconds while it goes on, then on average.';
COMMENT ON COLUMN pgrelay.table_status.bytes_per_second IS 'Likewise.';
COMMENT ON COLUMN pgrelay.table_status.eta IS 'Time until its rows are there at this speed; NULL when that cannot be known: it stands still, or there are more rows than was estimated.';
COMMENT ON COLUMN pgrelay.table_status.indexes_done IS 'Indexes and keys that are on the peer.';
COMMENT ON COLUMN pgrelay.table_status.indexes_total IS 'Indexes and keys that are built when its rows are there.';
COMMENT ON COLUMN pgrelay.table_status.copy_started_at IS 'When its copy began.';
COMMENT ON COLUMN pgrelay.table_status.copy_finished_at IS 'When its copy was done.';
COMMENT ON COLUMN pgrelay.table_status.inserts IS 'Inserted rows that the stream carried since the applier last attached.';
COMMENT ON COLUMN pgrelay.table_status.updates IS 'Updated rows, likewise.';
COMMENT ON COLUMN pgrelay.table_status.deletes IS 'Deleted rows, likewise.';
COMMENT ON COLUMN pgrelay.table_status.truncates IS 'TRUNCATE commands, likewise.';
COMMENT ON COLUMN pgrelay.table_status.note IS 'What is not carried of this table.';
GRANT SELECT ON pgrelay.table_status TO pgrelay_monitor;
