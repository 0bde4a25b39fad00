-- Records of conflicts that have not come to the task's home, of rows of the list behind an ordinal: the last row's ordinal, NULL where there
-- are none, those of all rows, and then of each column an array with an element for each record, as carried_conflicts.sql takes them.
-- $1 task key, $2 the ordinal (bigint). One row of the list at least, and others while these are not more than 1000 records or 4 MB.
WITH part AS MATERIALIZED (
    SELECT s.ordinal, s.ordinals
    FROM (
        SELECT w.ordinal, w.ordinals, pg_catalog.sum(w.bytes) OVER first - w.bytes AS bytes_before,
            pg_catalog.sum(pg_catalog.cardinality(w.ordinals)) OVER first - pg_catalog.cardinality(w.ordinals) AS before
        FROM (
            SELECT ordinal, ordinals, bytes
            FROM pgrelay_peer.conflict_to_carry
            WHERE task_key = $1 AND ordinal > $2
            ORDER BY ordinal
            LIMIT 1000) w
        WINDOW first AS (ORDER BY w.ordinal)) s
    WHERE s.before < 1000 AND s.bytes_before < 4000000
)
SELECT (SELECT pg_catalog.max(p.ordinal) FROM part p) AS last, (SELECT pg_catalog.array_agg(p.ordinal) FROM part p) AS came,
    pg_catalog.array_agg(r.id), pg_catalog.array_agg(r.direction), pg_catalog.array_agg(r.detected_at),
    pg_catalog.array_agg(r.schema_name), pg_catalog.array_agg(r.table_name), pg_catalog.array_agg(r.operation), pg_catalog.array_agg(r.kind),
    pg_catalog.array_agg(r.constraints::text), pg_catalog.array_agg(r.policy), pg_catalog.array_agg(r.resolution),
    pg_catalog.array_agg(r.source_xid), pg_catalog.array_agg(r.source_commit_lsn), pg_catalog.array_agg(r.source_commit_ts),
    pg_catalog.array_agg(r.change_no), pg_catalog.array_agg(r.key), pg_catalog.array_agg(r.incoming_old), pg_catalog.array_agg(r.incoming_new),
    pg_catalog.array_agg(r.peer_rows), pg_catalog.array_agg(r.result_row), pg_catalog.array_agg(r.peer_origins::text),
    pg_catalog.array_agg(r.peer_commit_ts::text), pg_catalog.array_agg(r.note)
FROM (
    SELECT c.*
    FROM pgrelay_peer.conflict c
    WHERE c.ordinal = ANY (ARRAY(SELECT pg_catalog.unnest(p.ordinals) FROM part p))
    ORDER BY c.ordinal) r
