//! The same changes one by one, each alone, and all together as a backlog, which is applied in sets where that can be.

use std::time::Duration;

use crate::applier::Applier;
use crate::pair::{DB, Pair, TASK};

const MINUTE: Duration = Duration::from_secs(60);

/// What the applier logs when it sends changes in sets.
const IN_SETS: &str = "applying many changes at once";

/// And when the peer has committed them.
const COMMITTED_IN_SETS: &str = "applied many changes at once";

/// Moves `objects`, runs the statements both ways, and expects equality after each.
///
/// The statements are psql's, with the variables `:lo` and `:hi`: 1 and 9 when each goes alone, 11 and 60 in the backlog. So one that
/// changes the rows between them is too small for a set at first, and fills one then.
pub async fn both_ways(objects: &str, statements: &[&str], options: &str) -> Pair {
    let pair = running(Pair::start(objects).await, options).await;
    apply_both_ways(&pair, statements).await;
    pair
}

/// Starts the task of a pair with an applier that tells how it applies; returns when it runs and both sides are equal.
pub async fn running(mut pair: Pair, options: &str) -> Pair {
    pair.source.psql(DB, "CREATE TABLE IF NOT EXISTS filler (id int PRIMARY KEY)").await;
    pair.applier.kill9();
    pair.applier = Applier::start_with(&pair.source, DB, &["--log-level", "info,pgrelay_applier=debug"], &[]);
    pair.start_task(options).await;
    pair.wait_for_state("running", 3 * MINUTE).await;
    pair
}

/// As `both_ways`, on a task that runs already.
pub async fn apply_both_ways(pair: &Pair, statements: &[&str]) {
    one_by_one(pair, statements).await;
    pair.assert_equal_after_catchup(MINUTE).await;
    assert!(!pair.applier.log_text().contains(IN_SETS), "a statement of the first round changes too many rows");
    as_backlog(pair, statements).await;
    pair.assert_equal_after_catchup(MINUTE).await;
}

/// Each statement alone: it is on the peer before the next is made.
pub async fn one_by_one(pair: &Pair, statements: &[&str]) {
    for statement in statements {
        pair.source.psql(DB, &format!("\\set lo 1\n\\set hi 9\n{statement};")).await;
        pair.wait_for_catchup(MINUTE).await;
    }
}

/// All of them while the task is paused, among others that fill a set in any case.
pub async fn as_backlog(pair: &Pair, statements: &[&str]) {
    pair.source.psql(DB, &format!("SELECT pgrelay.pause_task('{TASK}')")).await;
    pair.wait_for_state("paused", MINUTE).await;
    pair.source.psql(DB, &format!("\\set lo 11\n\\set hi 60\n{};", statements.join(";\n"))).await;
    pair.source.psql(DB, "INSERT INTO filler SELECT generate_series(1, 100)").await;
    pair.source.psql(DB, &format!("SELECT pgrelay.resume_task('{TASK}')")).await;
    pair.wait_for_state("running", 3 * MINUTE).await;
    pair.wait_for_catchup(MINUTE).await;
    assert!(pair.applier.log_text().contains(COMMITTED_IN_SETS), "nothing of the backlog was applied in sets");
}
