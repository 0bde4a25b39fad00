-- The oldest transaction with an id: a new slot waits for all that run. One row or none.
SELECT coalesce('session ' || a.pid, 'prepared transaction ' || pg_catalog.quote_literal(p.gid)) AS who,
       pg_catalog.date_trunc('second', pg_catalog.clock_timestamp() - coalesce(a.xact_start, p.prepared))::text AS age
FROM (
    SELECT pid, xact_start, backend_xid AS xid FROM pg_catalog.pg_stat_activity
    WHERE backend_xid IS NOT NULL AND pid <> pg_catalog.pg_backend_pid()
) a
FULL JOIN pg_catalog.pg_prepared_xacts p ON false
ORDER BY pg_catalog.age(coalesce(a.xid, p.transaction)) DESC
LIMIT 1
