-- Whether transactions can be sent when they are prepared: the server, how many there may be, and whether the slot does so. $1 slot.
SELECT pg_catalog.current_setting('server_version_num')::integer >= 150000,
       pg_catalog.current_setting('max_prepared_transactions')::integer,
       -- The column came with 14.
       coalesce((pg_catalog.to_jsonb(s) ->> 'two_phase')::boolean, false)
FROM (SELECT) one
LEFT JOIN pg_catalog.pg_replication_slots s ON s.slot_name = $1
