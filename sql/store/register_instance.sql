-- Announces this applier and forgets those not seen for a day. $1 id, $2 host, $3 process id, $4 version.
WITH gone AS (
    DELETE FROM pgrelay.applier_instance
    WHERE seen_at < pg_catalog.now() - interval '1 day' AND id <> $1::text::uuid
)
INSERT INTO pgrelay.applier_instance (id, host, process_id, version, backend_pid, started_at, seen_at)
VALUES ($1::text::uuid, $2, $3, $4, pg_catalog.pg_backend_pid(), pg_catalog.now(), pg_catalog.now())
ON CONFLICT (id) DO UPDATE
SET backend_pid = EXCLUDED.backend_pid,
    seen_at = EXCLUDED.seen_at
