-- Types that stand by themselves: enum, domain, composite, range (with its multirange), base, shell.
-- Row types, array types and multiranges belong to their table or element and are found through pg_depend.
SELECT coalesce(json_agg(json_strip_nulls(json_build_object(
    'object', json_build_object('oid', t.oid::int8, 'schema', n.nspname, 'name', t.typname, 'owner', pg_get_userbyid(t.typowner)),
    'kind', CASE WHEN NOT t.typisdefined THEN 'shell' WHEN t.typtype = 'e' THEN 'enum' WHEN t.typtype = 'd' THEN 'domain'
                 WHEN t.typtype = 'c' THEN 'composite' WHEN t.typtype = 'r' THEN 'range' WHEN t.typtype = 'b' THEN 'base' ELSE t.typtype::text END,
    'labels', CASE WHEN t.typtype = 'e' THEN
        (SELECT json_agg(l.enumlabel ORDER BY l.enumsortorder) FROM pg_catalog.pg_enum l WHERE l.enumtypid = t.oid) END,
    'attributes', CASE WHEN t.typtype = 'c' THEN
        (SELECT json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'collation',
                  CASE WHEN a.attcollation <> at.typcollation THEN (a.attcollation::regcollation)::text END) ORDER BY a.attnum)
         FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type at ON at.oid = a.atttypid
         WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) END,
    'domain', CASE WHEN t.typtype = 'd' THEN json_build_object(
        'base', format_type(t.typbasetype, t.typtypmod), 'default', coalesce(pg_get_expr(t.typdefaultbin, 0), t.typdefault),
        'not_null', t.typnotnull, 'collation', CASE WHEN t.typcollation <> b.typcollation THEN (t.typcollation::regcollation)::text END) END,
    'range', CASE WHEN r.rngtypid IS NOT NULL THEN json_build_object(
        'subtype', format_type(r.rngsubtype, NULL),
        'opclass', CASE WHEN NOT o.opcdefault THEN format('%I.%I', os.nspname, o.opcname) END,
        'collation', CASE WHEN r.rngcollation <> rs.typcollation THEN (nullif(r.rngcollation, 0)::regcollation)::text END,
        'canonical', nullif(r.rngcanonical, 0)::regproc::text,
        'diff', nullif(r.rngsubdiff, 0)::regproc::text,
        'multirange_schema', mn.nspname, 'multirange', m.typname) END,
    'base', CASE WHEN t.typtype = 'b' AND t.typisdefined THEN json_build_object(
        'input', t.typinput::oid::regproc::text, 'output', t.typoutput::oid::regproc::text,
        'receive', nullif(t.typreceive::oid, 0)::regproc::text, 'send', nullif(t.typsend::oid, 0)::regproc::text,
        'typmod_in', nullif(t.typmodin::oid, 0)::regproc::text, 'typmod_out', nullif(t.typmodout::oid, 0)::regproc::text,
        'analyze', nullif(t.typanalyze::oid, 0)::regproc::text, 'subscript', nullif(t.typsubscript::oid, 0)::regproc::text,
        'length', t.typlen, 'by_value', t.typbyval, 'align', t.typalign, 'storage', t.typstorage, 'category', t.typcategory,
        'preferred', t.typispreferred, 'delimiter', t.typdelim, 'element', CASE WHEN t.typelem <> 0 THEN format_type(t.typelem, NULL) END,
        'collatable', t.typcollation <> 0, 'default', coalesce(pg_get_expr(t.typdefaultbin, 0), t.typdefault),
        'default_is_expression', t.typdefaultbin IS NOT NULL) END
  )) ORDER BY n.nspname, t.typname), '[]')::text AS json
FROM pg_catalog.pg_type t
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype
LEFT JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid
LEFT JOIN pg_catalog.pg_type rs ON rs.oid = r.rngsubtype
LEFT JOIN pg_catalog.pg_opclass o ON o.oid = r.rngsubopc
LEFT JOIN pg_catalog.pg_namespace os ON os.oid = o.opcnamespace
LEFT JOIN pg_catalog.pg_type m ON m.oid = r.rngmultitypid
LEFT JOIN pg_catalog.pg_namespace mn ON mn.oid = m.typnamespace
WHERE left(n.nspname, 3) <> 'pg_'
  AND n.nspname NOT IN ('information_schema', 'pgrelay', 'pgrelay_peer')
  AND (t.typrelid = 0 OR c.relkind = 'c')
  AND t.typtype <> 'm'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_type e WHERE e.typarray = t.oid)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                  WHERE e.classid = 'pg_catalog.pg_type'::regclass AND e.objid = t.oid AND e.deptype = 'e');
