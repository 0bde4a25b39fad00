//! What a copy carries beside the rows of ordinary tables.

use std::time::Duration;

use pgrelay_tests::Pair;
use pgrelay_tests::pair::DB;

const MINUTE: Duration = Duration::from_secs(60);

/// Materialized views over one another, by name in the wrong order, through a view and a function too; one was never filled.
const SCHEMA: &str = "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 5);
    CREATE MATERIALIZED VIEW z_first AS SELECT sum(id) AS n FROM t;
    CREATE VIEW between AS SELECT n * 10 AS n FROM z_first;
    CREATE MATERIALIZED VIEW m_second AS SELECT n + 1 AS n FROM between;
    CREATE FUNCTION third() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT n * 2 FROM public.m_second';
    CREATE MATERIALIZED VIEW a_third AS SELECT third() AS n; CREATE UNIQUE INDEX ON a_third (n);
    CREATE MATERIALIZED VIEW never AS SELECT n FROM z_first WITH NO DATA;
    CREATE UNLOGGED TABLE \"Un.logged\" (id serial PRIMARY KEY, w text); INSERT INTO \"Un.logged\" (w) SELECT 'x' || n FROM generate_series(1, 1000) n;
    CREATE SEQUENCE called START 5 INCREMENT 3; SELECT nextval('called') FROM generate_series(1, 4);
    CREATE SEQUENCE not_called START 7; CREATE SEQUENCE set_back; SELECT setval('set_back', 42, false);
    CREATE SEQUENCE down INCREMENT -2 MINVALUE -100 MAXVALUE 10 CYCLE; SELECT nextval('down'); CREATE UNLOGGED SEQUENCE un; SELECT nextval('un')";

const VIEWS: &str = "SELECT concat_ws(' ', (SELECT n FROM z_first), (SELECT n FROM m_second), (SELECT n FROM a_third),
    (SELECT string_agg(relname || relispopulated, ' ' ORDER BY relname) FROM pg_class WHERE relkind = 'm'))";

const POSITIONS: &str =
    "SELECT concat_ws(' ', c.last_value, c.is_called, n.last_value, n.is_called, s.last_value, s.is_called, d.last_value, d.is_called,
    u.last_value, u.is_called, i.last_value, i.is_called)
    FROM called c, not_called n, set_back s, down d, un u, \"Un.logged_id_seq\" i";

async fn moved(options: &str, state: &str) -> Pair {
    let pair = Pair::start(SCHEMA).await;
    pair.start_task(options).await;
    pair.wait_for_state(state, MINUTE).await;
    pair
}

async fn both(pair: &Pair, sql: &str) -> String {
    let (source, peer) = (pair.source.psql(DB, sql).await, pair.peer.psql(DB, sql).await);
    assert_eq!(peer, source, "{sql}");
    peer.trim().to_string()
}

async fn is_all_there(pair: &Pair) {
    assert_eq!(both(pair, VIEWS).await, "15 151 302 a_thirdtrue m_secondtrue neverfalse z_firsttrue");
    assert_eq!(
        both(pair, "SELECT count(*) || ' ' || md5(string_agg(w, ',' ORDER BY id)) FROM \"Un.logged\"").await.split(' ').next(),
        Some("1000")
    );
    assert_eq!(both(pair, "SELECT relpersistence FROM pg_class WHERE relname = 'Un.logged'").await, "u");
    assert_eq!(both(pair, POSITIONS).await, "14 t 7 f 42 f 10 t 1 t 1000 t");
}

#[tokio::test]
async fn materialized_views_unlogged_tables_and_positions_of_sequences_come_with_a_copy() {
    is_all_there(&moved(r#"{"stages": ["schema", "copy"]}"#, "finished").await).await;
}

#[tokio::test]
async fn the_same_comes_with_a_copy_that_a_stream_follows() {
    let pair = moved(r#"{"acknowledge_warnings": true}"#, "running").await;
    pair.wait_for_catchup(MINUTE).await;
    is_all_there(&pair).await;
}
