-- The rows: about 200 MB with their indexes.

SET synchronous_commit = off;

INSERT INTO shop.customer (email, name, home, tags, profile)
    SELECT format('customer%s@example.com', n), 'Customer ' || n, ROW('Street ' || n % 977, 'City ' || n % 211, lpad((n % 99999)::text, 5, '0'))::shop.address,
           ARRAY['tag ' || n % 7, 'tag ' || n % 11], jsonb_build_object('visits', n % 40, 'newsletter', n % 2 = 0)
      FROM generate_series(1, 60000) n;

INSERT INTO shop.product (name, price, usual, attributes)
    SELECT 'Product ' || n, (n % 500) + 0.99, shop.price_range(n % 500, n % 500 + 10),
           jsonb_build_object('colour', (ARRAY['red', 'green', 'blue'])[n % 3 + 1], 'weight', n % 90)
      FROM generate_series(1, 5000) n;

INSERT INTO shop."order" (placed_at, customer_id, status, total, note)
    SELECT timestamptz '2024-01-01 00:00+00' + n * interval '4 minutes', n % 60000 + 1,
           (ARRAY['new', 'paid', 'shipped', 'cancelled'])[n % 4 + 1]::shop.order_status, n % 1000, CASE WHEN n % 10 = 0 THEN 'by the door' END
      FROM generate_series(1, 250000) n;

INSERT INTO shop.order_line
    SELECT o.id, o.placed_at, l, (o.id * l) % 5000 + 1, l, (o.id % 500) + 0.99
      FROM shop."order" o, generate_series(1, 3) l;

INSERT INTO shop.document (customer_id, title, body)
    SELECT n, 'Contract ' || n, (SELECT string_agg(md5((n * 1000 + k)::text), '') FROM generate_series(1, 250) k)
      FROM generate_series(1, 3000) n;

INSERT INTO warehouse.stock
    SELECT n, 'shelf ' || n % 100, 1000, daterange(date '2025-01-01', date '2025-01-01' + n % 30) FROM generate_series(1, 5000) n;

INSERT INTO warehouse.movement (product_id, shelf, quantity)
    SELECT n % 5000 + 1, 'shelf ' || (n % 5000 + 1) % 100, n % 20 - 10 FROM generate_series(1, 150000) n;

INSERT INTO audit.log (relation, operation, row_before)
    SELECT 'shop.customer', 'UPDATE', jsonb_build_object('id', n, 'name', 'Customer ' || n) FROM generate_series(1, 100000) n;

INSERT INTO "Reporting"."Daily Totals"
    SELECT placed_at::date, count(*), sum(total) FROM shop."order" GROUP BY 1;
