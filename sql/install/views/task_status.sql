-- One row per direction of a task. Truthful without an applier: a stream that nobody applies is not running, and its lag grows with the WAL.

CREATE VIEW pgrelay.task_status AS
WITH source AS (
    SELECT pgrelay.applier_attached() AS attached,
           CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END AS lsn
), copied AS (
    SELECT s.task_id,
           pg_catalog.count(*) AS tables,
           pg_catalog.count(*) FILTER (WHERE s.state = 'ready') AS tables_ready,
           pg_catalog.sum(s.rows_copied) AS rows_copied,
           pg_catalog.sum(CASE WHEN s.state IN ('finishedcopy', 'syncdone', 'ready') THEN s.rows_copied
               ELSE greatest(s.rows_estimated, s.rows_copied) END) AS rows_total,
           pg_catalog.sum(s.indexes_done) AS indexes_done,
           pg_catalog.sum(s.indexes_total) AS indexes_total,
           pg_catalog.sum(s.bytes_copied) AS bytes_copied,
           pg_catalog.sum(s.bytes_estimated) AS bytes_estimated,
           -- A table counts by its size; one of unknown size as a page.
           pg_catalog.sum(greatest(s.bytes_estimated, 8192) * CASE
               WHEN s.state IN ('finishedcopy', 'syncdone', 'ready') THEN 1
               WHEN s.rows_estimated > 0 THEN least(0.99, s.rows_copied::numeric / s.rows_estimated)
               WHEN s.bytes_estimated > 0 THEN least(0.99, s.bytes_copied::numeric / s.bytes_estimated)
               ELSE 0 END) / pg_catalog.sum(greatest(s.bytes_estimated, 8192)) AS done
    FROM pgrelay.table_state s
    GROUP BY s.task_id
), task AS (
    SELECT t.*,
           d.direction,
           d.desired AS wanted,
           coalesce(a.state, 'created') AS actual,
           d.serial > coalesce(a.seen_serial, 0) AS pending,
           -- Somebody should be working on it: it is on its way, or a command waits.
           d.serial > coalesce(a.seen_serial, 0)
               OR coalesce(a.state, 'created') IN ('prechecking', 'schema', 'copying', 'catching_up', 'running', 'retrying') AS needs_applier,
           coalesce(a.state IN ('catching_up', 'running') OR (a.state IN ('paused', 'retrying', 'failed') AND a.stage = 'stream'), false)
               AS streams
    FROM pgrelay.task t
    CROSS JOIN LATERAL (
        SELECT 'forward' AS direction, t.desired, t.desired_serial AS serial
        UNION ALL
        -- A command to the whole task is the forward direction's to carry out.
        SELECT 'reverse',
               CASE WHEN t.desired NOT IN ('run', 'pause') THEN t.desired
                    WHEN t.options ->> 'topology' = 'two_way' THEN t.reverse_desired
                    ELSE 'stop' END,
               CASE WHEN t.desired IN ('run', 'pause') THEN t.reverse_serial ELSE 0 END
        WHERE t.options ->> 'topology' = 'two_way'
           OR EXISTS (SELECT FROM pgrelay.task_actual r WHERE r.task_id = t.id AND r.direction = 'reverse')) d
    LEFT JOIN pgrelay.task_actual a ON a.task_id = t.id AND a.direction = d.direction
)
SELECT t.name AS task,
       t.direction,
       CASE WHEN t.actual = 'running' AND NOT s.attached THEN 'catching_up' ELSE t.actual END AS state,
       a.state_since,
       t.wanted AS desired,
       t.pending,
       a.stage,
       CASE
           WHEN t.direction = 'reverse' THEN NULL
           WHEN t.actual IN ('catching_up', 'running', 'finished') THEN 100.0
           WHEN a.stage = 'stream' THEN 100.0
           WHEN a.stage = 'schema' AND a.objects_total > 0 THEN pg_catalog.trunc(100.0 * a.objects_done / a.objects_total, 1)
           WHEN a.stage = 'copy' THEN pg_catalog.trunc(100 * c.done, 1)
       END AS percent,
       a.objects_done,
       a.objects_total,
       c.tables,
       c.tables_ready,
       c.rows_copied::bigint AS rows_copied,
       c.rows_total::bigint AS rows_total,
       c.bytes_copied::bigint AS bytes_copied,
       c.bytes_estimated::bigint AS bytes_estimated,
       CASE WHEN live.works THEN a.rows_per_second END::bigint AS rows_per_second,
       CASE WHEN live.works THEN a.bytes_per_second END::bigint AS bytes_per_second,
       CASE WHEN live.works AND a.copy_ends_at IS NOT NULL THEN pg_catalog.date_trunc('second', greatest(interval '0', a.copy_ends_at - pg_catalog.clock_timestamp())) END
           AS eta,
       c.indexes_done,
       c.indexes_total,
       CASE WHEN live.works THEN a.throttle ELSE nullif(nullif(pg_catalog.jsonb_strip_nulls(
           coalesce(CASE WHEN t.direction = 'reverse' THEN nullif(t.options #> '{reverse, throttle}', 'null') END, t.options -> 'throttle')),
           '{}'), 'null') END AS throttle,
       CASE WHEN live.works THEN pg_catalog.round((100 * a.throttled)::numeric, 0) END AS throttled,
       live.lag_bytes,
       CASE
           WHEN NOT t.streams THEN NULL
           WHEN s.attached AND t.actual IN ('catching_up', 'running') THEN a.lag
           WHEN live.lag_bytes = 0 THEN interval '0'
           ELSE pg_catalog.clock_timestamp() - coalesce(a.oldest_unapplied_commit, a.updated_at)
       END AS lag,
       CASE WHEN live.works AND t.streams THEN a.rows_pending END AS rows_pending,
       CASE WHEN t.streams THEN a.oldest_unapplied_commit END AS oldest_unapplied_commit,
       a.received_lsn,
       a.applied_lsn,
       a.confirmed_lsn,
       coalesce(a.transactions_applied, 0) AS transactions_applied,
       coalesce(a.changes_applied, 0) AS changes_applied,
       coalesce(a.replayed, 0) AS replayed,
       a.replay_reason,
       s.attached,
       a.retrying_since,
       CASE WHEN t.needs_applier AND NOT s.attached THEN 'no applier is attached' ELSE a.error_message END AS error,
       CASE WHEN t.needs_applier AND NOT s.attached THEN a.error_message ELSE a.error_detail END AS error_detail,
       CASE WHEN t.needs_applier AND NOT s.attached THEN 'Start one with: pgrelay-applier run --source ''dbname='
           || pg_catalog.current_database() || '''' ELSE a.error_hint END AS error_hint,
       a.error_object,
       a.error_sqlstate,
       a.error_at,
       t.peer,
       t.owner,
       t.created_at,
       t.id AS task_id
FROM task t
CROSS JOIN source s
LEFT JOIN pgrelay.task_actual a ON a.task_id = t.id AND a.direction = t.direction
LEFT JOIN copied c ON c.task_id = t.id AND t.direction = 'forward'
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN NOT t.streams OR a.applied_lsn IS NULL THEN NULL
        -- The WAL of the peer is not seen from here.
        WHEN t.direction = 'reverse' OR (s.attached AND t.actual IN ('catching_up', 'running')) THEN a.lag_bytes
        ELSE greatest(0, s.lsn - a.applied_lsn)::bigint
    END AS lag_bytes,
    s.attached AND t.actual IN ('copying', 'catching_up', 'running') AS works) live;

COMMENT ON VIEW pgrelay.task_status IS 'One row per direction of a task: how far it is, how far behind, and what is wrong.';
COMMENT ON COLUMN pgrelay.task_status.task IS 'Name of the task.';
COMMENT ON COLUMN pgrelay.task_status.direction IS 'forward: from source to peer. reverse: from peer to source, of a two-way task; source and peer then change places in the columns below.';
COMMENT ON COLUMN pgrelay.task_status.state IS 'created, prechecking, precheck_failed, schema, copying, catching_up, running, finished, paused, retrying, failed or stopped. A running task without an applier is catching_up.';
COMMENT ON COLUMN pgrelay.task_status.state_since IS 'When it came to that state.';
COMMENT ON COLUMN pgrelay.task_status.desired IS 'What was asked for last: none, run, pause, stop or drop.';
COMMENT ON COLUMN pgrelay.task_status.pending IS 'The applier has not yet taken up what was asked for last.';
COMMENT ON COLUMN pgrelay.task_status.stage IS 'schema, copy or stream.';
COMMENT ON COLUMN pgrelay.task_status.percent IS 'Of the stage: objects made of the whole plan, rows copied. 100 once the stream runs.';
COMMENT ON COLUMN pgrelay.task_status.objects_done IS 'Objects made on the peer.';
COMMENT ON COLUMN pgrelay.task_status.objects_total IS 'Objects to make on the peer.';
COMMENT ON COLUMN pgrelay.task_status.tables IS 'Tables of the task.';
COMMENT ON COLUMN pgrelay.task_status.tables_ready IS 'Tables that stand where the stream stands.';
COMMENT ON COLUMN pgrelay.task_status.rows_copied IS 'Rows copied so far.';
COMMENT ON COLUMN pgrelay.task_status.rows_total IS 'Rows to copy: the planner''s estimate, or what was copied where that is more.';
COMMENT ON COLUMN pgrelay.task_status.bytes_copied IS 'Bytes of COPY sent so far.';
COMMENT ON COLUMN pgrelay.task_status.bytes_estimated IS 'Size of the tables on the source.';
COMMENT ON COLUMN pgrelay.task_status.rows_per_second IS 'Rows copied, or changes of rows applied once all tables are copied, over the last 5 seconds.';
COMMENT ON COLUMN pgrelay.task_status.bytes_per_second IS 'Their bytes on the wire.';
COMMENT ON COLUMN pgrelay.task_status.eta IS 'Time until the rows of all tables are there at this speed; NULL when that cannot be known. Indexes are built meanwhile and may take longer.';
COMMENT ON COLUMN pgrelay.task_status.indexes_done IS 'Indexes and keys of tables that are on the peer.';
COMMENT ON COLUMN pgrelay.task_status.indexes_total IS 'Indexes and keys of tables that are built when their rows are there.';
COMMENT ON COLUMN pgrelay.task_status.throttle IS 'The limits in force; NULL when there are none. While nobody works on the task: those of its options.';
COMMENT ON COLUMN pgrelay.task_status.throttled IS 'Percent of the last 5 seconds in which a limit kept the copy or the apply waiting: near 100, it is what holds the task back.';
COMMENT ON COLUMN pgrelay.task_status.lag_bytes IS 'WAL of the source that is not applied yet. Without an applier computed now.';
COMMENT ON COLUMN pgrelay.task_status.lag IS 'Age of the oldest commit that is not applied; without an applier at most that.';
COMMENT ON COLUMN pgrelay.task_status.rows_pending IS 'Changes of rows that were received and are not applied.';
COMMENT ON COLUMN pgrelay.task_status.oldest_unapplied_commit IS 'When the oldest transaction that was received and is not applied was committed; NULL when there is none.';
COMMENT ON COLUMN pgrelay.task_status.received_lsn IS 'Position up to which changes were received.';
COMMENT ON COLUMN pgrelay.task_status.applied_lsn IS 'Position up to which changes were applied.';
COMMENT ON COLUMN pgrelay.task_status.confirmed_lsn IS 'Position up to which the source may remove WAL.';
COMMENT ON COLUMN pgrelay.task_status.transactions_applied IS 'Transactions of the stream applied so far; what was on its way to the peer when it was paused or a connection was lost may be missing.';
COMMENT ON COLUMN pgrelay.task_status.changes_applied IS 'Changes of the stream applied so far; what was on its way to the peer when it was paused or a connection was lost may be missing.';
COMMENT ON COLUMN pgrelay.task_status.replayed IS 'How often a group of transactions met a surprise on the peer, was rolled back and applied again row by row: nothing is wrong, but it takes longer.';
COMMENT ON COLUMN pgrelay.task_status.replay_reason IS 'What the last of those surprises was.';
COMMENT ON COLUMN pgrelay.task_status.attached IS 'Whether an applier works on this database.';
COMMENT ON COLUMN pgrelay.task_status.retrying_since IS 'When the error that is being waited out came first.';
COMMENT ON COLUMN pgrelay.task_status.error IS 'What is wrong now.';
COMMENT ON COLUMN pgrelay.task_status.error_detail IS 'More of it.';
COMMENT ON COLUMN pgrelay.task_status.error_hint IS 'What to do about it.';
COMMENT ON COLUMN pgrelay.task_status.error_object IS 'The table or object it is about.';
COMMENT ON COLUMN pgrelay.task_status.error_sqlstate IS 'Its SQLSTATE.';
COMMENT ON COLUMN pgrelay.task_status.error_at IS 'When it happened.';
COMMENT ON COLUMN pgrelay.task_status.peer IS 'Connection string without secrets, or the name of a foreign server.';
COMMENT ON COLUMN pgrelay.task_status.owner IS 'Role that created the task.';
COMMENT ON COLUMN pgrelay.task_status.created_at IS 'When the task was created.';
COMMENT ON COLUMN pgrelay.task_status.task_id IS 'Number of the task: part of the names of its slot, publications and origin.';
GRANT SELECT ON pgrelay.task_status TO pgrelay_monitor;
