-- Rows of tables, so only for those who may read them: the table as it is here, all of its rows. security_barrier: no condition of
-- a query sees a row before that is decided. Whoever owns pgrelay also sees what was about tables that are gone.

CREATE VIEW pgrelay.conflict WITH (security_barrier) AS
SELECT c.id,
       t.name AS task,
       c.direction,
       c.detected_at,
       c.schema_name AS schema,
       c.table_name AS "table",
       c.operation,
       c.kind,
       c.constraints,
       c.policy,
       c.resolution,
       c.source_xid,
       c.source_commit_lsn,
       c.source_commit_ts,
       c.change_no,
       c.key,
       c.incoming_old,
       c.incoming_new,
       c.peer_rows,
       c.result_row,
       c.peer_origins,
       c.peer_commit_ts,
       c.note
FROM pgrelay.task_conflict c
JOIN pgrelay.task t ON t.id = c.task_id
WHERE pg_catalog.pg_has_role((SELECT o.relowner FROM pg_catalog.pg_class o WHERE o.oid = 'pgrelay.task_conflict'::regclass), 'USAGE')
   OR c.table_oid IN (
       SELECT r.oid
       FROM pg_catalog.pg_class r
       WHERE r.relkind IN ('r', 'p')
         AND NOT pg_catalog.row_security_active(r.oid)
         AND pg_catalog.has_schema_privilege(r.relnamespace, 'USAGE')
         AND (pg_catalog.has_table_privilege(r.oid, 'SELECT')
             OR EXISTS (
                 SELECT FROM pg_catalog.pg_partition_ancestors(r.oid) a
                 WHERE pg_catalog.has_table_privilege(a.relid, 'SELECT'))));

COMMENT ON VIEW pgrelay.conflict IS 'What changes met on the other side and what was done about it, a row for each change; only of tables that you may read.';
COMMENT ON COLUMN pgrelay.conflict.id IS 'Order of coming here.';
COMMENT ON COLUMN pgrelay.conflict.task IS 'Name of the task.';
COMMENT ON COLUMN pgrelay.conflict.direction IS 'forward: a change of the source met rows of the peer. reverse: the other way round; source and peer then change places in the columns below.';
COMMENT ON COLUMN pgrelay.conflict.detected_at IS 'When, by the clock of the server where it happened.';
COMMENT ON COLUMN pgrelay.conflict.schema IS 'Schema of the table on the source.';
COMMENT ON COLUMN pgrelay.conflict."table" IS 'Table on the source.';
COMMENT ON COLUMN pgrelay.conflict.operation IS 'insert, update, delete or truncate.';
COMMENT ON COLUMN pgrelay.conflict.kind IS 'By PostgreSQL''s names: insert_exists, update_exists, update_missing, update_origin_differs, delete_missing, delete_origin_differs or multiple_unique_conflicts. NULL for a change of a skipped transaction.';
COMMENT ON COLUMN pgrelay.conflict.constraints IS 'Constraints and unique indexes by which rows collided.';
COMMENT ON COLUMN pgrelay.conflict.policy IS 'The policy that counted: fail, ignore, overwrite, latest_wins or source_priority. NULL for a change of a skipped transaction.';
COMMENT ON COLUMN pgrelay.conflict.resolution IS 'applied, overwritten (rows of the peer gave way), ignored (the change was left out), failed (the task stopped, nothing of the transaction was applied) or skipped (its transaction was left out by skip_transaction).';
COMMENT ON COLUMN pgrelay.conflict.source_xid IS 'The transaction on the source.';
COMMENT ON COLUMN pgrelay.conflict.source_commit_lsn IS 'Position of its commit record: what skip_transaction takes.';
COMMENT ON COLUMN pgrelay.conflict.source_commit_ts IS 'When it was committed.';
COMMENT ON COLUMN pgrelay.conflict.change_no IS 'Number of the change within its transaction, from 1.';
COMMENT ON COLUMN pgrelay.conflict.key IS 'Key of the row that the change is about.';
COMMENT ON COLUMN pgrelay.conflict.incoming_old IS 'The old row as the change brought it: as a rule only its key, and that only where it changed or the row was deleted.';
COMMENT ON COLUMN pgrelay.conflict.incoming_new IS 'The new row that the change brought.';
COMMENT ON COLUMN pgrelay.conflict.peer_rows IS 'Rows of the peer that it met, as they were.';
COMMENT ON COLUMN pgrelay.conflict.result_row IS 'The row as it became.';
COMMENT ON COLUMN pgrelay.conflict.peer_origins IS 'For each of peer_rows the replication origin that wrote it last; NULL for a local session, or where the server does not know.';
COMMENT ON COLUMN pgrelay.conflict.peer_commit_ts IS 'For each of peer_rows when it was written last; NULL where the server does not know: track_commit_timestamp is off, or it is long ago.';
COMMENT ON COLUMN pgrelay.conflict.note IS 'What the rest does not tell.';
GRANT SELECT ON pgrelay.conflict TO pgrelay_monitor;
