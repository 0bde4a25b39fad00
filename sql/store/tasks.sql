-- Every task with what the user wants of it and how far it has come.
SELECT t.id, t.name, t.owner::text AS owner, t.peer, t.include, t.exclude, t.options, t.system_identifier, t.database_oid, t.timeline,
       t.desired, t.desired_serial, t.desired_force,
       coalesce(a.state, 'created') AS state, coalesce(a.seen_serial, 0) AS seen_serial, a.stage,
       coalesce(a.cleaning, false) AS cleaning
FROM pgrelay.task t
LEFT JOIN pgrelay.task_actual a ON a.task_id = t.id
ORDER BY t.id
