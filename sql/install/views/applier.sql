CREATE VIEW pgrelay.applier AS
SELECT i.id,
       i.host,
       i.process_id,
       i.version,
       lives.attached,
       lives.attached AND l.holder IS NOT NULL AND l.valid_until > pg_catalog.clock_timestamp() AS working,
       i.backend_pid,
       i.started_at,
       i.seen_at
FROM pgrelay.applier_instance i
LEFT JOIN pgrelay.lease l ON l.holder = i.id
CROSS JOIN LATERAL (SELECT pgrelay.session_lives(i.backend_pid, CASE WHEN l.backend_pid = i.backend_pid THEN l.backend_start END) AS attached) lives;

COMMENT ON VIEW pgrelay.applier IS 'Appliers that have served this database, standing by or working.';
COMMENT ON COLUMN pgrelay.applier.id IS 'Made anew at each start.';
COMMENT ON COLUMN pgrelay.applier.host IS 'Host it runs on.';
COMMENT ON COLUMN pgrelay.applier.process_id IS 'Its process there.';
COMMENT ON COLUMN pgrelay.applier.version IS 'Its version.';
COMMENT ON COLUMN pgrelay.applier.attached IS 'Whether its session lives.';
COMMENT ON COLUMN pgrelay.applier.working IS 'Whether it holds the lease: one works, the others stand by.';
COMMENT ON COLUMN pgrelay.applier.backend_pid IS 'Its session on this server.';
COMMENT ON COLUMN pgrelay.applier.started_at IS 'When it started.';
COMMENT ON COLUMN pgrelay.applier.seen_at IS 'When it last wrote here.';
GRANT SELECT ON pgrelay.applier TO pgrelay_monitor;
