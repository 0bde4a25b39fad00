-- Records of conflicts of updates, many at once, as record_conflict.sql makes one: each has met one row, by no constraint, in the transaction
-- that resolves it. What was applied has made the row what the update says.
-- $2 direction, $3 schema and $4 table by their names on the source. Then arrays with an element for each: $5 kind, $6 policy, $7 resolution,
-- $8 transaction id on the source, $9 position of its commit record, $10 its commit time in microseconds since 2000, $11 number of the change
-- within it; of the row that it met $12 the origin that wrote it last, and $13 when, in microseconds since 2000, NULL where that is not known;
-- $14 key and $15 new row of the change, $16 the row that it met, as it was (all the text of jsonb).
SELECT NULL::uuid AS id, $2::text AS direction, pg_catalog.clock_timestamp() AS detected_at, $3::text AS schema_name, $4::text AS table_name,
    'update' AS operation, c.kind, '{}'::text[] AS constraints, c.policy, c.resolution, c.xid::xid8 AS source_xid,
    c.commit AS source_commit_lsn, timestamptz '2000-01-01 00:00:00+00' + c.committed * interval '1 microsecond' AS source_commit_ts,
    c.number AS change_no, c.key, NULL::jsonb AS incoming_old, c.incoming_new, pg_catalog.jsonb_build_array(c.met) AS peer_rows,
    CASE WHEN c.resolution = 'applied' THEN c.incoming_new END AS result_row, ARRAY[c.origin] AS peer_origins,
    ARRAY[timestamptz '2000-01-01 00:00:00+00' + c.written * interval '1 microsecond'] AS peer_commit_ts, NULL::text AS note
FROM (
    SELECT pg_catalog.unnest($5::text[]) AS kind, pg_catalog.unnest($6::text[]) AS policy, pg_catalog.unnest($7::text[]) AS resolution,
        pg_catalog.unnest($8::text[]) AS xid, pg_catalog.unnest($9::pg_lsn[]) AS commit, pg_catalog.unnest($10::bigint[]) AS committed,
        pg_catalog.unnest($11::bigint[]) AS number, pg_catalog.unnest($12::text[]) AS origin, pg_catalog.unnest($13::bigint[]) AS written,
        pg_catalog.unnest($14::jsonb[]) AS key, pg_catalog.unnest($15::jsonb[]) AS incoming_new, pg_catalog.unnest($16::jsonb[]) AS met
) c
