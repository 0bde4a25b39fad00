-- Records of conflicts behind an ordinal that have not come to the task's home: their ids, the records as a JSON array, and the last
-- ordinal, NULL where there are none. $1 task key, $2 the ordinal (bigint). Not more than 500 at once, nor than about 4 MB as they are
-- stored, but one at least. Only those that go are read in full.
SELECT coalesce(pg_catalog.array_agg(b.id::text ORDER BY b.ordinal), '{}') AS ids,
       coalesce(pg_catalog.json_agg(r.record ORDER BY b.ordinal), '[]')::text AS records,
       pg_catalog.max(b.ordinal) AS last
FROM (
    SELECT s.id, s.ordinal, pg_catalog.sum(s.size) OVER (ORDER BY s.ordinal) - s.size AS before
    FROM (
        SELECT id, ordinal, pg_catalog.pg_column_size(peer_rows) + coalesce(pg_catalog.pg_column_size(incoming_new), 0)
            + coalesce(pg_catalog.pg_column_size(incoming_old), 0) + coalesce(pg_catalog.pg_column_size(result_row), 0) AS size
        FROM pgrelay_peer.conflict
        WHERE task_key = $1 AND NOT carried AND ordinal > $2
        ORDER BY ordinal
        LIMIT 500) s) b
CROSS JOIN LATERAL (SELECT pg_catalog.row_to_json(c) AS record FROM pgrelay_peer.conflict c WHERE c.id = b.id OFFSET 0) r
WHERE b.before < 4000000
