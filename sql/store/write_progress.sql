-- $1 task, $2 received, $3 applied, $4 confirmed position (text, NULL when none), $5 lag in bytes, $6 lag in seconds,
-- $7 microseconds since 2000 of the oldest unapplied commit, $8 transactions and $9 changes applied since the task started,
-- $10 objects done of $11, $12 a position that the peer has reached (text, NULL when none), $13 rows pending, $14 rows and $15 bytes
-- per second, $16 seconds until the copy ends, $17 limits in force, $18 part of the time they keep it waiting,
-- $19 groups applied again since the task started, $20 why the last one was, $21 direction
UPDATE pgrelay.task_actual
SET received_lsn = coalesce($2::text::pg_lsn, received_lsn),
    applied_lsn = coalesce($3::text::pg_lsn, applied_lsn),
    confirmed_lsn = coalesce($4::text::pg_lsn, confirmed_lsn),
    lag_bytes = $5,
    lag = pg_catalog.make_interval(secs => $6),
    oldest_unapplied_commit = timestamptz '2000-01-01 00:00:00+00' + $7::bigint * interval '1 microsecond',
    transactions_applied = greatest(transactions_applied, $8),
    changes_applied = greatest(changes_applied, $9),
    peer_lsn = greatest(peer_lsn, $12::text::pg_lsn),
    objects_done = $10,
    objects_total = $11,
    rows_pending = $13,
    rows_per_second = $14,
    bytes_per_second = $15,
    copy_ends_at = pg_catalog.clock_timestamp() + pg_catalog.make_interval(secs => $16),
    throttle = $17,
    throttled = $18,
    replayed = greatest(replayed, $19),
    replay_reason = coalesce($20, replay_reason),
    updated_at = pg_catalog.clock_timestamp()
WHERE task_id = $1 AND direction = $21
