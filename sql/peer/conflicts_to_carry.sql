-- Records of conflicts behind an ordinal that have not come to the task's home: the last ordinal, NULL where there are none, and then of each
-- column an array with an element for each record, as add_conflicts.sql takes them. $1 task key, $2 the ordinal (bigint). Not more than 1000
-- at once, nor than about 4 MB as they are stored, but one at least. Only those that go are read in full.
SELECT pg_catalog.max(r.ordinal) AS last, pg_catalog.array_agg(r.ordinal) AS ordinals,
    pg_catalog.array_agg(r.id), pg_catalog.array_agg(r.direction), pg_catalog.array_agg(r.detected_at),
    pg_catalog.array_agg(r.schema_name), pg_catalog.array_agg(r.table_name), pg_catalog.array_agg(r.operation), pg_catalog.array_agg(r.kind),
    pg_catalog.array_agg(r.constraints::text), pg_catalog.array_agg(r.policy), pg_catalog.array_agg(r.resolution),
    pg_catalog.array_agg(r.source_xid), pg_catalog.array_agg(r.source_commit_lsn), pg_catalog.array_agg(r.source_commit_ts),
    pg_catalog.array_agg(r.change_no), pg_catalog.array_agg(r.key), pg_catalog.array_agg(r.incoming_old), pg_catalog.array_agg(r.incoming_new),
    pg_catalog.array_agg(r.peer_rows), pg_catalog.array_agg(r.result_row), pg_catalog.array_agg(r.peer_origins::text),
    pg_catalog.array_agg(r.peer_commit_ts::text), pg_catalog.array_agg(r.note)
FROM (
    SELECT c.*
    FROM (
        SELECT s.ordinal, pg_catalog.sum(s.size) OVER (ORDER BY s.ordinal) - s.size AS before
        FROM (
            SELECT w.ordinal, pg_catalog.pg_column_size(c.peer_rows) + coalesce(pg_catalog.pg_column_size(c.incoming_new), 0)
                + coalesce(pg_catalog.pg_column_size(c.incoming_old), 0) + coalesce(pg_catalog.pg_column_size(c.result_row), 0) AS size
            FROM (SELECT ordinal FROM pgrelay_peer.conflict_to_carry WHERE task_key = $1 AND ordinal > $2 ORDER BY ordinal LIMIT 1000) w
            JOIN pgrelay_peer.conflict c ON c.ordinal = w.ordinal) s) b
    CROSS JOIN LATERAL (SELECT * FROM pgrelay_peer.conflict c WHERE c.ordinal = b.ordinal OFFSET 0) c
    WHERE b.before < 4000000
    ORDER BY c.ordinal) r
