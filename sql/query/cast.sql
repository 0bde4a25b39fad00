-- Casts and transforms: neither has a schema or an owner. Those made by initdb have OIDs below 16384, those of ranges depend on them (i).
SELECT coalesce(json_agg(x.one ORDER BY x.one ->> 'name'), '[]')::text AS json
FROM (
  SELECT json_strip_nulls(json_build_object(
      'oid', c.oid::int8, 'transform', false,
      'name', format('(%s AS %s)', format_type(c.castsource, NULL), format_type(c.casttarget, NULL)),
      'method', c.castmethod, 'context', c.castcontext,
      'function', CASE WHEN c.castfunc <> 0 THEN c.castfunc::regprocedure::text END)) AS one
  FROM pg_catalog.pg_cast c
  WHERE c.oid >= 16384
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                    WHERE e.classid = 'pg_catalog.pg_cast'::regclass AND e.objid = c.oid AND e.deptype IN ('e', 'i'))
  UNION ALL
  SELECT json_strip_nulls(json_build_object(
      'oid', t.oid::int8, 'transform', true,
      'name', format('FOR %s LANGUAGE %I', format_type(t.trftype, NULL), l.lanname),
      'from_sql', nullif(t.trffromsql::oid, 0)::regprocedure::text, 'to_sql', nullif(t.trftosql::oid, 0)::regprocedure::text))
  FROM pg_catalog.pg_transform t
  JOIN pg_catalog.pg_language l ON l.oid = t.trflang
  WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                    WHERE e.classid = 'pg_catalog.pg_transform'::regclass AND e.objid = t.oid AND e.deptype = 'e')
) x;
