-- Functions, procedures, window functions and aggregates. `body`: text to look for names in, where PostgreSQL knows no dependencies.
SELECT coalesce(json_agg(json_strip_nulls(json_build_object(
    'object', json_build_object('oid', p.oid::int8, 'schema', n.nspname, 'name', p.proname, 'owner', pg_get_userbyid(p.proowner)),
    'kind', p.prokind,
    'language', l.lanname,
    'arguments', pg_get_function_identity_arguments(p.oid),
    'definition', CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) END,
    'body', CASE WHEN p.prosqlbody IS NULL AND p.prokind <> 'a' AND l.lanname NOT IN ('c', 'internal') THEN p.prosrc END,
    'aggregate', CASE WHEN a.aggfnoid IS NOT NULL THEN json_build_object(
        'arguments', pg_get_function_arguments(p.oid), 'kind', a.aggkind, 'parallel', p.proparallel,
        'sfunc', a.aggtransfn::oid::regproc::text, 'stype', format_type(a.aggtranstype, NULL), 'sspace', nullif(a.aggtransspace, 0),
        'finalfunc', nullif(a.aggfinalfn::oid, 0)::regproc::text, 'final_extra', a.aggfinalextra, 'final_modify', a.aggfinalmodify,
        'combine', nullif(a.aggcombinefn::oid, 0)::regproc::text, 'serial', nullif(a.aggserialfn::oid, 0)::regproc::text,
        'deserial', nullif(a.aggdeserialfn::oid, 0)::regproc::text, 'initial', a.agginitval,
        'msfunc', nullif(a.aggmtransfn::oid, 0)::regproc::text, 'minvfunc', nullif(a.aggminvtransfn::oid, 0)::regproc::text,
        'mstype', CASE WHEN a.aggmtranstype <> 0 THEN format_type(a.aggmtranstype, NULL) END, 'msspace', nullif(a.aggmtransspace, 0),
        'mfinalfunc', nullif(a.aggmfinalfn::oid, 0)::regproc::text, 'mfinal_extra', a.aggmfinalextra,
        'mfinal_modify', a.aggmfinalmodify, 'minitial', a.aggminitval,
        'sort_operator', CASE WHEN a.aggsortop <> 0 THEN format('OPERATOR(%I.%s)', sn.nspname, so.oprname) END) END
  )) ORDER BY n.nspname, p.proname, p.oid), '[]')::text AS json
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
JOIN pg_catalog.pg_language l ON l.oid = p.prolang
LEFT JOIN pg_catalog.pg_aggregate a ON a.aggfnoid = p.oid
LEFT JOIN pg_catalog.pg_operator so ON so.oid = a.aggsortop
LEFT JOIN pg_catalog.pg_namespace sn ON sn.oid = so.oprnamespace
WHERE left(n.nspname, 3) <> 'pg_'
  AND n.nspname NOT IN ('information_schema', 'pgrelay', 'pgrelay_peer')
  -- i: the constructors of range types
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                  WHERE e.classid = 'pg_catalog.pg_proc'::regclass AND e.objid = p.oid AND e.deptype IN ('e', 'i'));
