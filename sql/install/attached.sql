-- Whether a session lives is asked in one place. SECURITY DEFINER, since pg_stat_activity hides backend_start of other roles' sessions.

CREATE FUNCTION pgrelay.session_lives(pid integer, backend_start timestamptz) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT EXISTS (
        SELECT
        FROM pg_catalog.pg_stat_activity a
        JOIN pg_catalog.pg_database d ON d.oid = a.datid
        WHERE d.datname = pg_catalog.current_database()
          AND a.pid = session_lives.pid
          AND a.backend_start = coalesce(session_lives.backend_start, a.backend_start));
END;
COMMENT ON FUNCTION pgrelay.session_lives(integer, timestamptz) IS 'Whether that session of this database lives; backend_start NULL stands for any.';

CREATE FUNCTION pgrelay.applier_attached() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT EXISTS (
        SELECT
        FROM pgrelay.lease l
        WHERE l.valid_until > pg_catalog.clock_timestamp()
          AND pgrelay.session_lives(l.backend_pid, l.backend_start));
END;
COMMENT ON FUNCTION pgrelay.applier_attached() IS 'Whether an applier works on this database: its lease is valid and its session lives.';
