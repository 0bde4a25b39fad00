-- Keys, indexes, foreign keys and triggers.

SET maintenance_work_mem = '128MB';

ALTER TABLE shop.customer ADD PRIMARY KEY (id), ADD CONSTRAINT customer_email UNIQUE (email);
ALTER TABLE shop.product ADD PRIMARY KEY (id);
ALTER TABLE shop."order" ADD PRIMARY KEY (id, placed_at);
ALTER TABLE shop.order_line ADD PRIMARY KEY (order_id, line);
ALTER TABLE shop.document ADD PRIMARY KEY (id);
ALTER TABLE warehouse.stock ADD PRIMARY KEY (product_id, shelf);
ALTER TABLE warehouse.movement ADD PRIMARY KEY (id);
ALTER TABLE "Reporting"."Daily Totals" ADD PRIMARY KEY ("Day");

ALTER TABLE shop."order" ADD FOREIGN KEY (customer_id) REFERENCES shop.customer;
ALTER TABLE shop.order_line ADD FOREIGN KEY (order_id, placed_at) REFERENCES shop."order" ON DELETE CASCADE;
ALTER TABLE shop.order_line ADD FOREIGN KEY (product_id) REFERENCES shop.product;
ALTER TABLE shop.document ADD FOREIGN KEY (customer_id) REFERENCES shop.customer;
ALTER TABLE warehouse.stock ADD FOREIGN KEY (product_id) REFERENCES shop.product;
ALTER TABLE warehouse.movement ADD FOREIGN KEY (product_id, shelf) REFERENCES warehouse.stock ON UPDATE CASCADE;

CREATE INDEX ON shop."order" (customer_id);
CREATE INDEX order_unpaid ON shop."order" (placed_at) WHERE status = 'new';
CREATE INDEX ON shop.product USING gin (words);
CREATE INDEX ON shop.customer USING gin (name gin_trgm_ops);
CREATE INDEX ON shop.customer (lower(name) text_pattern_ops);
CREATE INDEX ON shop.order_line (product_id) INCLUDE (quantity);
CREATE INDEX ON warehouse.movement (product_id, shelf);
CREATE INDEX ON warehouse.movement USING brin (at);
CREATE STATISTICS shop.line_price (dependencies) ON product_id, price FROM shop.order_line;

CREATE TRIGGER record AFTER UPDATE OR DELETE ON shop.customer FOR EACH ROW EXECUTE FUNCTION audit.record();
CREATE TRIGGER book AFTER INSERT ON warehouse.movement FOR EACH ROW EXECUTE FUNCTION warehouse.book();

CREATE MATERIALIZED VIEW "Reporting"."Best Sellers" AS
    SELECT p.name AS "Product", shop.revenue(l.price, l.quantity) AS "Revenue"
      FROM shop.order_line l JOIN shop.product p ON p.id = l.product_id
     GROUP BY p.id, p.name;
CREATE UNIQUE INDEX ON "Reporting"."Best Sellers" ("Product");

ANALYZE;
