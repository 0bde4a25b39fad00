//! What the documents show works as shown.

use pgrelay_tests::Pair;
use pgrelay_tests::pair::DB;

/// The statements after a prompt, or of indented lines that begin with SELECT, with the peer of the test in place of the example's.
fn statements(text: &str, begin: &str, pair: &Pair) -> Vec<String> {
    let statement = |line: &str| line.strip_prefix("    ")?.strip_prefix(begin).map(|rest| rest.to_string());
    text.lines().filter_map(statement).map(|sql| sql.replace("host=db2 dbname=app user=mover", &pair.peer.dsn(DB))).collect()
}

#[tokio::test]
async fn the_session_of_the_readme_moves_a_database() {
    let pair = Pair::start("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 1000)").await;
    let session = statements(include_str!("../../README.md"), "app=# ", &pair);
    assert!(session.len() >= 7, "{session:?}");
    for sql in session.iter().filter(|sql| !sql.starts_with("CREATE EXTENSION")) {
        pair.source.psql(DB, sql).await;
    }
    pair.wait_for_state("stopped", std::time::Duration::from_secs(60)).await;
    assert_eq!(pair.peer.psql(DB, "SELECT count(*) FROM t").await, "1000");
}

#[tokio::test]
async fn the_queries_of_troubleshooting_run() {
    let pair = Pair::start("").await;
    let queries = statements(include_str!("../../docs/troubleshooting.md"), "SELECT ", &pair);
    assert!(queries.len() >= 3, "{queries:?}");
    for query in queries {
        pair.source.psql(DB, &format!("SELECT {query}")).await;
    }
}
