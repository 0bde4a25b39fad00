//! Each direction goes by its own policy.

use pgrelay_tests::wait::{run_for, wait_for_value};

use crate::sides::{MINUTE, Sides};

/// Policies of forward and reverse, and what is on the source and on the peer when both have inserted the same key, the peer later; whether
/// the forward direction fails.
const PAIRS: [(&str, &str, &str, &str); 5] = [
    ("overwrite", "overwrite", "d", "s"),
    ("ignore", "ignore", "s", "d"),
    ("overwrite", "ignore", "s", "s"),
    ("ignore", "overwrite", "d", "d"),
    ("latest_wins", "latest_wins", "d", "d"),
];

fn objects() -> String {
    let tables: String = (0..PAIRS.len()).map(|n| format!("CREATE TABLE p{n} (id int PRIMARY KEY, v text);")).collect();
    tables
        + "CREATE TABLE priority (id int PRIMARY KEY, v text); INSERT INTO priority VALUES (1, 'old'), (2, 'old');
              CREATE TABLE latest (id int PRIMARY KEY, v text); INSERT INTO latest VALUES (1, 'old'), (2, 'old');
              CREATE TABLE failing (id int PRIMARY KEY, v text);"
}

#[tokio::test]
async fn the_same_key_on_both_sides_ends_as_the_two_policies_say() {
    let sides = Sides::start(&objects(), "").await;
    for (n, (forward, reverse, ..)) in PAIRS.into_iter().enumerate() {
        for (direction, policy) in [("forward", forward), ("reverse", reverse)] {
            sides
                .source(&format!("SELECT pgrelay.set_conflict_policy('move', '{policy}', 'public.p{n}', direction => '{direction}')"))
                .await;
        }
    }
    for policy in ["source_priority", "latest_wins"] {
        let table = if policy == "source_priority" { "priority" } else { "latest" };
        sides.source(&format!("SELECT pgrelay.set_conflict_policy('move', '{policy}', 'public.{table}')")).await;
    }
    sides.source("SELECT pgrelay.set_conflict_policy('move', 'ignore', 'public.failing', direction => 'reverse')").await;
    sides.pause().await;
    for n in 0..PAIRS.len() {
        sides.source(&format!("INSERT INTO p{n} VALUES (1, 's')")).await;
        sides.peer(&format!("INSERT INTO p{n} VALUES (1, 'd')")).await;
    }
    // Row 1 is written last on the peer, row 2 on the source.
    for table in ["priority", "latest"] {
        sides.source(&format!("UPDATE {table} SET v = 's' WHERE id = 1")).await;
        sides.peer(&format!("UPDATE {table} SET v = 'd'")).await;
        sides.source(&format!("UPDATE {table} SET v = 's' WHERE id = 2")).await;
    }
    sides.resume().await;
    sides.run().await;
    sides.wait().await;
    for (n, (forward, reverse, source, peer)) in PAIRS.into_iter().enumerate() {
        let sql = format!("SELECT v FROM p{n}");
        assert_eq!([sides.source(&sql).await, sides.peer(&sql).await], [source, peer], "{forward} and {reverse}");
        let resolution = |wins: bool| if wins { "overwritten" } else { "ignored" };
        let recorded = format!("forward insert_exists {}, reverse insert_exists {}", resolution(peer == "s"), resolution(source == "d"));
        sides.recorded(&format!("p{n}"), &recorded).await;
    }
    sides.both("SELECT string_agg(v, ' ' ORDER BY id) FROM priority", "s s").await;
    sides.both("SELECT string_agg(v, ' ' ORDER BY id) FROM latest", "d s").await;
    edits_in_turn_are_none(&sides).await;
    forward_fails_alone(&sides).await;
}

/// A policy that gives the source's row priority does not keep a change away that was made knowing that row.
async fn edits_in_turn_are_none(sides: &Sides) {
    for n in 0..5 {
        sides.source(&format!("UPDATE priority SET v = 's{n}' WHERE id = 1")).await;
        sides.wait().await;
        sides.peer(&format!("UPDATE priority SET v = v || ' d{n}' WHERE id = 1")).await;
        sides.wait().await;
    }
    sides.both("SELECT v FROM priority WHERE id = 1", "s4 d4").await;
    let differs = "update_origin_differs";
    let once = format!("forward {differs} applied, forward {differs} applied, reverse {differs} ignored, reverse {differs} ignored");
    sides.recorded("priority", &once).await;
}

/// The forward direction stops, the reverse one goes on; each is told on its own.
async fn forward_fails_alone(sides: &Sides) {
    sides.pause().await;
    sides.source("INSERT INTO failing VALUES (1, 's')").await;
    sides.peer("INSERT INTO failing VALUES (1, 'd'), (2, 'd')").await;
    sides.resume().await;
    sides.pair.wait_for_state("failed", MINUTE).await;
    sides.wait_for_reverse("running").await;
    sides.source("SELECT pgrelay.wait_for_catchup('move', '1 min', 'reverse')").await;
    assert_eq!(sides.source("SELECT string_agg(v, ' ' ORDER BY id) FROM failing").await, "s d");
    let detail = sides.source("SELECT error_detail FROM pgrelay.task_status WHERE direction = 'forward'").await;
    assert!(detail.starts_with("Key (id)=(1). It is insert_exists by \"failing_pkey\", in the transaction that commits at "), "{detail}");
    let skip = "SELECT pgrelay.skip_transaction(task, source_commit_lsn), pgrelay.resume_task(task) FROM pgrelay.conflict WHERE resolution = 'failed'";
    sides.source(skip).await;
    sides.run().await;
    sides.wait().await;
    assert_eq!(sides.peer("SELECT string_agg(v, ' ' ORDER BY id) FROM failing").await, "d d");
}

/// The reverse direction is stopped, told and skipped like the forward one, in words that fit to where it goes.
#[tokio::test]
async fn a_conflict_stops_the_reverse_direction_alone_until_its_transaction_is_skipped() {
    let sides = Sides::start("CREATE TABLE t (id int PRIMARY KEY, v text)", "").await;
    sides.source("SELECT pgrelay.set_conflict_policy('move', 'ignore', direction => 'forward')").await;
    sides.pause().await;
    sides.source("INSERT INTO t VALUES (1, 's')").await;
    sides.peer("INSERT INTO t VALUES (1, 'd')").await;
    sides.resume().await;
    let state = "SELECT state FROM pgrelay.task_status WHERE direction = 'reverse' AND NOT pending";
    wait_for_value(&sides.pair.source_client().await, state, "failed", MINUTE).await;
    sides.pair.wait_for_state("running", MINUTE).await;
    let told = "SELECT concat_ws(' ', error, error_detail, error_hint) FROM pgrelay.task_status WHERE direction = 'reverse'";
    let told = sides.source(told).await;
    let named = ["of the source holds", "Key (id)=(1)", "\"t_pkey\"", "Mend the row on the source", "', 'reverse')"];
    assert!(named.iter().all(|word| told.contains(word)), "{told}");
    let skip = "SELECT pgrelay.skip_transaction(task, source_commit_lsn, direction), pgrelay.resume_task(task, direction)
        FROM pgrelay.conflict WHERE resolution = 'failed' AND direction = 'reverse'";
    sides.source(skip).await;
    sides.run().await;
    sides.peer("INSERT INTO t VALUES (2, 'd')").await;
    sides.wait().await;
    assert_eq!(sides.source("SELECT string_agg(t::text, ' ' ORDER BY id) FROM t").await, "(1,s) (2,d)");
    assert_eq!(sides.peer("SELECT string_agg(t::text, ' ' ORDER BY id) FROM t").await, "(1,d) (2,d)");
}

/// What `undo_conflict` puts back stays on its side: the other one does not hear of it, and counts nothing.
#[tokio::test]
async fn what_is_undone_on_either_side_stays_there() {
    let sides = Sides::start("CREATE TABLE t (id int PRIMARY KEY, v text)", r#""conflict_policy": "overwrite""#).await;
    sides.pause().await;
    sides.source("INSERT INTO t VALUES (1, 's')").await;
    sides.peer("INSERT INTO t VALUES (1, 'd')").await;
    sides.resume().await;
    sides.run().await;
    sides.wait().await;
    let rows = "SELECT string_agg(t::text, ' ' ORDER BY id) FROM t";
    assert_eq!([sides.source(rows).await, sides.peer(rows).await], ["(1,d)", "(1,s)"]);
    sides.recorded("t", "forward insert_exists overwritten, reverse insert_exists overwritten").await;
    sides.applied([1, 1]).await;
    for (direction, rows_after) in [("reverse", ["(1,s)", "(1,s)"]), ("forward", ["(1,s)", "(1,d)"])] {
        sides.source(&format!("SELECT pgrelay.undo_conflict(id) FROM pgrelay.conflict WHERE direction = '{direction}'")).await;
        sides.wait().await;
        assert_eq!([sides.source(rows).await, sides.peer(rows).await], rows_after, "{direction}");
    }
    run_for(crate::flow::quiet()).await;
    assert_eq!([sides.source(rows).await, sides.peer(rows).await], ["(1,s)", "(1,d)"]);
    sides.applied([0, 0]).await;
}
