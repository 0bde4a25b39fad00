-- ALTER TABLE can give every row another value without a trace in the stream: ALTER COLUMN … TYPE … USING, a volatile default.
-- So a rewrite of a table that a task moves is an event and a finding. VACUUM FULL and CLUSTER do not come here: they keep values.
-- Never raises.

CREATE FUNCTION pgrelay.tell_rewrite() RETURNS event_trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '2s'
AS $$
DECLARE
    moved record;
BEGIN
    FOR moved IN
        SELECT DISTINCT t.id, t.name, format('%s.%s', n.nspname, c.relname) AS table_name
        FROM pgrelay.task t
        JOIN pg_publication p ON p.pubname IN ('pgrelay_' || t.id, 'pgrelay_' || t.id || '_insert_only')
            AND pg_has_role(p.pubowner, 'pgrelay_applier', 'MEMBER')
        JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = pg_event_trigger_table_rewrite_oid()
        JOIN pg_class c ON c.oid = r.prrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
    LOOP
        INSERT INTO pgrelay.task_event (task, writer, level, event, object, message, hint)
        VALUES (moved.name, 'extension', 'warning', 'rewritten_table', moved.table_name,
            format('table "%s" was rewritten by ALTER TABLE; values that it changed are not carried', moved.table_name),
            'Run the same command on the peer.');
        INSERT INTO pgrelay.task_finding (task_id, ordinal, item, severity, object, message, fix)
        SELECT moved.id, coalesce(max(f.ordinal), 0) + 1, 'rewritten_table', 'error', moved.table_name,
            'the table was rewritten by ALTER TABLE; values that it changed are not carried', 'Run the same command on the peer.'
        FROM pgrelay.task_finding f
        WHERE f.task_id = moved.id
        HAVING NOT coalesce(bool_or(f.item = 'rewritten_table' AND f.object = moved.table_name), false);
    END LOOP;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'pgrelay could not note a rewritten table: %', SQLERRM
        USING HINT = 'Values that the command changes are not carried to the peer of its task.';
END
$$;
COMMENT ON FUNCTION pgrelay.tell_rewrite() IS 'Notes an event and a finding when ALTER TABLE rewrites a table that a task moves: what it changes is not in the stream.';

CREATE EVENT TRIGGER pgrelay_tell_rewrite ON table_rewrite
    EXECUTE FUNCTION pgrelay.tell_rewrite();
ALTER EVENT TRIGGER pgrelay_tell_rewrite ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER pgrelay_tell_rewrite IS 'Part of pgrelay: see pgrelay.tell_rewrite().';
