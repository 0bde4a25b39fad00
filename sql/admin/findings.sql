-- What the last prechecks found, worst first, and what went wrong since. psql -d SOURCE -f findings.sql

SELECT task, severity, item, object, message, fix
FROM pgrelay.finding
WHERE severity <> 'ok'
ORDER BY task, severity = 'error' DESC, ordinal;

\echo Warnings and errors of the last day
SELECT at, task, level, event, object, message, detail, hint
FROM pgrelay.event
WHERE level <> 'info' AND at > pg_catalog.now() - interval '1 day'
ORDER BY id DESC
LIMIT 50;
