-- What pgrelay's tasks have made and copied on the peer. Only where schema pgrelay_peer exists; no parameters; one row, one JSON value.
SELECT pg_catalog.jsonb_build_object(
        'made', coalesce((
            SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(o.task_key, o.identity))
            FROM pgrelay_peer.object o), '[]'),
        'copied', coalesce((
            SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(c.task_key, c.schema_name, c.table_name))
            FROM pgrelay_peer.table_copy c), '[]'));
