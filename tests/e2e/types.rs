//! Every built-in type, and enum, composite, domain, range and array: in the copy and in the stream.

use std::time::Duration;

use pgrelay_tests::pair::DB;
use pgrelay_tests::{Cluster, ClusterOptions, Pair};

const MINUTE: Duration = Duration::from_secs(60);
const TYPES: &str = include_str!("../fixtures/types.sql");

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
}
