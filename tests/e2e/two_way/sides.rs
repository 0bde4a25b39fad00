//! Two servers with a two-way task between them, and what is asked of both.

use std::{cell::Cell, time::Duration};

use pgrelay_tests::{Pair, pair::DB, wait::wait_for_value};

pub const MINUTE: Duration = Duration::from_secs(60);

/// A pair of servers, and how many changes have gone each way.
pub struct Sides {
    pub pair: Pair,
    total: Cell<[i64; 2]>,
}

impl Sides {
    /// Starts a two-way task of these objects, with options beside that, and waits until both directions run.
    pub async fn start(objects: &str, options: &str) -> Sides {
        Sides::start_between(Pair::start(objects).await, options).await
    }

    /// Likewise, between these servers.
    pub async fn start_between(pair: Pair, options: &str) -> Sides {
        let sides = Sides::of(pair);
        let more = if options.is_empty() { String::new() } else { format!(", {options}") };
        sides.pair.start_task(&format!(r#"{{"topology": "two_way", "acknowledge_warnings": true{more}}}"#)).await;
        sides.run().await;
        sides
    }

    /// Without a task so far.
    pub fn of(pair: Pair) -> Sides {
        Sides { pair, total: Cell::new([0, 0]) }
    }

    /// Waits until both directions run.
    pub async fn run(&self) {
        self.pair.wait_for_state("running", 2 * MINUTE).await;
        self.wait_for_reverse("running").await;
    }

    /// Waits until the reverse direction is in a state.
    pub async fn wait_for_reverse(&self, state: &str) {
        let sql = "SELECT state || coalesce(': ' || error, '') FROM pgrelay.task_status WHERE direction = 'reverse' AND NOT pending";
        wait_for_value(&self.pair.source_client().await, sql, state, MINUTE).await;
    }

    pub async fn source(&self, sql: &str) -> String {
        self.pair.source.psql(DB, sql).await
    }

    pub async fn peer(&self, sql: &str) -> String {
        self.pair.peer.psql(DB, sql).await
    }

    /// Everything committed on either side is on the other.
    pub async fn wait(&self) {
        self.pair.wait_for_catchup(MINUTE).await;
    }

    /// What a query gives on both sides.
    #[track_caller]
    pub fn both(&self, sql: &str, expected: &str) -> impl Future<Output = ()> {
        let at = std::panic::Location::caller();
        async move {
            let seen = [self.source(sql).await, self.peer(sql).await];
            assert_eq!(seen, [expected, expected], "source and peer: {sql} ({at})");
        }
    }

    /// So many changes more have been applied, forward and reverse: neither more nor less since the beginning.
    pub async fn applied(&self, more: [i64; 2]) {
        let [forward, reverse] = self.total.get();
        self.total.set([forward + more[0], reverse + more[1]]);
        let sql = "SELECT string_agg(changes_applied::text, ' ' ORDER BY direction) FROM pgrelay.task_status";
        let [forward, reverse] = self.total.get();
        wait_for_value(&self.pair.source_client().await, sql, &format!("{forward} {reverse}"), MINUTE).await;
    }

    /// Waits until just these conflicts of a table are recorded: direction, kind and resolution.
    pub async fn recorded(&self, table: &str, expected: &str) {
        let sql = format!(
            "SELECT coalesce(string_agg(concat_ws(' ', direction, kind, resolution), ', ' ORDER BY direction, detected_at), '') \
             FROM pgrelay.conflict WHERE \"table\" = '{table}'"
        );
        wait_for_value(&self.pair.source_client().await, &sql, expected, MINUTE).await;
        // Where they happen: none that has still to be carried is one more.
        let count = format!("SELECT count(*) FROM pgrelay_peer.conflict WHERE table_name = '{table}'");
        let forward = expected.split(", ").filter(|one| one.starts_with("forward")).count();
        assert_eq!(self.peer(&count).await, forward.to_string(), "conflicts of {table} on the peer: {expected}");
        assert_eq!(self.source(&count).await, "0", "what happens at home is written down there at once");
    }

    pub async fn pause(&self) {
        self.source("SELECT pgrelay.pause_task('move')").await;
        self.pair.wait_for_state("paused", MINUTE).await;
        self.wait_for_reverse("paused").await;
    }

    pub async fn resume(&self) {
        self.source("SELECT pgrelay.resume_task('move')").await;
    }
}
