-- Every direction of every task with what the user wants of it and how far it has come. A task has a reverse direction when it is two-way,
-- and when something of that may still be on the servers: then the wish is to stop it. What the whole task is told to do the forward
-- direction does, so that of the reverse one nothing is wanted then. `policies`: schema, table, kind, direction, policy, NULL for all;
-- `conflict_options`: schema, table, option, direction, value. What is set for a partitioned table stands there for its partitions too,
-- unless the same is set nearer to them. Takes no locks.
WITH RECURSIVE given AS (
    SELECT task_id, NULL AS option, schema_name, table_name, kind, direction, policy AS value FROM pgrelay.task_policy
    UNION ALL
    SELECT task_id, option, schema_name, table_name, NULL, direction, value FROM pgrelay.task_conflict_option
), rule AS (
    SELECT p.task_id, p.option, p.schema_name, p.table_name, p.kind, p.direction, p.value, c.oid AS relid, 0 AS level
    FROM given p
    LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = p.schema_name
    LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = p.table_name
    UNION ALL
    SELECT p.task_id, p.option, n.nspname::text COLLATE pg_catalog."default", c.relname::text COLLATE pg_catalog."default", p.kind, p.direction,
           p.value, c.oid, p.level + 1
    FROM rule p
    JOIN pg_catalog.pg_inherits i ON i.inhparent = p.relid
    JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relispartition
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
), nearest AS (
    SELECT DISTINCT ON (task_id, option, schema_name, table_name, kind, direction)
           task_id, option, pg_catalog.jsonb_build_array(schema_name, table_name, coalesce(option, kind), direction, value) AS rule
    FROM rule
    ORDER BY task_id, option, schema_name, table_name, kind, direction, level
)
SELECT t.id, t.name, t.owner::text AS owner, t.peer, t.include, t.exclude, t.options, t.system_identifier, t.database_oid, t.timeline,
       d.direction, d.desired, d.serial AS desired_serial, t.desired_force,
       coalesce(a.state, 'created') AS state, coalesce(a.seen_serial, 0) AS seen_serial, a.stage,
       coalesce(a.cleaning, false) AS cleaning,
       (SELECT coalesce(pg_catalog.jsonb_agg(p.rule), '[]') FROM nearest p WHERE p.task_id = t.id AND p.option IS NULL) AS policies,
       (SELECT coalesce(pg_catalog.jsonb_agg(p.rule), '[]') FROM nearest p WHERE p.task_id = t.id AND p.option IS NOT NULL) AS conflict_options,
       ARRAY(SELECT k.commit_lsn::text FROM pgrelay.task_skip k WHERE k.task_id = t.id AND k.direction = d.direction) AS skips
FROM pgrelay.task t
CROSS JOIN LATERAL (
    SELECT 'forward' AS direction, t.desired, t.desired_serial AS serial
    UNION ALL
    SELECT 'reverse',
           CASE WHEN t.desired NOT IN ('run', 'pause') THEN 'none'
                WHEN t.options ->> 'topology' = 'two_way' THEN t.reverse_desired
                ELSE 'stop' END,
           t.reverse_serial
    WHERE t.options ->> 'topology' = 'two_way'
       OR EXISTS (SELECT FROM pgrelay.task_actual r WHERE r.task_id = t.id AND r.direction = 'reverse')) d
LEFT JOIN pgrelay.task_actual a ON a.task_id = t.id AND a.direction = d.direction
ORDER BY t.id, d.direction
