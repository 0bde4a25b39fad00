-- Operator families with the members that stand loose in them (not through an operator class).
WITH member AS (
  SELECT o.amopfamily AS family, o.amopstrategy AS number, 0 AS rank,
    format('OPERATOR %s %s', o.amopstrategy, o.amopopr::regoperator)
      || CASE WHEN f.oid IS NOT NULL THEN format(' FOR ORDER BY %I.%I', fn.nspname, f.opfname) ELSE '' END AS text
  FROM pg_catalog.pg_amop o
  LEFT JOIN pg_catalog.pg_opfamily f ON f.oid = o.amopsortfamily
  LEFT JOIN pg_catalog.pg_namespace fn ON fn.oid = f.opfnamespace
  WHERE EXISTS (SELECT FROM pg_catalog.pg_depend d
                WHERE d.classid = 'pg_catalog.pg_amop'::regclass AND d.objid = o.oid
                  AND d.refclassid = 'pg_catalog.pg_opfamily'::regclass AND d.refobjid = o.amopfamily)
  UNION ALL
  SELECT p.amprocfamily, p.amprocnum, 1,
    format('FUNCTION %s (%s, %s) %s', p.amprocnum, format_type(p.amproclefttype, NULL), format_type(p.amprocrighttype, NULL), p.amproc::regprocedure)
  FROM pg_catalog.pg_amproc p
  WHERE EXISTS (SELECT FROM pg_catalog.pg_depend d
                WHERE d.classid = 'pg_catalog.pg_amproc'::regclass AND d.objid = p.oid
                  AND d.refclassid = 'pg_catalog.pg_opfamily'::regclass AND d.refobjid = p.amprocfamily)
)
SELECT coalesce(json_agg(json_strip_nulls(json_build_object(
    'object', json_build_object('oid', f.oid::int8, 'schema', n.nspname, 'name', f.opfname, 'owner', pg_get_userbyid(f.opfowner)),
    'method', am.amname,
    'members', (SELECT json_agg(m.text ORDER BY m.rank, m.number, m.text) FROM member m WHERE m.family = f.oid)
  )) ORDER BY n.nspname, f.opfname), '[]')::text AS json
FROM pg_catalog.pg_opfamily f
JOIN pg_catalog.pg_namespace n ON n.oid = f.opfnamespace
JOIN pg_catalog.pg_am am ON am.oid = f.opfmethod
WHERE left(n.nspname, 3) <> 'pg_'
  AND n.nspname NOT IN ('information_schema', 'pgrelay', 'pgrelay_peer')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                  WHERE e.classid = 'pg_catalog.pg_opfamily'::regclass AND e.objid = f.oid AND e.deptype = 'e');
