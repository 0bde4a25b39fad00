-- An application's UPDATE or DELETE must not fail because a table that a task publishes has lost its replica identity.
-- So the command that takes the identity away also sets REPLICA IDENTITY FULL, in its own transaction and under the lock that
-- it holds anyway; what was there is put back when the task is stopped. Changes are carried on without a gap.
-- Every DDL command of the database comes here, so it looks only at what the command touched; a DROP of something else
-- may take a key along, and only then all published tables are looked at.
-- Never raises: what it cannot do is a warning to the session that ran the command. The identity stays set even if the
-- note of it cannot be written.

CREATE FUNCTION pgrelay.keep_identity() RETURNS event_trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '2s'
SET jit = off
AS $$
DECLARE
    touched oid[];
    lost record;
BEGIN
    IF NOT EXISTS (SELECT FROM pgrelay.task t WHERE t.desired IN ('run', 'pause')) THEN
        RETURN;
    END IF;
    IF tg_tag IN ('ALTER TABLE', 'CREATE TABLE') THEN
        SELECT array_agg(DISTINCT coalesce(p.relid::oid, d.objid)) INTO touched
        FROM pg_event_trigger_ddl_commands() d
        LEFT JOIN LATERAL pg_partition_tree(d.objid) p ON true
        WHERE d.classid = 'pg_class'::regclass AND d.schema_name IS DISTINCT FROM 'pg_temp';
        IF touched IS NULL THEN
            RETURN;
        END IF;
    END IF;
    FOR lost IN
        SELECT t.id, t.name, c.oid, n.nspname, c.relname, c.relreplident,
               (SELECT ic.relname FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid
                WHERE i.indrelid = c.oid AND i.indisreplident) AS identity_index
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        CROSS JOIN pgrelay.task t
        JOIN pg_publication p ON p.pubname = 'pgrelay_' || t.id AND pg_has_role(p.pubowner, 'pgrelay_applier', 'MEMBER')
        WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND (touched IS NULL OR c.oid = ANY (touched))
          AND t.desired IN ('run', 'pause')
          AND CASE c.relreplident
              WHEN 'f' THEN false
              WHEN 'd' THEN NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND i.indimmediate AND i.indisvalid)
              WHEN 'i' THEN NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisreplident AND i.indimmediate AND i.indisvalid)
              ELSE true
          END
          AND EXISTS (
              SELECT FROM pg_publication_rel r
              WHERE r.prpubid = p.oid
                AND (r.prrelid = c.oid
                     OR c.relispartition AND r.prrelid IN (SELECT a.relid FROM pg_partition_ancestors(c.oid) a)))
    LOOP
        EXECUTE format('ALTER TABLE ONLY %I.%I REPLICA IDENTITY FULL', lost.nspname, lost.relname);
        BEGIN
            INSERT INTO pgrelay.replica_identity (task_id, table_oid, identity_before, index_before)
            VALUES (lost.id, lost.oid, lost.relreplident, lost.identity_index)
            ON CONFLICT (task_id, table_oid) DO NOTHING;
            INSERT INTO pgrelay.task_event (task, writer, level, event, object, message, hint)
            VALUES (lost.name, 'extension', 'warning', 'replica_identity', format('%s.%s', lost.nspname, lost.relname),
                format('table %I.%I has lost its replica identity and has REPLICA IDENTITY FULL now', lost.nspname, lost.relname),
                'It is put back when the task is stopped. Until then each UPDATE and DELETE writes the whole old row to the WAL.');
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'pgrelay could not note that a table has REPLICA IDENTITY FULL now: %', SQLERRM
                USING HINT = 'It stays so when the task is stopped, unless you put it back.';
        END;
    END LOOP;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'pgrelay could not keep a replica identity: %', SQLERRM
        USING HINT = 'Set REPLICA IDENTITY FULL on the table, or its UPDATE and DELETE fail until the applier does.';
END
$$;
COMMENT ON FUNCTION pgrelay.keep_identity() IS 'Sets REPLICA IDENTITY FULL on a table of a task that loses its replica identity, so that the application''s UPDATE and DELETE go on.';

CREATE EVENT TRIGGER pgrelay_keep_identity ON ddl_command_end
    WHEN TAG IN ('ALTER TABLE', 'CREATE TABLE', 'DROP INDEX', 'DROP TYPE', 'DROP DOMAIN', 'DROP FUNCTION', 'DROP EXTENSION',
        'DROP SCHEMA', 'DROP OWNED', 'DROP OPERATOR CLASS', 'DROP OPERATOR FAMILY', 'DROP COLLATION')
    EXECUTE FUNCTION pgrelay.keep_identity();
ALTER EVENT TRIGGER pgrelay_keep_identity ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER pgrelay_keep_identity IS 'Part of pgrelay: see pgrelay.keep_identity().';
