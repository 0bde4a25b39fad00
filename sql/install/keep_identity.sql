-- An application's UPDATE or DELETE must not fail because a table that a task publishes has lost its replica identity.
-- So the command that takes the identity away also sets REPLICA IDENTITY FULL, in its own transaction and under the lock that
-- it holds anyway; what was there is put back when the task is stopped. Changes are carried on without a gap.
-- Never raises: what it cannot do is a warning to the session that ran the command.

CREATE FUNCTION pgrelay.keep_identity() RETURNS event_trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '2s'
AS $$
DECLARE
    lost record;
BEGIN
    IF NOT EXISTS (SELECT FROM pgrelay.task t WHERE t.desired IN ('run', 'pause')) THEN
        RETURN;
    END IF;
    FOR lost IN
        SELECT DISTINCT t.id, t.name, c.oid, n.nspname, c.relname, c.relreplident,
               (SELECT ic.relname FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid
                WHERE i.indrelid = c.oid AND i.indisreplident) AS identity_index
        FROM pgrelay.task t
        JOIN pg_publication p ON p.pubname = 'pgrelay_' || t.id
        JOIN pg_publication_rel r ON r.prpubid = p.oid
        -- A partitioned table stands for its partitions; for any other pg_partition_tree() has no row.
        CROSS JOIN LATERAL (
            SELECT r.prrelid AS oid UNION SELECT s.relid::oid FROM pg_partition_tree(r.prrelid) s
        ) published
        JOIN pg_class c ON c.oid = published.oid AND c.relkind = 'r'
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE t.desired IN ('run', 'pause')
          AND CASE c.relreplident
              WHEN 'f' THEN false
              WHEN 'd' THEN NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND i.indimmediate AND i.indisvalid)
              WHEN 'i' THEN NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisreplident AND i.indimmediate AND i.indisvalid)
              ELSE true
          END
    LOOP
        EXECUTE format('ALTER TABLE ONLY %I.%I REPLICA IDENTITY FULL', lost.nspname, lost.relname);
        INSERT INTO pgrelay.replica_identity (task_id, table_oid, identity_before, index_before)
        VALUES (lost.id, lost.oid, lost.relreplident, lost.identity_index)
        ON CONFLICT (task_id, table_oid) DO NOTHING;
        INSERT INTO pgrelay.task_event (task, writer, level, event, object, message, hint)
        VALUES (lost.name, 'extension', 'warning', 'replica_identity', format('%s.%s', lost.nspname, lost.relname),
            format('table "%s.%s" has lost its replica identity and has REPLICA IDENTITY FULL now', lost.nspname, lost.relname),
            'It is put back when the task is stopped. Until then each UPDATE and DELETE writes the whole old row to the WAL.');
    END LOOP;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'pgrelay could not keep a replica identity: %', SQLERRM
        USING HINT = 'Set REPLICA IDENTITY FULL on the table, or its UPDATE and DELETE fail until its task is stopped.';
END
$$;
COMMENT ON FUNCTION pgrelay.keep_identity() IS 'Sets REPLICA IDENTITY FULL on a table of a task that loses its replica identity, so that the application''s UPDATE and DELETE go on.';

CREATE EVENT TRIGGER pgrelay_keep_identity ON ddl_command_end
    WHEN TAG IN ('ALTER TABLE', 'ALTER INDEX', 'CREATE TABLE', 'DROP TABLE', 'DROP INDEX', 'DROP TYPE', 'DROP DOMAIN', 'DROP FUNCTION',
        'DROP EXTENSION', 'DROP SCHEMA', 'DROP OWNED', 'DROP OPERATOR CLASS', 'DROP OPERATOR FAMILY', 'DROP COLLATION')
    EXECUTE FUNCTION pgrelay.keep_identity();
ALTER EVENT TRIGGER pgrelay_keep_identity ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER pgrelay_keep_identity IS 'Part of pgrelay: see pgrelay.keep_identity().';
