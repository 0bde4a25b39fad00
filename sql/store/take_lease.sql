-- Takes or renews the lease. $1: the applier's id. One row when it is ours now, none when another live applier holds it.
-- Another session's backend_start reads as NULL without pg_read_all_stats: such a holder counts as alive.
INSERT INTO pgrelay.lease AS l (holder, backend_pid, backend_start, valid_until)
SELECT $1::text::uuid, a.pid, a.backend_start, pg_catalog.clock_timestamp() + interval '15 seconds'
FROM pg_catalog.pg_stat_activity a
WHERE a.pid = pg_catalog.pg_backend_pid()
ON CONFLICT (only_row) DO UPDATE
SET holder = EXCLUDED.holder,
    backend_pid = EXCLUDED.backend_pid,
    backend_start = EXCLUDED.backend_start,
    valid_until = EXCLUDED.valid_until
WHERE l.holder = EXCLUDED.holder
   OR l.valid_until < pg_catalog.clock_timestamp()
   OR NOT EXISTS (
       SELECT FROM pg_catalog.pg_stat_activity a
       WHERE a.pid = l.backend_pid AND (a.backend_start = l.backend_start OR a.backend_start IS NULL))
RETURNING true
