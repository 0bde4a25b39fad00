-- $1 token
SELECT d.kind, d.identity, d.difference, d.fix
FROM pgrelay.request r
JOIN pgrelay.schema_difference d ON d.request_id = r.id
WHERE r.token = $1::uuid
ORDER BY d.ordinal
