//! Every built-in type, and enum, composite, domain, range and array: in the copy and in the stream.

use std::time::Duration;

use pgrelay_tests::pair::DB;
use pgrelay_tests::ways::{as_backlog, running};
use pgrelay_tests::{Cluster, ClusterOptions, Pair};

const MINUTE: Duration = Duration::from_secs(60);
const TYPES: &str = include_str!("../fixtures/types.sql");

/// 300 rows in each table: however they are cut into sets, one has so many that they go by COPY.
const MANY_MORE: &str = "DO $$ DECLARE t regclass; BEGIN
    FOR t IN SELECT oid FROM pg_class WHERE relkind = 'r' AND relname LIKE 't\\_%' LOOP
        EXECUTE format('INSERT INTO %1$s SELECT 100000 + row_number() OVER (), v, note
                        FROM (SELECT v, note FROM %1$s WHERE v IS NULL OR length(v::text) < 10000 ORDER BY id LIMIT 10) s, generate_series(1, 30)', t);
    END LOOP;
END $$";

/// Types that a table can have as a column and that have no sample. Some cannot be written by anybody.
const MISSING: &str = "
    SELECT string_agg(t.typname, ', ' ORDER BY t.typname)
      FROM pg_type t
     WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype IN ('b', 'r', 'm') AND t.typelem = 0
       AND t.typname NOT IN ('pg_node_tree', 'pg_ndistinct', 'pg_dependencies', 'pg_mcv_list', 'pg_brin_bloom_summary',
                             'pg_brin_minmax_multi_summary', 'gtsvector')
       AND NOT EXISTS (SELECT FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
                        WHERE a.atttypid = t.oid AND a.attname = 'v' AND c.relname LIKE 't\\_%')";

#[tokio::test]
async fn no_built_in_type_is_left_out_of_the_samples() {
    let server = Cluster::start(ClusterOptions { name: "source".into(), ..Default::default() }).await;
    server.psql("postgres", TYPES).await;
    assert_eq!(server.psql("postgres", MISSING).await, "");
    server.psql("postgres", "CALL put_samples(1000); CALL change_samples()").await;
}

#[tokio::test]
async fn every_type_is_carried_by_the_copy_and_by_the_stream() {
    let pair = Pair::start(TYPES).await;
    pair.start_task(r#"{"keyless": "full", "acknowledge_warnings": true}"#).await;
    pair.wait_for_state("running", 3 * MINUTE).await;
    pair.assert_equal_after_catchup(MINUTE).await;
    pair.source.psql(DB, "CALL put_samples(1000)").await;
    pair.assert_equal_after_catchup(MINUTE).await;
    pair.source.psql(DB, "CALL change_samples()").await;
    pair.assert_equal_after_catchup(MINUTE).await;
}

/// Arrays and composites say the oids of the types in them, which differ from server to server where users have made these.
const NAME_TYPES: &str = "
    CREATE FUNCTION pg_temp.with_names(sent bytea) RETURNS text LANGUAGE plpgsql AS $$
    DECLARE made record; hex text := encode(sent, 'hex');
    BEGIN
        FOR made IN SELECT lpad(to_hex(oid::bigint), 8, '0') AS oid, typname FROM pg_type WHERE oid >= 16384 LOOP
            hex := replace(hex, made.oid, '<' || made.typname || '>');
        END LOOP;
        RETURN hex;
    END $$;";

/// For each table of samples: a query that gives one digest of what `send` says of every row, with all fields and elements.
const SENT: &str = "
    SELECT format('SELECT %L || coalesce((SELECT string_agg(id || '':'' || coalesce(md5(%s), ''-''), '','' ORDER BY id) FROM %s), '''')',
                  c.relname || ' ', CASE WHEN t.oid < 16384 THEN 'CASE WHEN v IS NOT NULL THEN record_send(ROW(v)) END'
                                         WHEN c.relname ~ 'mood_array|inner_row|outer_row|boxed|positive_array' THEN format('pg_temp.with_names(%s(v))', t.typsend)
                                         ELSE t.typsend || '(v)' END, c.oid::regclass)
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'v' JOIN pg_type t ON t.oid = a.atttypid
     WHERE c.relname LIKE 't\\_%' AND c.relkind = 'r' AND t.typsend <> 0 ORDER BY c.relname";

/// Source and peer hold the same bytes, type by type. The oids that name objects (`regclass`) differ from server to server; those are
/// compared as text by `assert_equal`.
async fn assert_sent_equal(pair: &Pair) {
    let (source, peer) = (sent(pair, true).await, sent(pair, false).await);
    let differ: Vec<_> = source.iter().zip(&peer).filter(|(s, p)| s != p).map(|(s, p)| format!("{s:.200}\n{p:.200}")).collect();
    assert!(source.len() == peer.len() && differ.is_empty(), "{} of {} differ:\n{}", differ.len(), source.len(), differ.join("\n"));
}

async fn sent(pair: &Pair, source: bool) -> Vec<String> {
    let side = if source { &pair.source } else { &pair.peer };
    let queries = side.psql(DB, SENT).await;
    let sql: Vec<&str> = queries.lines().filter(|line| !line.contains("'t_reg")).collect();
    let named = sql.iter().filter(|line| line.contains("with_names")).count();
    assert!(sql.len() > 60 && named >= 7, "{} {named}", sql.len());
    side.psql(DB, &(NAME_TYPES.to_owned() + &sql.join(";\n"))).await.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn every_type_has_the_same_bytes_by_copy_and_in_sets() {
    let pair = running(Pair::start(TYPES).await, r#"{"keyless": "full", "acknowledge_warnings": true}"#).await;
    pair.wait_for_catchup(MINUTE).await;
    assert_sent_equal(&pair).await;
    let many: Vec<String> = (0..10).map(|n| format!("CALL put_samples(20000 + {n} * 500)")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).chain(["CALL change_samples()"]).collect();
    as_backlog(&pair, &many).await;
    assert_sent_equal(&pair).await;
    // So many new rows of a table at once that they go by COPY.
    pair.peer.psql(DB, "ALTER SYSTEM SET log_statement = 'all'").await;
    pair.peer.psql(DB, "SELECT pg_reload_conf()").await;
    pair.source.psql(DB, "SELECT pgrelay.pause_task('move')").await;
    pair.wait_for_state("paused", MINUTE).await;
    pair.source.psql(DB, MANY_MORE).await;
    pair.source.psql(DB, "SELECT pgrelay.resume_task('move')").await;
    pair.wait_for_state("running", 3 * MINUTE).await;
    pair.wait_for_catchup(MINUTE).await;
    let (log, tables) =
        (pair.peer.log_text(), pair.peer.psql(DB, "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 't\\_%'").await);
    let without: Vec<&str> = tables.lines().filter(|table| !log.contains(&format!("COPY \"public\".\"{table}\""))).collect();
    assert!(without.is_empty(), "not copied: {without:?}\n{}", pair.applier.log_tail());
    assert_sent_equal(&pair).await;
    pair.assert_equal_after_catchup(MINUTE).await;
}

#[tokio::test]
async fn every_type_is_found_again_in_rows_without_a_key() {
    let keyless = "DO $$ DECLARE t regclass; BEGIN
        FOR t IN SELECT oid FROM pg_class WHERE relkind = 'r' AND relname LIKE 't\\_%' LOOP
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', t, t::text || '_pkey');
        END LOOP;
    END $$;";
    let pair = Pair::start(&[TYPES, keyless].concat()).await;
    pair.start_task(r#"{"keyless": "full", "acknowledge_warnings": true}"#).await;
    pair.wait_for_state("running", 3 * MINUTE).await;
    pair.source.psql(DB, "CALL put_samples(1000); CALL change_samples()").await;
    pair.assert_equal_after_catchup(MINUTE).await;
    // Changes of rows without a key are never applied in sets.
    assert_sent_equal(&pair).await;
}
