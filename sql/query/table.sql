-- Tables, partitioned tables, partitions, foreign tables. Their columns are in column.sql.
SELECT coalesce(json_agg(json_strip_nulls(json_build_object(
    'object', json_build_object('oid', c.oid::int8, 'schema', n.nspname, 'name', c.relname, 'owner', pg_get_userbyid(c.relowner)),
    'kind', c.relkind,
    'persistence', c.relpersistence,
    'method', CASE WHEN am.amname <> 'heap' THEN am.amname END,
    'tablespace', ts.spcname,
    'options', CASE WHEN c.reloptions IS NOT NULL OR tc.reloptions IS NOT NULL THEN to_json(coalesce(c.reloptions, '{}') ||
        coalesce((SELECT array_agg('toast.' || o) FROM unnest(tc.reloptions) o), '{}')) END,
    'of_type', CASE WHEN c.reloftype <> 0 THEN format_type(c.reloftype, NULL) END,
    'partition_key', CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END,
    'bound', pg_get_expr(c.relpartbound, c.oid),
    'parents', (SELECT json_agg(i.inhparent::int8 ORDER BY i.inhseqno) FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid),
    'row_security', c.relrowsecurity,
    'force_row_security', c.relforcerowsecurity,
    'replica_identity', c.relreplident,
    'server', s.srvname,
    'foreign_options', CASE WHEN f.ftoptions IS NOT NULL THEN to_json(f.ftoptions) END
  )) ORDER BY n.nspname, c.relname), '[]')::text AS json
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_class tc ON tc.oid = c.reltoastrelid
LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
LEFT JOIN pg_catalog.pg_tablespace ts ON ts.oid = c.reltablespace
LEFT JOIN pg_catalog.pg_foreign_table f ON f.ftrelid = c.oid
LEFT JOIN pg_catalog.pg_foreign_server s ON s.oid = f.ftserver
WHERE c.relkind IN ('r', 'p', 'f')
  AND c.relpersistence <> 't'
  AND left(n.nspname, 3) <> 'pg_'
  AND n.nspname NOT IN ('information_schema', 'pgrelay', 'pgrelay_peer')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                  WHERE e.classid = 'pg_catalog.pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e');
