\set customer random(1, 60000)
\set n random(1, 100000)
UPDATE shop.customer
   SET profile = jsonb_set(profile, '{visits}', to_jsonb(:n)), tags = tags[1:3] || ('seen ' || :n), changed_at = now()
 WHERE id = :customer;
