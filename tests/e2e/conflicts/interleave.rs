//! `interleave_sequences`.

use std::collections::HashSet;

use pgrelay_tests::{Pair, pair::DB, wait::wait_for_value};

use crate::{MINUTE, running};

/// Twenty values that one side draws.
async fn draw(cluster: &pgrelay_tests::Cluster, sequence: &str) -> Vec<i64> {
    let sql = format!("SELECT string_agg(nextval('{sequence}')::text, ' ') FROM generate_series(1, 20)");
    cluster.psql(DB, &sql).await.split(' ').map(|value| value.parse().unwrap()).collect()
}

async fn steps(pair: &Pair) -> [String; 2] {
    let sql = "SELECT string_agg(seqrelid::regclass || ' ' || seqincrement, ', ' ORDER BY seqrelid::regclass::text) FROM pg_sequence
               WHERE seqrelid::regclass::text !~ '^pgrelay'";
    [pair.source.psql(DB, sql).await, pair.peer.psql(DB, sql).await]
}

/// Each side draws values that the other never does, past all that was drawn before, whatever the sequence is like; what cannot be kept
/// apart is told; and when the task ends all is as before.
#[tokio::test]
async fn both_sides_draw_other_values_until_the_task_ends() {
    let pair = running(
        "CREATE TABLE t (id bigserial PRIMARY KEY, v text); INSERT INTO t (v) SELECT 'x' FROM generate_series(1, 7);
         CREATE TABLE i (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY); INSERT INTO i DEFAULT VALUES;
         CREATE SEQUENCE down INCREMENT -3; CREATE SEQUENCE cached CACHE 10; SELECT nextval('cached');
         CREATE SEQUENCE round CYCLE; CREATE SEQUENCE short MAXVALUE 2; SELECT nextval('short')",
        "{}",
    )
    .await;
    pair.wait_for_catchup(MINUTE).await;
    let before = "cached 1, down -3, i_id_seq 1, round 1, short 1, t_id_seq 1";
    assert_eq!(steps(&pair).await, [before, before]);
    let interleave = "SELECT message FROM pgrelay.interleave_sequences('move')";
    let said = "Source and peer draw other values from 4 sequences. 2 stay as they are: see pgrelay.interleaved_sequence.";
    assert_eq!(pair.source.psql(DB, interleave).await, said);
    let left =
        "SELECT string_agg(sequence || ': ' || reason, ' ' ORDER BY sequence) FROM pgrelay.interleaved_sequence WHERE NOT interleaved";
    assert_eq!(
        pair.source.psql(DB, left).await,
        "round: It begins anew at its end (CYCLE), where both sides would draw the same values. short: It has too few values left for both sides."
    );
    let now = "cached 2, down -6, i_id_seq 2, round 1, short 1, t_id_seq 2";
    assert_eq!(steps(&pair).await, [now, now]);
    for (sequence, last) in [("t_id_seq", 7), ("i_id_seq", 1), ("cached", 10), ("down", 2)] {
        let mut drawn = draw(&pair.source, sequence).await;
        drawn.extend(draw(&pair.peer, sequence).await);
        assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), 40, "{sequence}: {drawn:?}");
        let past = |value: &i64| if sequence == "down" { *value < last } else { *value > last };
        assert!(drawn.iter().all(past), "{sequence}: {drawn:?}");
    }
    // Again changes nothing, and the peer's do not follow any more.
    assert_eq!(pair.source.psql(DB, interleave).await, said);
    assert_eq!(steps(&pair).await, [now, now]);
    pair.source.psql(DB, "SELECT nextval('t_id_seq')").await;
    pair.wait_for_catchup(MINUTE).await;
    let (ours, theirs) = (draw(&pair.source, "t_id_seq").await, draw(&pair.peer, "t_id_seq").await);
    assert!(ours.iter().all(|value| value % 2 != theirs[0] % 2), "{ours:?} {theirs:?}");

    pair.source.psql(DB, "SELECT pgrelay.stop_task('move')").await;
    wait_for_value(&pair.source_client().await, "SELECT state FROM pgrelay.task_status", "stopped", MINUTE).await;
    assert_eq!(steps(&pair).await, [before, before]);
    let furthest = ours.iter().chain(&theirs).max().unwrap();
    for side in [&pair.source, &pair.peer] {
        let next: i64 = side.psql(DB, "SELECT nextval('t_id_seq')").await.parse().unwrap();
        assert!(next > *furthest, "{next} {furthest}");
    }
    assert_eq!(pair.source.psql(DB, "SELECT count(*) FROM pgrelay.interleaved_sequence").await, "0");
}
