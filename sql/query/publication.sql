-- Publications, without pgrelay's own. `generated`: pubgencols, from 18 on.
SELECT coalesce(json_agg(json_strip_nulls(json_build_object(
    'object', json_build_object('oid', p.oid::int8, 'name', p.pubname, 'owner', pg_get_userbyid(p.pubowner)),
    'all_tables', p.puballtables,
    'publish', concat_ws(', ', CASE WHEN p.pubinsert THEN 'insert' END, CASE WHEN p.pubupdate THEN 'update' END,
                         CASE WHEN p.pubdelete THEN 'delete' END, CASE WHEN p.pubtruncate THEN 'truncate' END),
    'via_root', p.pubviaroot,
    'generated', to_jsonb(p) ->> 'pubgencols',
    'tables', (SELECT json_agg(json_strip_nulls(json_build_object('table', r.prrelid::int8, 'where', pg_get_expr(r.prqual, r.prrelid),
                 'columns', (SELECT json_agg(a.attname ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
                             WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs)))) ORDER BY r.prrelid)
               FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid),
    'schemas', (SELECT json_agg(n.nspname ORDER BY n.nspname) FROM pg_catalog.pg_publication_namespace s
                JOIN pg_catalog.pg_namespace n ON n.oid = s.pnnspid WHERE s.pnpubid = p.oid)
  )) ORDER BY p.pubname), '[]')::text AS json
FROM pg_catalog.pg_publication p
WHERE p.pubname !~ '^pgrelay_[0-9]+(_insert_only)?$'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                  WHERE e.classid = 'pg_catalog.pg_publication'::regclass AND e.objid = p.oid AND e.deptype = 'e');
