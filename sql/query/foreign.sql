-- Foreign data wrappers, servers and user mappings. Options are name=value; null where the caller may not see a mapping's.
SELECT coalesce(json_agg(json_strip_nulls(x.one) ORDER BY x.rank, x.one ->> 'name'), '[]')::text AS json
FROM (
  SELECT 0 AS rank, json_build_object('kind', 'wrapper', 'oid', w.oid::int8, 'name', w.fdwname, 'owner', pg_get_userbyid(w.fdwowner),
      'handler', nullif(w.fdwhandler, 0)::regproc::text, 'validator', nullif(w.fdwvalidator, 0)::regproc::text,
      'options', CASE WHEN w.fdwoptions IS NOT NULL THEN to_json(w.fdwoptions) END) AS one
  FROM pg_catalog.pg_foreign_data_wrapper w
  WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                    WHERE e.classid = 'pg_catalog.pg_foreign_data_wrapper'::regclass AND e.objid = w.oid AND e.deptype = 'e')
  UNION ALL
  SELECT 1, json_build_object('kind', 'server', 'oid', s.oid::int8, 'name', s.srvname, 'owner', pg_get_userbyid(s.srvowner),
      'type', s.srvtype, 'version', s.srvversion, 'of', w.fdwname,
      'options', CASE WHEN s.srvoptions IS NOT NULL THEN to_json(s.srvoptions) END)
  FROM pg_catalog.pg_foreign_server s
  JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw
  WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                    WHERE e.classid = 'pg_catalog.pg_foreign_server'::regclass AND e.objid = s.oid AND e.deptype = 'e')
  UNION ALL
  SELECT 2, json_build_object('kind', 'mapping', 'oid', m.umid::int8, 'name', m.usename, 'public', m.umuser = 0, 'of', m.srvname,
      'options', CASE WHEN m.umoptions IS NOT NULL THEN to_json(m.umoptions) END)
  FROM pg_catalog.pg_user_mappings m
) x;
