-- Tables whose replica identity a task has changed, with what was there. No parameters.
SELECT r.table_oid, r.identity_before::text, r.index_before::text
FROM pgrelay.replica_identity r
