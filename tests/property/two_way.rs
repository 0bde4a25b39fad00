//! Both sides write to the same few rows at the same time, while directions are paused and the applier is killed: under `latest_wins` and
//! `source_priority` both sides hold the same rows once nobody writes any more.

use std::time::Duration;

use pgrelay_tests::pair::DB;
use pgrelay_tests::wait::run_for;
use pgrelay_tests::{Pair, Seed, Writers, assert_equal};

const MINUTE: Duration = Duration::from_secs(60);

/// Rows that all writers share.
const KEYS: u64 = 200;

/// Writers of a side.
const WRITERS: usize = 4;

const TABLES: [(&str, &str); 2] = [("latest", "latest_wins"), ("priority", "source_priority")];

/// Half of the rows are there from the beginning, the others are inserted by both sides.
fn objects() -> String {
    let table = |(name, _)| {
        format!(
            "CREATE TABLE {name} (id int PRIMARY KEY, v text, n int); INSERT INTO {name} SELECT n, 'copied', 0 FROM generate_series(1, 100) n;"
        )
    };
    TABLES.iter().copied().map(table).collect()
}

/// A transaction of one or a few statements; `mark` tells whose it is.
fn transaction(seed: &mut Seed, mark: &str) -> String {
    let statement = |seed: &mut Seed| {
        let (table, id) = (TABLES[seed.below(2) as usize].0, 1 + seed.below(KEYS));
        match seed.below(5) {
            0 => format!("INSERT INTO {table} VALUES ({id}, '{mark}', 0) ON CONFLICT (id) DO UPDATE SET v = EXCLUDED.v"),
            1 => format!("INSERT INTO {table} VALUES ({id}, '{mark} new', 0) ON CONFLICT DO NOTHING"),
            2 => format!("UPDATE {table} SET n = n + 1 WHERE id = {id}"),
            3 => format!("DELETE FROM {table} WHERE id = {id}"),
            _ => format!("UPDATE {table} SET v = '{mark} ' || {id}, n = {} WHERE id BETWEEN {id} AND {id} + 2", seed.below(1000)),
        }
    };
    (0..1 + seed.below(3)).map(|_| statement(seed)).collect::<Vec<_>>().join("; ")
}

fn writers(pair: &Pair, seed: &mut Seed) -> [Writers; 2] {
    [("s", pair.source.dsn(DB)), ("d", pair.peer.dsn(DB))].map(|(side, dsn)| {
        let texts = (0..WRITERS).map(|w| (0..400).map(|n| transaction(seed, &format!("{side}{w}.{n}"))).collect()).collect();
        Writers::start_each(&dsn, Duration::from_millis(25), texts)
    })
}

/// Something happens to the task while both sides write; false when it could not.
async fn disturb(pair: &mut Pair, seed: &mut Seed) -> bool {
    match seed.below(4) {
        0 => {
            pair.applier.restart();
            true
        }
        n => {
            let direction = ["", ", 'forward'", ", 'reverse'"][n as usize - 1];
            // A direction that cannot be told now, since an applier has just begun, is left alone.
            let paused = pair.source.try_psql(DB, &format!("SELECT pgrelay.pause_task('move'{direction})")).await;
            run_for(seed.between(Duration::from_millis(50), Duration::from_millis(400))).await;
            let _ = pair.source.try_psql(DB, &format!("SELECT pgrelay.resume_task('move'{direction})")).await;
            paused.is_ok()
        }
    }
}

#[tokio::test]
async fn both_sides_end_equal_after_writing_the_same_rows_at_once() {
    let mut seed = Seed::from_env();
    let runs = if std::env::var("PGRELAY_NIGHTLY").is_ok_and(|v| v == "1") { 100 } else { 5 };
    let mut pair = Pair::start(&objects()).await;
    pair.start_task(r#"{"topology": "two_way", "acknowledge_warnings": true}"#).await;
    for (table, policy) in TABLES {
        pair.source.psql(DB, &format!("SELECT pgrelay.set_conflict_policy('move', '{policy}', 'public.{table}')")).await;
    }
    pair.wait_for_state("running", 2 * MINUTE).await;
    pair.source.psql(DB, "SELECT pgrelay.wait_for_state('move', 'running', '1 min', 'reverse')").await;
    let mut disturbed = 0;
    for run in 0..runs {
        let [source, peer] = writers(&pair, &mut seed);
        for _ in 0..2 {
            run_for(seed.between(Duration::from_millis(300), Duration::from_millis(900))).await;
            disturbed += u32::from(disturb(&mut pair, &mut seed).await);
        }
        let committed = (source.stop().await, peer.stop().await);
        pair.wait_for_state("running", MINUTE).await;
        pair.source.psql(DB, "SELECT pgrelay.wait_for_state('move', 'running', '1 min', 'reverse')").await;
        pair.wait_for_catchup(MINUTE).await;
        let met = pair.source.psql(DB, "SELECT count(*) FROM pgrelay.conflict").await;
        println!("run {run}: {committed:?} transactions, {met} conflicts so far");
        assert_equal(&pair.source_client().await, &pair.peer_client().await).await;
    }
    let met = pair.source.psql(DB, "SELECT count(*) FROM pgrelay.conflict").await;
    assert!(met != "0" && disturbed > 0, "{met} conflicts, disturbed {disturbed} times");
}
