-- Records of conflicts of updates whose rows are locked; each has met one row, by no constraint, which is there. See Shape::records.
SELECT NULL::uuid AS id, $2::text AS direction, pg_catalog.clock_timestamp() AS detected_at, $3::text AS schema_name, $4::text AS table_name,
    'update' AS operation, u.kind, '{{}}'::text[] AS constraints, u.policy, u.resolution, u.xid::xid8 AS source_xid,
    u.commit AS source_commit_lsn, timestamptz '2000-01-01 00:00:00+00' + u.committed * interval '1 microsecond' AS source_commit_ts,
    u.number AS change_no, i.key, NULL::jsonb AS incoming_old, i.new AS incoming_new,
    CASE WHEN t.ctid IS NOT NULL THEN pg_catalog.jsonb_build_array(pg_catalog.to_jsonb(t.*)) END AS peer_rows,
    CASE WHEN u.resolution = 'applied' THEN i.new END AS result_row, ARRAY[u.origin] AS peer_origins,
    ARRAY[timestamptz '2000-01-01 00:00:00+00' + u.written * interval '1 microsecond'] AS peer_commit_ts, NULL::text AS note
FROM (
    SELECT pg_catalog.unnest($5::text[]) AS kind, pg_catalog.unnest($6::text[]) AS policy, pg_catalog.unnest($7::text[]) AS resolution,
        pg_catalog.unnest($8::text[]) AS xid, pg_catalog.unnest($9::pg_lsn[]) AS commit, pg_catalog.unnest($10::bigint[]) AS committed,
        pg_catalog.unnest($11::bigint[]) AS number, pg_catalog.unnest($12::text[]) AS origin, pg_catalog.unnest($13::bigint[]) AS written,
        {columns}
) u
CROSS JOIN LATERAL (SELECT {key} AS key, {new} AS new OFFSET 0) i
LEFT JOIN ONLY {table} t ON {condition}
