-- A task: what the user wants and how far its two directions are. $1 name.
SELECT t.id,
       t.include,
       t.exclude,
       t.options,
       t.owner::text AS owner,
       t.system_identifier,
       t.database_oid,
       t.desired,
       t.desired_serial > coalesce(a.seen_serial, 0) AS pending,
       a.task_id IS NOT NULL AS taken_up,
       EXISTS (SELECT FROM pgrelay.replica_identity r WHERE r.task_id = t.id) AS holds_tables,
       coalesce(a.state, 'created') AS state,
       a.error_message,
       a.error_hint,
       pgrelay.applier_attached() AS attached,
       a.stage IS NOT NULL OR coalesce(a.cleaning, false) AS begun,
       coalesce(a.stage = 'stream', false) AS streams,
       t.reverse_desired,
       t.reverse_serial > coalesce(r.seen_serial, 0) AS reverse_pending,
       coalesce(r.state, 'created') AS reverse_state,
       r.error_message AS reverse_error,
       r.error_hint AS reverse_error_hint,
       r.stage IS NOT NULL AS reverse_made
FROM pgrelay.task t
LEFT JOIN pgrelay.task_actual a ON a.task_id = t.id AND a.direction = 'forward'
LEFT JOIN pgrelay.task_actual r ON r.task_id = t.id AND r.direction = 'reverse'
WHERE t.name = $1
