-- Operator classes with their own operators and functions.
WITH member AS (
  SELECT d.refobjid AS class, o.amopstrategy AS number, 0 AS rank,
    format('OPERATOR %s %s', o.amopstrategy, o.amopopr::regoperator)
      || CASE WHEN f.oid IS NOT NULL THEN format(' FOR ORDER BY %I.%I', fn.nspname, f.opfname) ELSE '' END AS text
  FROM pg_catalog.pg_amop o
  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_amop'::regclass AND d.objid = o.oid
    AND d.refclassid = 'pg_catalog.pg_opclass'::regclass
  LEFT JOIN pg_catalog.pg_opfamily f ON f.oid = o.amopsortfamily
  LEFT JOIN pg_catalog.pg_namespace fn ON fn.oid = f.opfnamespace
  UNION ALL
  SELECT d.refobjid, p.amprocnum, 1,
    format('FUNCTION %s (%s, %s) %s', p.amprocnum, format_type(p.amproclefttype, NULL), format_type(p.amprocrighttype, NULL), p.amproc::regprocedure)
  FROM pg_catalog.pg_amproc p
  JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_amproc'::regclass AND d.objid = p.oid
    AND d.refclassid = 'pg_catalog.pg_opclass'::regclass
)
SELECT coalesce(json_agg(json_strip_nulls(json_build_object(
    'object', json_build_object('oid', o.oid::int8, 'schema', n.nspname, 'name', o.opcname, 'owner', pg_get_userbyid(o.opcowner)),
    'method', am.amname,
    'family', format('%I.%I', fn.nspname, f.opfname),
    'type', format_type(o.opcintype, NULL),
    'is_default', o.opcdefault,
    'storage', CASE WHEN o.opckeytype <> 0 THEN format_type(o.opckeytype, NULL) END,
    'members', (SELECT json_agg(m.text ORDER BY m.rank, m.number, m.text) FROM member m WHERE m.class = o.oid)
  )) ORDER BY n.nspname, o.opcname), '[]')::text AS json
FROM pg_catalog.pg_opclass o
JOIN pg_catalog.pg_namespace n ON n.oid = o.opcnamespace
JOIN pg_catalog.pg_am am ON am.oid = o.opcmethod
JOIN pg_catalog.pg_opfamily f ON f.oid = o.opcfamily
JOIN pg_catalog.pg_namespace fn ON fn.oid = f.opfnamespace
WHERE left(n.nspname, 3) <> 'pg_'
  AND n.nspname NOT IN ('information_schema', 'pgrelay', 'pgrelay_peer')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                  WHERE e.classid = 'pg_catalog.pg_opclass'::regclass AND e.objid = o.oid AND e.deptype = 'e');
