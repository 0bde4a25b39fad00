-- Columns of tables, foreign tables and materialized views, and of views, for which only names and types matter.
-- Keys are short: a large database has a million of them. Absent: null, false or the default.
-- `pg_attver=N` is an internal option of 15.20 and no part of DDL. attstattarget is -1 or NULL (from 17 on) by default.
SELECT coalesce(json_agg(x.one), '[]')::text AS json
FROM (
  SELECT json_build_array(a.attrelid::int8, json_agg(json_strip_nulls(json_build_object(
      'n', a.attname,
      'k', a.attnum,
      't', format_type(a.atttypid, a.atttypmod),
      'nn', nullif(a.attnotnull, false),
      'nc', nn.conname,
      'ni', nullif(NOT nn.conislocal, false),
      'd', pg_get_expr(d.adbin, d.adrelid),
      'do', d.oid::int8,
      'id', nullif(a.attidentity::text, ''),
      'g', nullif(a.attgenerated::text, ''),
      'c', CASE WHEN a.attcollation <> t.typcollation THEN format('%I.%I', cn.nspname, co.collname) END,
      'i', nullif(NOT a.attislocal, false),
      'ic', nullif(a.attinhcount, 0),
      's', CASE WHEN a.attstorage <> t.typstorage THEN a.attstorage
                -- INHERITS would copy the parent's.
                WHEN a.attinhcount > 0 AND EXISTS (SELECT FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_attribute p ON p.attrelid = h.inhparent
                  WHERE h.inhrelid = a.attrelid AND p.attname = a.attname AND p.attstorage <> a.attstorage) THEN a.attstorage END,
      'z', nullif(a.attcompression::text, ''),
      'st', CASE WHEN a.attstattarget >= 0 THEN a.attstattarget END,
      'o', (SELECT json_agg(o) FROM unnest(a.attoptions) o WHERE o NOT LIKE 'pg\_attver=%'),
      'f', CASE WHEN a.attfdwoptions IS NOT NULL THEN to_json(a.attfdwoptions) END
    )) ORDER BY a.attnum)) AS one
  FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_class r ON r.oid = a.attrelid AND r.relkind IN ('r', 'p', 'f', 'v', 'm')
  JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
  JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation
  LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace
  LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  LEFT JOIN pg_catalog.pg_constraint nn ON nn.conrelid = a.attrelid AND nn.contype = 'n' AND nn.conkey = ARRAY[a.attnum]
  WHERE a.attnum > 0 AND NOT a.attisdropped AND r.relpersistence <> 't'
    AND left(n.nspname, 3) <> 'pg_' AND n.nspname NOT IN ('information_schema', 'pgrelay', 'pgrelay_peer')
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                    WHERE e.classid = 'pg_catalog.pg_class'::regclass AND e.objid = r.oid AND e.deptype = 'e')
  GROUP BY a.attrelid
) x;
