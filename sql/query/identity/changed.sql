-- Tables whose replica identity a task has changed: what to put back; NULL table_name when the table is gone. The table where that is
-- written down, and its condition for the task, stand in the place of the words in braces.
SELECT i.table_oid,
       CASE WHEN c.oid IS NOT NULL THEN pg_catalog.format('%I.%I', n.nspname, c.relname) END AS table_name,
       CASE i.identity_before
           WHEN 'd' THEN 'DEFAULT'
           WHEN 'n' THEN 'NOTHING'
           WHEN 'f' THEN 'FULL'
           WHEN 'i' THEN CASE WHEN x.indexrelid IS NOT NULL THEN 'USING INDEX ' || pg_catalog.quote_ident(i.index_before) ELSE 'NOTHING' END
       END AS clause
FROM {marks} i
LEFT JOIN pg_catalog.pg_class c ON c.oid = i.table_oid
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN (pg_catalog.pg_index x JOIN pg_catalog.pg_class xc ON xc.oid = x.indexrelid)
    ON x.indrelid = c.oid AND xc.relname = i.index_before
WHERE {of_task}
