-- $1 token
SELECT r.answered_at IS NOT NULL, r.error_sqlstate, r.error_message, r.error_hint
FROM pgrelay.request r
WHERE r.token = $1::uuid
