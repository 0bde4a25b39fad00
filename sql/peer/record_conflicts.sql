-- Records conflicts of updates, many at once, as record_conflict.sql records one: each has met one row, by no constraint, in the transaction
-- that resolves it. What was applied has made the row what the update says.
-- $1 task key, $2 direction, $3 schema and $4 table by their names on the source. Then arrays with an element for each: $5 kind, $6 policy,
-- $7 resolution, $8 transaction id on the source, $9 position of its commit record, $10 its commit time in microseconds since 2000, $11 number
-- of the change within it; $12 key and $13 new row of the change, $14 the row that it met, as it was (all the text of jsonb); $15 the origin
-- that wrote it last, and $16 when, in microseconds since 2000, NULL where that is not known.
WITH made AS (
    INSERT INTO pgrelay_peer.conflict (task_key, direction, schema_name, table_name, operation, kind, constraints, policy, resolution,
        source_xid, source_commit_lsn, source_commit_ts, change_no, key, incoming_new, peer_rows, result_row, peer_origins, peer_commit_ts)
    SELECT $1, $2, $3, $4, 'update', c.kind, '{}', c.policy, c.resolution,
        c.xid::xid8, c.commit, timestamptz '2000-01-01 00:00:00+00' + c.committed * interval '1 microsecond', c.number, c.key, c.incoming_new,
        pg_catalog.jsonb_build_array(c.met), CASE WHEN c.resolution = 'applied' THEN c.incoming_new END, ARRAY[c.origin],
        ARRAY[timestamptz '2000-01-01 00:00:00+00' + c.written * interval '1 microsecond']
    FROM ROWS FROM (
        pg_catalog.unnest($5::text[]), pg_catalog.unnest($6::text[]), pg_catalog.unnest($7::text[]), pg_catalog.unnest($8::text[]),
        pg_catalog.unnest($9::pg_lsn[]), pg_catalog.unnest($10::bigint[]), pg_catalog.unnest($11::bigint[]), pg_catalog.unnest($12::jsonb[]),
        pg_catalog.unnest($13::jsonb[]), pg_catalog.unnest($14::jsonb[]), pg_catalog.unnest($15::text[]), pg_catalog.unnest($16::bigint[])
    ) AS c (kind, policy, resolution, xid, commit, committed, number, key, incoming_new, met, origin, written)
    RETURNING task_key, ordinal
)
INSERT INTO pgrelay_peer.conflict_to_carry (task_key, ordinal) SELECT task_key, ordinal FROM made
