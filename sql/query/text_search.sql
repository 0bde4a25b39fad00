-- Text search parsers, templates, dictionaries and configurations; `clauses` is what stands in the parentheses of CREATE.
WITH one (class, kind, oid, schema, name, owner, clauses, mappings) AS (
  SELECT 'pg_catalog.pg_ts_parser'::regclass, 'parser', p.oid, p.prsnamespace, p.prsname, NULL::oid,
    concat_ws(', ', 'START = ' || p.prsstart::oid::regproc, 'GETTOKEN = ' || p.prstoken::oid::regproc, 'END = ' || p.prsend::oid::regproc,
      'HEADLINE = ' || nullif(p.prsheadline::oid, 0)::regproc, 'LEXTYPES = ' || p.prslextype::oid::regproc), NULL::json
  FROM pg_catalog.pg_ts_parser p
  UNION ALL
  SELECT 'pg_catalog.pg_ts_template'::regclass, 'template', t.oid, t.tmplnamespace, t.tmplname, NULL,
    concat_ws(', ', 'INIT = ' || nullif(t.tmplinit::oid, 0)::regproc, 'LEXIZE = ' || t.tmpllexize::oid::regproc), NULL
  FROM pg_catalog.pg_ts_template t
  UNION ALL
  SELECT 'pg_catalog.pg_ts_dict'::regclass, 'dictionary', d.oid, d.dictnamespace, d.dictname, d.dictowner,
    concat_ws(', ', format('TEMPLATE = %I.%I', n.nspname, t.tmplname), d.dictinitoption), NULL
  FROM pg_catalog.pg_ts_dict d
  JOIN pg_catalog.pg_ts_template t ON t.oid = d.dicttemplate
  JOIN pg_catalog.pg_namespace n ON n.oid = t.tmplnamespace
  UNION ALL
  SELECT 'pg_catalog.pg_ts_config'::regclass, 'configuration', c.oid, c.cfgnamespace, c.cfgname, c.cfgowner,
    format('PARSER = %I.%I', n.nspname, p.prsname),
    (SELECT json_agg(json_build_array(m.alias, m.dictionaries) ORDER BY m.tokid)
     FROM (SELECT k.tokid, k.alias, string_agg(w.mapdict::regdictionary::text, ', ' ORDER BY w.mapseqno) AS dictionaries
           FROM pg_catalog.pg_ts_config_map w
           JOIN ts_token_type(c.cfgparser) k ON k.tokid = w.maptokentype
           WHERE w.mapcfg = c.oid
           GROUP BY k.tokid, k.alias) m)
  FROM pg_catalog.pg_ts_config c
  JOIN pg_catalog.pg_ts_parser p ON p.oid = c.cfgparser
  JOIN pg_catalog.pg_namespace n ON n.oid = p.prsnamespace
  WHERE c.oid >= 16384
)
SELECT coalesce(json_agg(json_strip_nulls(json_build_object(
    'object', json_build_object('oid', o.oid::int8, 'schema', n.nspname, 'name', o.name,
                                'owner', CASE WHEN o.owner IS NOT NULL THEN pg_get_userbyid(o.owner) END),
    'class', o.class::oid::int8, 'kind', o.kind, 'clauses', o.clauses, 'mappings', o.mappings
  )) ORDER BY o.kind, n.nspname, o.name), '[]')::text AS json
FROM one o
JOIN pg_catalog.pg_namespace n ON n.oid = o.schema
WHERE left(n.nspname, 3) <> 'pg_'
  AND n.nspname NOT IN ('information_schema', 'pgrelay', 'pgrelay_peer')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = o.class AND e.objid = o.oid AND e.deptype = 'e');
