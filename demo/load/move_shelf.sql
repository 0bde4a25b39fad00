\set product random(1, 5000)
\set n random(100, 100000)
UPDATE warehouse.stock SET shelf = 'shelf ' || :n WHERE product_id = :product;
