-- Records of conflicts that come from the other side. It stands before add_conflicts.sql, which has parameter $1; then arrays with an element
-- for each record, as conflicts_to_carry.sql gives them, those of arrays as text.
SELECT r.id, r.direction, r.detected_at, r.schema_name, r.table_name, r.operation, r.kind, r.constraints::text[] AS constraints, r.policy,
    r.resolution, r.source_xid, r.source_commit_lsn, r.source_commit_ts, r.change_no, r.key, r.incoming_old, r.incoming_new, r.peer_rows,
    r.result_row, r.peer_origins::text[] AS peer_origins, r.peer_commit_ts::timestamptz[] AS peer_commit_ts, r.note
FROM (
    SELECT pg_catalog.unnest($2::uuid[]) AS id, pg_catalog.unnest($3::text[]) AS direction, pg_catalog.unnest($4::timestamptz[]) AS detected_at,
        pg_catalog.unnest($5::text[]) AS schema_name, pg_catalog.unnest($6::text[]) AS table_name, pg_catalog.unnest($7::text[]) AS operation,
        pg_catalog.unnest($8::text[]) AS kind, pg_catalog.unnest($9::text[]) AS constraints, pg_catalog.unnest($10::text[]) AS policy,
        pg_catalog.unnest($11::text[]) AS resolution, pg_catalog.unnest($12::xid8[]) AS source_xid,
        pg_catalog.unnest($13::pg_lsn[]) AS source_commit_lsn, pg_catalog.unnest($14::timestamptz[]) AS source_commit_ts,
        pg_catalog.unnest($15::bigint[]) AS change_no, pg_catalog.unnest($16::jsonb[]) AS key, pg_catalog.unnest($17::jsonb[]) AS incoming_old,
        pg_catalog.unnest($18::jsonb[]) AS incoming_new, pg_catalog.unnest($19::jsonb[]) AS peer_rows,
        pg_catalog.unnest($20::jsonb[]) AS result_row, pg_catalog.unnest($21::text[]) AS peer_origins,
        pg_catalog.unnest($22::text[]) AS peer_commit_ts, pg_catalog.unnest($23::text[]) AS note
) r
