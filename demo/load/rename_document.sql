\set customer random(1, 3000)
\set n random(1, 100000)
UPDATE shop.document SET title = 'Contract, version ' || :n WHERE customer_id = :customer;
