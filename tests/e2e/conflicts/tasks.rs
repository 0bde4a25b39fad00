//! Two tasks of one source with policies of their own.

use pgrelay_tests::{pair::DB, wait::wait_for_value};

use crate::{MINUTE, running};

/// Both carry the same tables, to two databases of one server.
#[tokio::test]
async fn each_of_two_tasks_goes_by_its_own_policies() {
    let pair = running("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE other (LIKE t INCLUDING ALL)", "{}").await;
    pair.peer.create_db("second").await;
    let start = format!(
        r#"SELECT pgrelay.start_task('second', '{}', options => '{{"conflict_policy": "overwrite"}}'); SELECT pgrelay.wait_for_state('second', 'running')"#,
        pair.peer.dsn("second")
    );
    pair.source.psql(DB, &start).await;
    pair.source.psql(DB, "SELECT pgrelay.set_conflict_policy('move', 'ignore')").await;
    for (task, policy) in [("move", "overwrite"), ("second", "ignore")] {
        pair.source.psql(DB, &format!("SELECT pgrelay.set_conflict_policy('{task}', '{policy}', 'public.other')")).await;
    }
    for db in [DB, "second"] {
        pair.peer.psql(db, "INSERT INTO t VALUES (1, 'd'); INSERT INTO other VALUES (1, 'd')").await;
    }
    pair.source.psql(DB, "INSERT INTO t VALUES (1, 's'); INSERT INTO other VALUES (1, 's')").await;
    for (task, db, there) in [("move", DB, "d s"), ("second", "second", "s d")] {
        pair.source.psql(DB, &format!("SELECT pgrelay.wait_for_catchup('{task}', '1 min')")).await;
        assert_eq!(pair.peer.psql(db, "SELECT t.v || ' ' || other.v FROM t, other").await, there, "{task}");
    }
    let recorded =
        "SELECT string_agg(concat_ws(' ', task, \"table\", policy, resolution), ', ' ORDER BY task, \"table\") FROM pgrelay.conflict";
    let expected = "move other overwrite overwritten, move t ignore ignored, second other ignore ignored, second t overwrite overwritten";
    wait_for_value(&pair.source_client().await, recorded, expected, MINUTE).await;
    // One of them fails: the other goes on.
    pair.source.psql(DB, "SELECT pgrelay.set_conflict_policy('second', 'fail', 'public.t')").await;
    pair.peer.psql("second", "INSERT INTO t VALUES (2, 'd')").await;
    pair.source.psql(DB, "INSERT INTO t VALUES (2, 's')").await;
    let states = "SELECT string_agg(task || ' ' || state, ', ' ORDER BY task) FROM pgrelay.task_status WHERE NOT pending";
    wait_for_value(&pair.source_client().await, states, "move running, second failed", MINUTE).await;
    pair.source.psql(DB, "SELECT pgrelay.wait_for_catchup('move', '1 min')").await;
    assert_eq!(pair.peer.psql(DB, "SELECT v FROM t WHERE id = 2").await, "s");
}
