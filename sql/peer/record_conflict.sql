-- The record of what a change met. It stands before add_conflicts.sql, which has parameter $1.
-- $2 direction, $3 schema and $4 table by their names on the source, $5 operation, $6 kind, $7 constraints that collided (text[]), $8 policy,
-- $9 resolution, $10 transaction id on the source, $11 position of its commit record (pg_lsn), $12 its commit time (timestamptz), $13 number
-- of the change within it, from 1; $14 key, $15 old and $16 new row of the change, $17 array of the rows that it met, as they were, $18 the
-- row as it became (all jsonb); for each of the rows it met $19 the origin that wrote it last (text[]) and $20 when, in microseconds since
-- 2000 (bigint[]), NULL where that is not known; $21 what the rest does not tell.
-- Of a change of a skipped transaction $6 and $8 are NULL.
SELECT NULL::uuid AS id, $2::text AS direction, pg_catalog.clock_timestamp() AS detected_at, $3::text AS schema_name, $4::text AS table_name,
    $5::text AS operation, $6::text AS kind, $7::text[] AS constraints, $8::text AS policy, $9::text AS resolution, $10::xid8 AS source_xid,
    $11::pg_lsn AS source_commit_lsn, $12::timestamptz AS source_commit_ts, $13::bigint AS change_no, $14::jsonb AS key,
    $15::jsonb AS incoming_old, $16::jsonb AS incoming_new, $17::jsonb AS peer_rows, $18::jsonb AS result_row, $19::text[] AS peer_origins,
    (SELECT coalesce(pg_catalog.array_agg(timestamptz '2000-01-01 00:00:00+00' + at.micros * interval '1 microsecond' ORDER BY at.n), '{}')
     FROM pg_catalog.unnest($20::bigint[]) WITH ORDINALITY AS at (micros, n)) AS peer_commit_ts,
    $21::text AS note
