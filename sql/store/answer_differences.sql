-- Answers a request for differences. $1 request; then one array per column.
WITH found AS (
    INSERT INTO pgrelay.schema_difference (request_id, ordinal, kind, identity, difference, fix)
    SELECT $1, u.ordinal, u.kind, u.identity, u.difference, u.fix
    FROM ROWS FROM (
        pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::text[]), pg_catalog.unnest($4::text[]), pg_catalog.unnest($5::text[])
    ) WITH ORDINALITY AS u (kind, identity, difference, fix, ordinal)
)
UPDATE pgrelay.request
SET answered_at = pg_catalog.clock_timestamp()
WHERE id = $1
