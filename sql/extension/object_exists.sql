-- Whether a schema, or any object of that name in it, exists. $1 schema, $2 name or NULL for the schema itself.
SELECT EXISTS (
    SELECT
    FROM pg_catalog.pg_namespace n
    WHERE n.nspname = $1
      AND ($2 IS NULL
          OR EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid AND c.relname = $2)
          OR EXISTS (SELECT FROM pg_catalog.pg_proc p WHERE p.pronamespace = n.oid AND p.proname = $2)
          OR EXISTS (SELECT FROM pg_catalog.pg_type t WHERE t.typnamespace = n.oid AND t.typname = $2)))
