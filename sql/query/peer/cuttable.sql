-- Whether a table that is cut by a column may be copied under several snapshots: none of its unique or exclusion indexes can make two
-- rows collide that do not have the same value there. $1 schema, $2 table, $3 column.
SELECT NOT EXISTS (
    SELECT FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relname = $2 AND (i.indisunique OR i.indisexclusion)
      AND (i.indisexclusion OR NOT EXISTS (
          SELECT FROM pg_catalog.pg_attribute a
          WHERE a.attrelid = c.oid AND a.attname = $3 AND a.attnum = ANY ((i.indkey::smallint[])[0:i.indnkeyatts - 1]))))
