\set number random(1000, 251000)
\set product random(1, 5000)
BEGIN;
UPDATE shop."order" SET status = 'shipped', note = NULL WHERE id = :number;
INSERT INTO warehouse.movement (product_id, shelf, quantity) SELECT product_id, shelf, -1 FROM warehouse.stock WHERE product_id = :product;
COMMIT;
