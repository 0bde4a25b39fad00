\set customer random(1, 60000)
\set product random(1, 5000)
BEGIN;
INSERT INTO shop."order" (customer_id, total) VALUES (:customer, :product % 100) RETURNING id AS number \gset
INSERT INTO shop.order_line VALUES (:number, now(), 1, :product, 1, 9.99), (:number, now(), 2, :product % 100 + 1, 2, 5);
COMMIT;
