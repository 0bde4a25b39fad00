//! Records of conflicts come from the peer to the source, each once, are counted, and go away when they are old.

use std::time::Duration;

use pgrelay_tests::pair::{DB, TASK};
use pgrelay_tests::wait::wait_for_value;
use pgrelay_tests::{Cluster, Pair};

const MINUTE: Duration = Duration::from_secs(60);

/// The counts of the two kinds that are recorded here.
const COUNTED: &str =
    "SELECT coalesce(sum(confl_insert_exists), 0) || ' ' || coalesce(sum(confl_delete_missing), 0) FROM pgrelay.conflict_count";

/// Records on the peer that have not come yet.
const TO_CARRY: &str = "SELECT count(*)::text FROM pgrelay_peer.conflict_to_carry";

/// A task that streams one table.
async fn running() -> Pair {
    let pair = Pair::start("CREATE SCHEMA shop; CREATE TABLE shop.t (id int PRIMARY KEY, v text)").await;
    pair.start_task("{}").await;
    pair.wait_for_state("running", MINUTE).await;
    pair
}

/// Records conflicts on the peer with the statement of the applier, as of so many days ago. All of them in one transaction.
async fn record(pair: &Pair, kind: &str, many: u32, days: u32) {
    let (record, add) = (include_str!("../../sql/peer/record_conflict.sql"), include_str!("../../sql/peer/add_conflicts.sql"));
    let sql = format!(
        r#"BEGIN;
        PREPARE record AS WITH record AS (
{record}){add};
        SELECT format($s$EXECUTE record (%L, 'forward', 'shop', 't', 'insert', '{kind}', '{{t_pkey,"a, b"}}', 'ignore', 'ignored',
            '4294967296000', '16/B374D848', '2026-01-02 03:04:05.678901+00', '%s', '{{"id": 1}}', NULL,
            '{{"id": 1, "v": "it''s \\ \u00e4", "n": 12345678901234567890.12345}}', '[{{"id": 1}}, {{"id": 2}}]', NULL,
            '{{NULL,other}}', '{{NULL,820551845678901}}', 'a note')$s$, task_key, n)
        FROM pgrelay_peer.task, generate_series(1, {many}) n \gexec
        UPDATE pgrelay_peer.conflict c SET detected_at = detected_at - interval '{days} days'
        FROM pgrelay_peer.conflict_to_carry w WHERE w.ordinal = c.ordinal;
        COMMIT"#
    );
    pair.peer.psql(DB, &sql).await;
}

/// What stands in the records, but for where they stand.
async fn contents(cluster: &Cluster, from: &str) -> String {
    let columns = "direction, operation, kind, constraints, policy, resolution, source_xid, source_commit_lsn, source_commit_ts, key,
        incoming_old, incoming_new, peer_rows, result_row, peer_origins, peer_commit_ts, note";
    let sql = format!(
        "SET datestyle = iso; SET timezone = utc;
         SELECT {columns}, sum(change_no), min(detected_at), max(detected_at), count(*) FROM {from} GROUP BY {columns} ORDER BY kind"
    );
    cluster.psql(DB, &sql).await
}

#[tokio::test]
async fn a_record_comes_to_the_source_as_it_is_and_is_counted_once() {
    let pair = running().await;
    let (source, peer) = (pair.source_client().await, pair.peer_client().await);
    record(&pair, "insert_exists", 1100, 0).await;
    record(&pair, "delete_missing", 3, 0).await;
    wait_for_value(&source, COUNTED, "1100 3", MINUTE).await;
    wait_for_value(&peer, TO_CARRY, "0", MINUTE).await;
    // As after a crash between the two sides.
    let again = "INSERT INTO pgrelay_peer.conflict_to_carry (task_key, ordinal, ordinals, bytes)
        SELECT task_key, min(ordinal), array_agg(ordinal), 1000 FROM pgrelay_peer.conflict GROUP BY task_key, ordinal % 7";
    pair.peer.psql(DB, again).await;
    wait_for_value(&peer, TO_CARRY, "0", MINUTE).await;
    assert_eq!(pair.source.psql(DB, COUNTED).await, "1100 3");
    let there = contents(&pair.peer, "pgrelay_peer.conflict").await;
    assert_eq!(contents(&pair.source, "pgrelay.conflict").await, there);
    assert!(there.contains("|4294967296000|16/B374D848|2026-01-02 03:04:05.678901+00|"), "{there}");
    assert!(there.contains("{NULL,\"2026-01-01 03:04:05.678901+00\"}|a note|605550|"), "{there}");
    let of = "SELECT string_agg(DISTINCT task || ' ' || schema || '.' || \"table\", ', ') FROM pgrelay.conflict";
    assert_eq!(pair.source.psql(DB, of).await, format!("{TASK} shop.t"));
}

#[tokio::test]
async fn old_records_go_on_both_sides_and_counts_stay() {
    let pair = running().await;
    let (source, peer) = (pair.source_client().await, pair.peer_client().await);
    let command = async |call: &str| pair.source.psql(DB, &format!("SELECT pgrelay.{call}('{TASK}')")).await;
    // What a pause leaves behind comes before it is told. Both at once: what has come is removed only once a minute.
    command("pause_task").await;
    pair.wait_for_state("paused", MINUTE).await;
    record(&pair, "insert_exists", 2, 31).await;
    record(&pair, "delete_missing", 3, 29).await;
    // What has not come stays, however old it is.
    let key = pair.peer.psql(DB, "SELECT task_key FROM pgrelay_peer.task").await;
    let gone = peer.execute(include_str!("../../sql/peer/forget_conflicts.sql"), &[&key, &30]).await;
    assert_eq!(gone.expect("a statement that runs"), 0);
    command("resume_task").await;
    wait_for_value(&source, COUNTED, "2 3", MINUTE).await;
    let left = "SELECT string_agg(DISTINCT kind, ' ') || ' ' || count(*) FROM ";
    wait_for_value(&source, &format!("{left} pgrelay.conflict"), "delete_missing 3", MINUTE).await;
    wait_for_value(&peer, &format!("{left} pgrelay_peer.conflict"), "delete_missing 3", MINUTE).await;
    assert_eq!(pair.source.psql(DB, COUNTED).await, "2 3");
    // A pause does not leave records behind.
    record(&pair, "insert_exists", 1, 0).await;
    command("pause_task").await;
    pair.wait_for_state("paused", MINUTE).await;
    assert_eq!(pair.source.psql(DB, COUNTED).await, "3 3");
}

#[tokio::test]
async fn what_a_stop_finds_on_the_peer_comes_and_the_next_begin_adds_to_it() {
    let pair = running().await;
    let source = pair.source_client().await;
    for round in 1..=2 {
        record(&pair, "insert_exists", 2, 0).await;
        pair.source.psql(DB, &format!("SELECT pgrelay.stop_task('{TASK}')")).await;
        wait_for_value(&source, "SELECT state FROM pgrelay.task_status", "stopped", MINUTE).await;
        // The peer's numbers begin anew each time; the records do not take each other's place.
        assert_eq!(pair.source.psql(DB, COUNTED).await, format!("{} 0", 2 * round));
        assert_eq!(pair.source.psql(DB, "SELECT count(*) FROM pgrelay.conflict").await, (2 * round).to_string());
        if round == 1 {
            pair.peer.psql(DB, "DROP SCHEMA shop CASCADE").await;
            pair.source.psql(DB, &format!("SELECT pgrelay.start_task('{TASK}')")).await;
            pair.wait_for_state("running", MINUTE).await;
        }
    }
}

#[tokio::test]
async fn a_policy_that_needs_commit_times_is_told_also_when_it_is_set_later() {
    let mut pair = Pair::start("CREATE SCHEMA shop; CREATE TABLE shop.t (id int PRIMARY KEY, v text)").await;
    pair.peer.psql(DB, "ALTER SYSTEM SET track_commit_timestamp = off").await;
    pair.peer.stop_fast().await;
    pair.peer.start_again().await;
    pair.start_task("{}").await;
    pair.wait_for_state("running", MINUTE).await;
    let source = pair.source_client().await;
    pair.source.psql(DB, &format!("SELECT pgrelay.set_conflict_policy('{TASK}', 'latest_wins', 'shop.t')")).await;
    let event = "SELECT level || ' ' || hint FROM pgrelay.event WHERE event = 'track_commit_timestamp'";
    wait_for_value(&source, event, "warning ALTER SYSTEM SET track_commit_timestamp = on; -- then restart the server", MINUTE).await;
    let finding = "SELECT string_agg(severity, ' ' ORDER BY ordinal) FROM pgrelay.finding WHERE item = 'track_commit_timestamp'";
    assert_eq!(pair.source.psql(DB, finding).await, "ok error");
    assert_eq!(pair.source.psql(DB, "SELECT state FROM pgrelay.task_status").await, "running");
}
