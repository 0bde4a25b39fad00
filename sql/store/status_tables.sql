-- Tables as the status command draws them: those under way first, then the largest. $1 one task's name, or NULL for all.
SELECT t.task, t.schema_name || '.' || t.table_name AS table_name, t.state, t.percent::float8 AS percent,
       pg_catalog.concat_ws('  ',
           CASE WHEN t.state = 'datasync' AND t.rows_estimated > t.rows
               THEN pg_catalog.format('%s of about %s rows', t.rows, t.rows_estimated) ELSE t.rows || ' rows' END,
           CASE WHEN t.rows_kept > 0 THEN pg_catalog.format('%s kept', t.rows_kept) END,
           pg_catalog.pg_size_pretty(t.bytes),
           CASE WHEN t.state = 'datasync' AND t.rows_per_second IS NOT NULL
               THEN pg_catalog.format('%s rows/s, %s/s', t.rows_per_second, pg_catalog.pg_size_pretty(t.bytes_per_second)) END,
           'ETA ' || t.eta::text,
           CASE WHEN t.indexes_done < t.indexes_total THEN pg_catalog.format('indexes %s of %s', t.indexes_done, t.indexes_total) END,
           CASE WHEN t.inserts + t.updates + t.deletes > 0
               THEN pg_catalog.format('+%s ~%s -%s', t.inserts, t.updates, t.deletes) END,
           CASE WHEN t.note IS NOT NULL THEN '(inserts only)' END
       ) AS summary,
       pg_catalog.to_jsonb(t) AS row
FROM pgrelay.table_status t
WHERE $1::text IS NULL OR t.task = $1
ORDER BY t.task, t.state <> 'datasync', t.bytes_estimated DESC, 2
