//! What pg_dump loses or psql refuses, and a plan gets across; each claim by itself, and what random schemas have found.

use pgrelay_tests::schema::{move_schema, same_dumps};
use pgrelay_tests::{Cluster, ClusterOptions};

/// One server; both databases see the same roles.
async fn moved(sql: &str) -> Cluster {
    let server = Cluster::start(ClusterOptions { name: "schema".to_string(), ..ClusterOptions::default() }).await;
    server.create_db("source").await;
    server.psql("source", sql).await;
    if let Err(e) = move_schema(&server, "source", "peer").await {
        panic!("{e} {:?}", e.object);
    }
    server
}

/// As `moved`, and both dumps are the same.
async fn same(sql: &str) -> Cluster {
    let server = moved(sql).await;
    same_dumps(&server, "source", "peer").await.unwrap_or_else(|e| panic!("{e}"));
    server
}

/// The answer of both sides, which is one.
async fn both(server: &Cluster, query: &str) -> String {
    let (source, peer) = (server.psql("source", query).await, server.psql("peer", query).await);
    assert_eq!(source, peer, "{query}");
    peer
}

#[tokio::test]
async fn children_keep_the_order_of_their_columns() {
    let server = same(
        "CREATE TABLE mother (a int, b text); CREATE TABLE child (z int, b text, a int); ALTER TABLE child INHERIT mother;
        CREATE TABLE late () INHERITS (mother); ALTER TABLE late ADD COLUMN own int; ALTER TABLE mother ADD COLUMN c int;",
    )
    .await;
    let columns = "SELECT string_agg(attrelid::regclass || '.' || attname, ' ' ORDER BY attrelid::regclass::text, attnum)
        FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped AND attrelid IN ('child'::regclass, 'late'::regclass)";
    assert_eq!(both(&server, columns).await, "child.z child.b child.a child.c late.a late.b late.own late.c");
}

#[tokio::test]
async fn an_index_over_a_function_that_needs_its_authors_search_path_is_built() {
    let server = same(
        "CREATE SCHEMA \"My App\"; CREATE SCHEMA helpers; SET search_path = \"My App\", helpers;
        CREATE TABLE helpers.word (w text);
        CREATE FUNCTION helpers.fold(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower($1)';
        CREATE FUNCTION key(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT fold($1) || ''x''';
        CREATE FUNCTION slow(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN key($1); END';
        CREATE TABLE t (id int PRIMARY KEY, w text); CREATE INDEX by_key ON t (key(w)); CREATE INDEX by_slow ON t (slow(w)) WHERE slow(w) <> 'a';
        ALTER TABLE t ADD EXCLUDE USING btree (key(w) WITH =);
        CREATE MATERIALIZED VIEW m AS SELECT slow('A') AS s;",
    )
    .await;
    assert_eq!(both(&server, "SELECT s FROM \"My App\".m").await, "ax");
    assert_eq!(both(&server, "SELECT count(*) FROM pg_index WHERE indrelid = '\"My App\".t'::regclass AND indisvalid").await, "4");
}

#[tokio::test]
async fn a_view_that_reads_itself_arrives() {
    same(
        "CREATE VIEW v AS SELECT 1 AS x, 'y'::text AS y; CREATE OR REPLACE VIEW v AS SELECT 1 AS x, s.y FROM (SELECT NULL::v AS r, 'z'::text AS y) s;
        CREATE VIEW w AS SELECT 1 AS x; CREATE OR REPLACE VIEW w WITH (security_barrier) AS SELECT x FROM w;
        CREATE VIEW a AS SELECT 1 AS x; CREATE VIEW b AS SELECT x FROM a; CREATE OR REPLACE VIEW a AS SELECT x FROM b;",
    )
    .await;
}

#[tokio::test]
async fn a_generated_column_whose_function_calls_into_a_circle_of_functions_arrives() {
    same(
        "CREATE FUNCTION b_one(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN IF n > 0 THEN RETURN public.z_two(n - 1); END IF; RETURN 0; END';
        CREATE FUNCTION z_two(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN IF n > 0 THEN RETURN public.b_one(n - 1); END IF; RETURN 0; END';
        CREATE FUNCTION c_calls(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT public.b_one(5)';
        CREATE TABLE t (id int, g int GENERATED ALWAYS AS (c_calls(id)) STORED); INSERT INTO t VALUES (1)",
    )
    .await;
}

#[tokio::test]
async fn indexes_over_a_domain_whose_check_is_not_valid_are_attached() {
    same(
        "CREATE DOMAIN d AS text; ALTER DOMAIN d ADD CHECK (VALUE IS NOT NULL) NOT VALID;
        CREATE FUNCTION f(d) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1; END';
        CREATE TABLE p (w text) PARTITION BY LIST (w); CREATE TABLE q PARTITION OF p DEFAULT; CREATE INDEX ON p (f(w::d))",
    )
    .await;
}

#[tokio::test]
async fn a_partitions_own_foreign_key_stays_its_own_beside_its_parents() {
    let server = same(
        "CREATE TABLE r (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p (id int) PARTITION BY RANGE (id); CREATE TABLE q PARTITION OF p FOR VALUES FROM (0) TO (9);
        ALTER TABLE p ADD CONSTRAINT z_parents FOREIGN KEY (id) REFERENCES r; ALTER TABLE q ADD CONSTRAINT a_own FOREIGN KEY (id) REFERENCES r",
    )
    .await;
    assert_eq!(
        both(
            &server,
            "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conparentid = 0 AND connamespace = 'public'::regnamespace"
        )
        .await,
        "2"
    );
}

#[tokio::test]
async fn a_table_whose_column_has_the_type_of_a_materialized_view_over_it_arrives() {
    let server = same(
        "CREATE SCHEMA \"S.1\"; CREATE TABLE \"S.1\".\"Größe\" (id int NOT NULL, w text) PARTITION BY RANGE (id);
        CREATE TABLE part (gone int, id int NOT NULL, w text); ALTER TABLE part DROP COLUMN gone;
        ALTER TABLE \"S.1\".\"Größe\" ATTACH PARTITION part FOR VALUES FROM (0) TO (9);
        CREATE TABLE mother (id int); CREATE TABLE child (own int) INHERITS (mother);
        CREATE MATERIALIZED VIEW m AS SELECT p.id, c.own FROM part p, child c;
        ALTER TABLE \"S.1\".\"Größe\" ADD COLUMN \"Ms\" m[] DEFAULT ARRAY[]::m[], ADD COLUMN last int, ADD CHECK (\"Ms\" IS NOT NULL);
        ALTER TABLE mother ADD COLUMN one m, ADD COLUMN z int; ALTER TABLE child ALTER COLUMN one SET STORAGE EXTERNAL;
        ALTER TABLE part ALTER COLUMN \"Ms\" SET STATISTICS 77;
        CREATE VIEW v AS SELECT \"Ms\" FROM part; CREATE VIEW w AS SELECT mother FROM mother; CREATE INDEX ON part (\"Ms\");
        COMMENT ON COLUMN part.\"Ms\" IS 'late';",
    )
    .await;
    assert_eq!(both(&server, "SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'part'::regclass AND attnum > 0 AND NOT attisdropped").await, "id w Ms last");
}

#[tokio::test]
async fn a_default_and_a_check_that_use_the_row_type_of_their_own_table_arrive() {
    same(
        "CREATE TABLE t (id int, c text, d int); CREATE FUNCTION f(t) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1.id';
        ALTER TABLE t ADD CHECK (t IS DISTINCT FROM NULL::t); ALTER TABLE t ALTER COLUMN d SET DEFAULT f(NULL);
        ALTER TABLE t ALTER COLUMN c SET DEFAULT (NULL::t)::text;",
    )
    .await;
}

#[tokio::test]
async fn a_language_outside_an_extension_arrives() {
    let server = same(
        "CREATE OR REPLACE TRUSTED LANGUAGE \"Own Lang\" HANDLER plpgsql_call_handler INLINE plpgsql_inline_handler VALIDATOR plpgsql_validator;
        CREATE FUNCTION f() RETURNS int LANGUAGE \"Own Lang\" AS 'BEGIN RETURN 7; END'; COMMENT ON LANGUAGE \"Own Lang\" IS 'ours';",
    )
    .await;
    assert_eq!(both(&server, "SELECT f()").await, "7");
}

#[tokio::test]
async fn checks_that_read_other_tables_come_after_the_rows() {
    let server = moved(
        "CREATE TABLE z_allowed (id int PRIMARY KEY);
        CREATE FUNCTION known(int) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN EXISTS (SELECT FROM public.z_allowed WHERE id = $1); END';
        CREATE FUNCTION indirect(int) RETURNS boolean LANGUAGE sql AS 'SELECT public.known($1)';
        CREATE TABLE a (id int CONSTRAINT asks CHECK (known(id)), b int CONSTRAINT asks_too CHECK (indirect(b)), CONSTRAINT plain CHECK (b > 0));",
    )
    .await;
    same_dumps(&server, "source", "peer").await.unwrap_or_else(|e| panic!("{e}"));
    let order =
        "SELECT string_agg(identity, ', ' ORDER BY identity) FROM pgrelay_peer.object WHERE identity LIKE 'constraint %on public.a'";
    let alone = server.psql("peer", order).await;
    assert_eq!(alone, "constraint asks on public.a, constraint asks_too on public.a", "these two stand apart from their table");
}

#[tokio::test]
async fn revokes_from_objects_with_default_grants_arrive() {
    let server = same(
        "DO $$ BEGIN CREATE ROLE beyond_reader; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
        ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO beyond_reader; ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
        CREATE TABLE kept (id int); CREATE TABLE taken (id int); REVOKE ALL ON taken FROM beyond_reader; REVOKE DELETE ON taken FROM postgres;
        CREATE FUNCTION open() RETURNS int LANGUAGE sql AS 'SELECT 1'; GRANT EXECUTE ON FUNCTION open() TO PUBLIC;
        CREATE FUNCTION shut() RETURNS int LANGUAGE sql AS 'SELECT 1'; REVOKE ALL ON FUNCTION shut() FROM postgres;
        CREATE TYPE t AS ENUM ('a'); REVOKE USAGE ON TYPE t FROM PUBLIC; REVOKE CREATE ON SCHEMA public FROM PUBLIC; REVOKE USAGE ON LANGUAGE sql FROM PUBLIC;
        REVOKE EXECUTE ON FUNCTION pg_catalog.pg_sleep(double precision) FROM PUBLIC;",
    )
    .await;
    let may = "SELECT has_table_privilege('beyond_reader', 'kept', 'SELECT'), has_table_privilege('beyond_reader', 'taken', 'SELECT')";
    assert_eq!(both(&server, may).await, "t|f");
    both(&server, "SELECT relname, (SELECT array_agg(g ORDER BY g::text) FROM aclexplode(relacl) g) FROM pg_class WHERE relname IN ('kept', 'taken') AND relnamespace = 'public'::regnamespace ORDER BY 1").await;
    both(&server, "SELECT proname, (SELECT array_agg(g ORDER BY g::text) FROM aclexplode(coalesce(proacl, acldefault('f', proowner))) g) FROM pg_proc WHERE proname IN ('open', 'shut', 'pg_sleep') ORDER BY 1").await;
}

/// 15.20 keeps a number of its own, `pg_attver`, in `attoptions`; no SQL can set that.
#[tokio::test]
async fn attribute_options_arrive_without_the_servers_own_notes() {
    let server = same(
        "CREATE TABLE t (id int, d text, v tsvector); ALTER TABLE t ALTER COLUMN d SET (n_distinct = -0.5, n_distinct_inherited = 7);
        CREATE INDEX i ON t USING gist (v tsvector_ops (siglen = 100)); INSERT INTO t VALUES (1, 'a', 'a'); ANALYZE t;",
    )
    .await;
    let options = "SELECT (SELECT array_agg(o) FROM unnest(attoptions) o WHERE o !~ 'pg_attver') FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'd'";
    assert_eq!(both(&server, options).await, "{n_distinct=-0.5,n_distinct_inherited=7}");
    let ddl = server.psql("peer", "SELECT pg_get_indexdef('i'::regclass)").await;
    assert!(ddl.contains("siglen='100'") && !ddl.contains("pg_attver"), "{ddl}");
}

#[tokio::test]
async fn cluster_marks_deferrability_and_statistics_targets_of_indexes_are_kept() {
    let server = same(
        "CREATE TABLE t (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, a int UNIQUE DEFERRABLE, b text); CREATE INDEX by_b ON t (lower(b), (a + 1));
        ALTER TABLE t CLUSTER ON by_b; ALTER INDEX by_b ALTER COLUMN 1 SET STATISTICS 500; ALTER INDEX by_b ALTER COLUMN 2 SET STATISTICS 0;
        CREATE TABLE k (id int PRIMARY KEY, u int REFERENCES k DEFERRABLE INITIALLY DEFERRED); ALTER TABLE k CLUSTER ON k_pkey;
        CREATE MATERIALIZED VIEW m AS SELECT * FROM k; CREATE UNIQUE INDEX m_id ON m (id); ALTER MATERIALIZED VIEW m CLUSTER ON m_id;",
    )
    .await;
    both(&server, "SELECT indexrelid::regclass::text, indisclustered FROM pg_index WHERE indexrelid > 16384 AND indisclustered ORDER BY 1")
        .await;
    let targets = "SELECT attnum, attstattarget FROM pg_attribute WHERE attrelid = 'by_b'::regclass ORDER BY 1";
    assert_eq!(both(&server, targets).await, "1|500\n2|0");
    both(&server, "SELECT conname, condeferrable, condeferred FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1")
        .await;
}

#[tokio::test]
async fn partitioned_indexes_are_as_valid_as_they_were() {
    let server = same(
        "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;
        CREATE TABLE p (a int, b int) PARTITION BY LIST (a); CREATE INDEX valid_i ON p (b);
        CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); CREATE FOREIGN TABLE p2 PARTITION OF p FOR VALUES IN (2) SERVER s;
        CREATE TABLE p3 PARTITION OF p FOR VALUES IN (3) PARTITION BY LIST (b); CREATE TABLE p31 PARTITION OF p3 DEFAULT;
        CREATE TABLE q (a int) PARTITION BY LIST (a); CREATE TABLE q1 PARTITION OF q DEFAULT; CREATE INDEX invalid_i ON ONLY q (a);",
    )
    .await;
    let valid = "SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE indrelid > 16384 AND indexrelid::regclass::text ~ '_i' AND indexrelid::regclass::text !~ 'toast|pgrelay' ORDER BY 1";
    both(&server, valid).await;
    both(&server, "SELECT inhrelid::regclass::text, inhparent::regclass FROM pg_inherits ORDER BY 1").await;
}

#[tokio::test]
async fn a_statistics_target_of_a_partitioned_index_does_not_go_down_to_its_partitions() {
    let server = same(
        "CREATE TABLE p (a int) PARTITION BY LIST (a); CREATE INDEX i ON p ((a + 1)); ALTER INDEX i ALTER COLUMN 1 SET STATISTICS 55;
        CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);",
    )
    .await;
    let targets = "SELECT attrelid::regclass::text, attstattarget FROM pg_attribute WHERE attname = 'expr' AND attrelid > 16384 ORDER BY 1";
    assert_eq!(both(&server, targets).await, "i|55\np1_expr_idx|-1");
}

#[tokio::test]
async fn the_states_of_a_trigger_on_a_partitioned_table_and_on_its_partitions_are_each_their_own() {
    let server = same(
        "CREATE TABLE p (a int) PARTITION BY LIST (a); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1) PARTITION BY LIST (a); CREATE TABLE p11 PARTITION OF p1 DEFAULT;
        CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2);
        CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        CREATE TRIGGER t AFTER INSERT ON p FOR EACH ROW EXECUTE FUNCTION f(); CREATE TRIGGER u AFTER INSERT ON p FOR EACH ROW EXECUTE FUNCTION f();
        ALTER TABLE ONLY p ENABLE ALWAYS TRIGGER t; ALTER TABLE p2 DISABLE TRIGGER t; ALTER TABLE p DISABLE TRIGGER u; ALTER TABLE p11 ENABLE TRIGGER u;",
    )
    .await;
    let states = "SELECT string_agg(tgrelid::regclass || tgname || tgenabled::text, ' ' ORDER BY tgname, tgrelid::regclass::text) FROM pg_trigger WHERE NOT tgisinternal";
    assert_eq!(both(&server, states).await, "ptA p1tO p11tO p2tD puD p1uD p11uO p2uD");
}

#[tokio::test]
async fn children_keep_compression_and_storage_that_are_not_their_parents() {
    let server = same(
        "CREATE TABLE m (a text, b text, c text); CREATE TABLE k (own int) INHERITS (m); CREATE TABLE kk () INHERITS (k);
        ALTER TABLE ONLY m ALTER COLUMN a SET COMPRESSION pglz; ALTER TABLE ONLY m ALTER COLUMN b SET STORAGE EXTERNAL; ALTER TABLE k ALTER COLUMN c SET STORAGE MAIN;",
    )
    .await;
    let columns = "SELECT string_agg(attrelid::regclass || '.' || attname || attstorage::text || attcompression::text, ' ' ORDER BY attrelid::regclass::text, attnum)
        FROM pg_attribute WHERE attnum > 0 AND attrelid IN ('m'::regclass, 'k'::regclass, 'kk'::regclass) AND attname <> 'own'";
    assert_eq!(both(&server, columns).await, "k.ax k.bx k.cm kk.ax kk.bx kk.cm m.axp m.be m.cx");
}
