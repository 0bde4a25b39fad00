-- Records what a change met, in the transaction that resolves it; what made a task fail in a transaction of its own, from a session
-- without the task's origin. Whoever carries the record to the task's home counts it there.
-- $1 task key, $2 direction, $3 schema and $4 table by their names on the source, $5 operation, $6 kind, $7 constraints that collided
-- (text[]), $8 policy, $9 resolution, $10 transaction id on the source, $11 position of its commit record (pg_lsn), $12 its commit time
-- (timestamptz), $13 number of the change within it, from 1; $14 key, $15 old and $16 new row of the change, $17 array of the rows that it
-- met, as they were, $18 the row as it became (all jsonb); for each of the rows it met $19 the origin that wrote it last (text[]) and
-- $20 when, in microseconds since 2000 (bigint[]), NULL where that is not known; $21 what the rest does not tell.
-- Of a change of a skipped transaction $6 and $8 are NULL.
WITH made AS (
    INSERT INTO pgrelay_peer.conflict (task_key, direction, schema_name, table_name, operation, kind, constraints, policy, resolution,
        source_xid, source_commit_lsn, source_commit_ts, change_no, key, incoming_old, incoming_new, peer_rows, result_row,
        peer_origins, peer_commit_ts, note)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
        (SELECT coalesce(pg_catalog.array_agg(timestamptz '2000-01-01 00:00:00+00' + at.micros * interval '1 microsecond' ORDER BY at.n), '{}')
         FROM pg_catalog.unnest($20::bigint[]) WITH ORDINALITY AS at (micros, n)),
        $21)
    RETURNING task_key, ordinal
)
INSERT INTO pgrelay_peer.conflict_to_carry (task_key, ordinal) SELECT task_key, ordinal FROM made
