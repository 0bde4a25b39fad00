//! Somebody cancels a BEGIN of the session that applies, alone: what was sent behind it is no transaction, and must not become many.

use std::time::Duration;

use pgrelay_tests::pair::DB;
use pgrelay_tests::{Applier, Pair};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn nothing_that_was_sent_behind_a_begin_that_failed_stands_there() {
    let mut pair = Pair::start("CREATE TABLE proof (n int); CREATE TABLE other (n int PRIMARY KEY)").await;
    pair.start_task(r#"{"keyless": "insert_only", "acknowledge_warnings": true}"#).await;
    pair.wait_for_state("running", MINUTE).await;
    // The applier sends so many statements before it reads an answer that those of a row would all stand there by themselves.
    for before in 0..4 {
        pair.applier.kill9();
        let environment = [("PGRELAY_ROW_BY_ROW", "1"), ("PGRELAY_BEGIN_LOST_AFTER", &before.to_string())];
        pair.applier = Applier::start_with(&pair.source, DB, &[], &environment);
        for _ in 0..3 {
            pair.source.psql(DB, "INSERT INTO proof SELECT generate_series(1, 3000)").await;
            pair.source.psql(DB, "INSERT INTO other SELECT count(*) FROM other").await;
        }
        pair.assert_equal_after_catchup(MINUTE).await;
        assert!(pair.applier.log_text().contains("canceling statement due to user request"), "no BEGIN was cancelled");
    }
}
