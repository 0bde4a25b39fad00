CREATE VIEW pgrelay.finding AS
SELECT t.name AS task, f.ordinal, f.item, f.severity, f.object, f.message, f.fix, f.found_at
FROM pgrelay.task_finding f
JOIN pgrelay.task t ON t.id = f.task_id;

COMMENT ON VIEW pgrelay.finding IS 'What the last precheck of each task found, and the stream since.';
COMMENT ON COLUMN pgrelay.finding.task IS 'Name of the task.';
COMMENT ON COLUMN pgrelay.finding.ordinal IS 'Order within the task.';
COMMENT ON COLUMN pgrelay.finding.item IS 'The check, a stable word.';
COMMENT ON COLUMN pgrelay.finding.severity IS 'ok, warning (may be acknowledged) or error (the task does not start).';
COMMENT ON COLUMN pgrelay.finding.object IS 'The object, or source or peer for a whole server.';
COMMENT ON COLUMN pgrelay.finding.message IS 'What is so.';
COMMENT ON COLUMN pgrelay.finding.fix IS 'The SQL or the step that mends it.';
COMMENT ON COLUMN pgrelay.finding.found_at IS 'When it was found.';
GRANT SELECT ON pgrelay.finding TO pgrelay_monitor;
