-- One line for each table: name, rows, a digest that does not depend on their order. Then each sequence's next value.
\set ON_ERROR_STOP on
\set QUIET on
\pset format unaligned
\pset tuples_only on
\pset fieldsep '|'
SET search_path = '';
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET intervalstyle = 'postgres';
SET bytea_output = 'hex';
SET extra_float_digits = 1;

SELECT format('SELECT %L, count(*), to_hex(coalesce(abs(sum(hashtextextended(t::text, 0)::numeric)) %% 1000000000000, 0)::bigint) FROM ONLY %I.%I t',
              format('%I.%I', n.nspname, c.relname), n.nspname, c.relname)
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND n.nspname !~ '^(pg_|information_schema$|pgrelay)'
 ORDER BY 1
\gexec
