-- Stores a task; no row when the name is taken. $1 name, $2 peer, $3 include, $4 exclude, $5 options, $6 owner,
-- $7 system identifier, $8 database, $9 timeline.
INSERT INTO pgrelay.task (name, peer, include, exclude, options, owner, system_identifier, database_oid, timeline)
VALUES ($1, $2, $3, $4, $5, $6::name, $7, $8, $9)
ON CONFLICT (name) DO NOTHING
RETURNING id
