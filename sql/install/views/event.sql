CREATE VIEW pgrelay.event AS
SELECT e.id, e.at, e.task, e.writer, e.level, e.event, e.object, e.message, e.detail, e.hint, e.sqlstate
FROM pgrelay.task_event e;

COMMENT ON VIEW pgrelay.event IS 'Every command, change of state and thing worth knowing, in order; kept when a task is dropped.';
COMMENT ON COLUMN pgrelay.event.id IS 'Order of writing.';
COMMENT ON COLUMN pgrelay.event.at IS 'When it happened.';
COMMENT ON COLUMN pgrelay.event.task IS 'Name of the task.';
COMMENT ON COLUMN pgrelay.event.writer IS 'extension or applier.';
COMMENT ON COLUMN pgrelay.event.level IS 'info, warning or error.';
COMMENT ON COLUMN pgrelay.event.event IS 'What kind, a stable word: command, state, error, ….';
COMMENT ON COLUMN pgrelay.event.object IS 'The table or object it is about.';
COMMENT ON COLUMN pgrelay.event.message IS 'What happened.';
COMMENT ON COLUMN pgrelay.event.detail IS 'More of it.';
COMMENT ON COLUMN pgrelay.event.hint IS 'What to do about it.';
COMMENT ON COLUMN pgrelay.event.sqlstate IS 'SQLSTATE of an error.';
GRANT SELECT ON pgrelay.event TO pgrelay_monitor;
