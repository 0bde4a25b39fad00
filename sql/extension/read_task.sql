-- A task: what the user wants and how far it is. $1 name.
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
       a.stage IS NOT NULL OR coalesce(a.cleaning, false) AS begun
FROM pgrelay.task t
LEFT JOIN pgrelay.task_actual a ON a.task_id = t.id
WHERE t.name = $1
