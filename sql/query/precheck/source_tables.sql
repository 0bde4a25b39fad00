-- Tables (ordinary, partitioned, foreign) and sequences outside the system's and pgrelay's schemas, of extensions those in which
-- users keep something, with what replication and copying need of them. No parameters; one row, one JSON value. The reader applies the selection.
WITH relation AS (
    SELECT c.*, n.nspname, pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS schema_usage
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f', 'S')
        AND c.relpersistence <> 't'
        AND n.nspname !~ '^pg_'
        AND n.nspname NOT IN ('information_schema', 'pgrelay', 'pgrelay_peer')
        AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_depend e
            WHERE e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                AND e.objid = c.oid
                AND e.objsubid = 0
                AND e.deptype = 'e'
                AND NOT EXISTS (SELECT FROM pg_catalog.pg_extension x WHERE x.oid = e.refobjid AND c.oid = ANY (x.extconfig)))
),
-- An index that can identify rows, as RelationGetIndexList of relcache.c has it.
key AS (
    SELECT i.indrelid, i.indexrelid, i.indisprimary, i.indisreplident, i.indnkeyatts,
        NOT EXISTS (
            SELECT FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place)
            LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
            WHERE k.place <= i.indnkeyatts AND (k.attnum = 0 OR NOT a.attnotnull)) AS not_null
    FROM pg_catalog.pg_index i
    WHERE i.indisvalid AND i.indisunique AND i.indimmediate AND i.indpred IS NULL
),
keys AS (
    SELECT k.indrelid,
        pg_catalog.bool_or(k.indisprimary) AS primary_key,
        pg_catalog.bool_or(k.indisreplident) AS identity_index,
        (pg_catalog.array_agg(x.relname ORDER BY k.indnkeyatts, x.relname) FILTER (WHERE k.not_null))[1] AS candidate
    FROM key k
    JOIN pg_catalog.pg_class x ON x.oid = k.indexrelid
    GROUP BY k.indrelid
),
money AS (
    SELECT DISTINCT a.attrelid
    FROM pg_catalog.pg_attribute a
    WHERE a.atttypid IN ('pg_catalog.money'::pg_catalog.regtype, 'pg_catalog._money'::pg_catalog.regtype)
        AND a.attnum > 0 AND NOT a.attisdropped
),
-- What makes rows meet otherwise than by the key that identifies them, in the words of a finding.
risk AS (
    SELECT r.relid, pg_catalog.jsonb_agg(r.what ORDER BY r.what) AS risks
    FROM (
        SELECT i.indrelid AS relid,
            CASE WHEN NOT i.indimmediate THEN pg_catalog.format('deferrable key "%s"', x.relname)
                 WHEN i.indisexclusion THEN pg_catalog.format('exclusion constraint "%s"', x.relname)
                 ELSE pg_catalog.format('unique key "%s" beside the primary key', x.relname) END AS what
        FROM pg_catalog.pg_index i
        JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
        WHERE (i.indisunique OR i.indisexclusion) AND (NOT i.indisprimary OR NOT i.indimmediate)
        UNION ALL
        SELECT k.conrelid, pg_catalog.format('foreign key "%s" changes or deletes rows', k.conname)
        FROM pg_catalog.pg_constraint k
        WHERE k.contype = 'f' AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd'))) r
    GROUP BY r.relid
),
firing AS (
    SELECT t.tgrelid, pg_catalog.jsonb_agg(
            pg_catalog.jsonb_build_object('name', t.tgname, 'always', t.tgenabled = 'A') ORDER BY t.tgname) AS triggers
    FROM pg_catalog.pg_trigger t
    WHERE t.tgenabled IN ('A', 'R') AND NOT t.tgisinternal
    GROUP BY t.tgrelid
)
SELECT pg_catalog.jsonb_build_object(
        'tables', coalesce((
            SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                'schema', c.nspname,
                'name', c.relname,
                'kind', c.relkind,
                'persistence', c.relpersistence,
                'replica_identity', c.relreplident,
                'primary_key', coalesce(k.primary_key, false),
                'identity_index', coalesce(k.identity_index, false),
                'candidate_index', k.candidate,
                'owner', pg_catalog.pg_get_userbyid(c.relowner),
                'owner_superuser', o.rolsuper,
                'owned', pg_catalog.pg_has_role(c.relowner, 'USAGE'),
                'schema_usage', c.schema_usage,
                'select', pg_catalog.has_table_privilege(c.oid, 'SELECT'),
                'row_security_active', pg_catalog.row_security_active(c.oid),
                'row_security', c.relrowsecurity,
                'row_security_forced', c.relforcerowsecurity,
                'tablespace', (SELECT t.spcname FROM pg_catalog.pg_tablespace t WHERE t.oid = c.reltablespace),
                'money', m.attrelid IS NOT NULL,
                'replica_triggers', coalesce(f.triggers, '[]'),
                'risks', coalesce(ri.risks, '[]'),
                'references', coalesce((
                    SELECT pg_catalog.jsonb_agg(DISTINCT pg_catalog.jsonb_build_array(rn.nspname, r.relname))
                    FROM pg_catalog.pg_constraint k
                    JOIN pg_catalog.pg_class r ON r.oid = k.confrelid
                    JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
                    WHERE k.conrelid = c.oid AND k.contype = 'f' AND k.confrelid <> c.oid), '[]'),
                'parents', coalesce((
                    SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(pn.nspname, p.relname))
                    FROM pg_catalog.pg_partition_ancestors(c.oid) a
                    JOIN pg_catalog.pg_class p ON p.oid = a.relid
                    JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
                    WHERE a.relid <> c.oid), '[]')) ORDER BY c.nspname, c.relname)
            FROM relation c
            JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
            LEFT JOIN keys k ON k.indrelid = c.oid
            LEFT JOIN money m ON m.attrelid = c.oid
            LEFT JOIN firing f ON f.tgrelid = c.oid
            LEFT JOIN risk ri ON ri.relid = c.oid
            WHERE c.relkind <> 'S'), '[]'),
        'sequences', coalesce((
            SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                'schema', c.nspname,
                'name', c.relname,
                'schema_usage', c.schema_usage,
                'select', pg_catalog.has_sequence_privilege(c.oid, 'SELECT')) ORDER BY c.nspname, c.relname)
            FROM relation c
            WHERE c.relkind = 'S'), '[]'));
