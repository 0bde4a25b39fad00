-- Sets the position of a sequence that the peer had before, unless it would go back. Its quoted name stands in FROM in the place of the
-- word in braces, and is $1 too; $2 last value, $3 whether it was called.
SELECT pg_catalog.setval(q.seqrelid::pg_catalog.regclass, $2::bigint, $3)
FROM pg_catalog.pg_sequence q, {sequence} s
WHERE q.seqrelid = $1::text::pg_catalog.regclass
  AND CASE WHEN $2 = s.last_value THEN $3 AND NOT s.is_called
           WHEN q.seqincrement > 0 THEN $2 > s.last_value
           ELSE $2 < s.last_value END
