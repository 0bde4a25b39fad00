-- A shop of about 200 MB: what real databases are made of. Keys, foreign keys and indexes come in keys.sql, after the rows.

CREATE EXTENSION citext;
CREATE EXTENSION pg_trgm;

CREATE SCHEMA shop;
CREATE SCHEMA warehouse;
CREATE SCHEMA audit;
CREATE SCHEMA "Reporting";

CREATE TYPE shop.order_status AS ENUM ('new', 'paid', 'shipped', 'cancelled');
CREATE DOMAIN shop.email AS citext CHECK (VALUE ~ '^[^@]+@[^@]+$');
CREATE DOMAIN shop.price AS numeric(12, 2) DEFAULT 0 CHECK (VALUE >= 0);
CREATE TYPE shop.address AS (street text, city text, post_code text);
CREATE TYPE shop.price_range AS RANGE (subtype = numeric);

CREATE FUNCTION shop.full_text(name text, attributes jsonb) RETURNS tsvector
    LANGUAGE sql IMMUTABLE
    AS $$ SELECT to_tsvector('pg_catalog.simple', name || ' ' || coalesce(attributes ->> 'colour', '')) $$;

CREATE TABLE shop.customer (
    id bigint GENERATED ALWAYS AS IDENTITY,
    email shop.email NOT NULL,
    name text NOT NULL,
    home shop.address,
    tags text[] NOT NULL DEFAULT '{}',
    profile jsonb NOT NULL DEFAULT '{}',
    changed_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE shop.customer IS 'Who buys.';
COMMENT ON COLUMN shop.customer.home IS 'Where goods are sent to when the order names no other place.';

CREATE TABLE shop.product (
    id serial,
    name text NOT NULL,
    price shop.price NOT NULL,
    usual shop.price_range,
    attributes jsonb NOT NULL DEFAULT '{}',
    words tsvector GENERATED ALWAYS AS (shop.full_text(name, attributes)) STORED
);

CREATE SEQUENCE shop.order_number START 1000;

CREATE TABLE shop."order" (
    id bigint NOT NULL DEFAULT nextval('shop.order_number'),
    placed_at timestamptz NOT NULL DEFAULT now(),
    customer_id bigint NOT NULL,
    status shop.order_status NOT NULL DEFAULT 'new',
    total shop.price NOT NULL,
    note text
) PARTITION BY RANGE (placed_at);
CREATE TABLE shop.order_2024 PARTITION OF shop."order" FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE shop.order_2025 PARTITION OF shop."order" FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE shop.order_later PARTITION OF shop."order" DEFAULT;
ALTER SEQUENCE shop.order_number OWNED BY shop."order".id;

CREATE TABLE shop.order_line (
    order_id bigint NOT NULL,
    placed_at timestamptz NOT NULL,
    line smallint NOT NULL,
    product_id integer NOT NULL,
    quantity integer NOT NULL CHECK (quantity > 0),
    price shop.price NOT NULL
);

CREATE TABLE shop.document (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    customer_id bigint NOT NULL,
    title text NOT NULL,
    body text NOT NULL
);

CREATE TABLE warehouse.stock (
    product_id integer NOT NULL,
    shelf text NOT NULL,
    quantity integer NOT NULL,
    counted daterange
);

CREATE TABLE warehouse.movement (
    id bigserial,
    product_id integer NOT NULL,
    shelf text NOT NULL,
    quantity integer NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Without a key: rows are only ever added.
CREATE TABLE audit.log (
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    who name NOT NULL DEFAULT current_user,
    relation text NOT NULL,
    operation text NOT NULL,
    row_before jsonb
);

CREATE TABLE "Reporting"."Daily Totals" (
    "Day" date,
    "Orders" integer NOT NULL,
    "Revenue" numeric NOT NULL
);

CREATE FUNCTION audit.record() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO audit.log (relation, operation, row_before) VALUES (format('%I.%I', TG_TABLE_SCHEMA, TG_TABLE_NAME), TG_OP, to_jsonb(OLD));
    RETURN coalesce(NEW, OLD);
END $$;

CREATE FUNCTION warehouse.book() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE warehouse.stock SET quantity = quantity + NEW.quantity WHERE product_id = NEW.product_id AND shelf = NEW.shelf;
    RETURN NEW;
END $$;

CREATE PROCEDURE shop.cancel(number bigint)
    LANGUAGE sql
    AS $$ UPDATE shop."order" SET status = 'cancelled' WHERE id = number $$;

CREATE FUNCTION shop.add_up(so_far numeric, price numeric, quantity integer) RETURNS numeric
    LANGUAGE sql IMMUTABLE
    AS $$ SELECT coalesce(so_far, 0) + price * quantity $$;
CREATE AGGREGATE shop.revenue (numeric, integer) (SFUNC = shop.add_up, STYPE = numeric);

CREATE VIEW shop.open_order AS
    SELECT o.id, o.placed_at, c.name, c.email, o.total
      FROM shop."order" o JOIN shop.customer c ON c.id = o.customer_id
     WHERE o.status IN ('new', 'paid');
CREATE VIEW "Reporting"."Open by Customer" AS
    SELECT name AS "Customer", count(*) AS "Orders", sum(total) AS "Total" FROM shop.open_order GROUP BY name;

GRANT USAGE ON SCHEMA "Reporting" TO PUBLIC;
GRANT SELECT ON "Reporting"."Open by Customer", "Reporting"."Daily Totals" TO PUBLIC;
