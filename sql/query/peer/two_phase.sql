-- Room for prepared transactions, and from where on those of a task are prepared here. $1 task key.
SELECT pg_catalog.current_setting('max_prepared_transactions')::integer, t.two_phase_since::text
FROM pgrelay_peer.task t
WHERE t.task_key = $1
