-- Tasks as the status command draws them. $1 one task's name, or NULL for all.
SELECT s.task || CASE WHEN s.direction = 'reverse' THEN ' (reverse)' ELSE '' END AS task, s.state, s.percent::float8 AS percent,
       pg_catalog.concat_ws('  ',
           CASE WHEN s.stage = 'schema' AND s.objects_total IS NOT NULL
               THEN pg_catalog.format('objects %s of %s', s.objects_done, s.objects_total) END,
           CASE WHEN s.tables IS NOT NULL THEN pg_catalog.format('tables %s of %s ready', s.tables_ready, s.tables) END,
           CASE WHEN s.rows_copied IS NOT NULL
               THEN pg_catalog.format('rows %s  %s', s.rows_copied, pg_catalog.pg_size_pretty(s.bytes_copied)) END,
           CASE WHEN s.rows_per_second > 0
               THEN pg_catalog.format('%s rows/s, %s/s', s.rows_per_second, pg_catalog.pg_size_pretty(s.bytes_per_second)) END,
           'ETA ' || s.eta::text,
           CASE WHEN s.indexes_done < s.indexes_total THEN pg_catalog.format('indexes %s of %s', s.indexes_done, s.indexes_total) END,
           CASE WHEN s.lag IS NOT NULL
               THEN pg_catalog.format('lag %s s, %s', pg_catalog.round(pg_catalog.date_part('epoch', s.lag)::numeric, 1),
                   pg_catalog.pg_size_pretty(s.lag_bytes)) END,
           CASE WHEN s.rows_pending > 0 THEN pg_catalog.format('%s rows pending', s.rows_pending) END,
           CASE WHEN s.changes_applied > 0
               THEN pg_catalog.format('applied %s changes in %s transactions', s.changes_applied, s.transactions_applied) END,
           CASE WHEN s.replayed > 0 THEN pg_catalog.format('%s replayed (%s)', s.replayed, s.replay_reason) END,
           CASE WHEN s.throttled > 0 THEN pg_catalog.format('held back %s %% by its throttle', s.throttled) END
       ) AS summary,
       s.error, s.error_hint,
       pg_catalog.to_jsonb(s) AS row
FROM pgrelay.task_status s
WHERE $1::text IS NULL OR s.task = $1
ORDER BY s.task, s.direction
