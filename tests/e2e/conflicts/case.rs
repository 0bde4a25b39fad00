//! One scenario: what both sides hold, what the source does, and what the peer must hold afterwards under each policy.

use std::time::Duration;

use pgrelay_tests::Pair;
use pgrelay_tests::pair::DB;
use pgrelay_tests::wait::wait_until;

const MINUTE: Duration = Duration::from_secs(60);

/// A policy that is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    Fail,
    Ignore,
    Overwrite,
}

impl Policy {
    pub fn word(self) -> &'static str {
        match self {
            Policy::Fail => "fail",
            Policy::Ignore => "ignore",
            Policy::Overwrite => "overwrite",
        }
    }
}

/// Which way changes go to the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Each transaction at once.
    Row,
    /// As a backlog, together with many changes that meet nothing.
    Bulk,
}

/// What must be on the peer afterwards.
#[derive(Debug, Clone, Copy)]
pub enum End {
    /// The task has stopped before the transaction.
    Failed(&'static str),
    /// It goes on.
    Running(&'static str),
}

/// `{t}` stands for the table, which every scenario has to itself.
pub struct Case {
    pub name: &'static str,
    /// Columns and more of `CREATE TABLE {t}`, on both sides; then statements on both sides.
    pub table: &'static str,
    pub both: &'static str,
    /// On the source before the copy.
    pub rows: &'static str,
    /// On the peer once the task runs.
    pub peer: &'static str,
    /// On the source after that.
    pub source: &'static str,
    /// By fail, ignore, overwrite.
    pub ends: [End; 3],
    /// The kinds that are recorded unless the task fails, in order.
    pub recorded: &'static str,
}

/// The usual table.
pub const T: &str = "(id int PRIMARY KEY, u int UNIQUE, v text)";

/// A scenario with the usual table.
pub const PLAIN: Case = Case { name: "", table: T, both: "", rows: "", peer: "", source: "", ends: [End::Running(""); 3], recorded: "" };

/// Runs all scenarios under one policy, one after another in one task; what makes it fail is skipped before the next. `more` are options of
/// the task beside that, each behind a comma.
pub async fn run(cases: &[Case], policy: Policy, way: Way, more: &str) {
    let named: Vec<(String, &Case)> = cases.iter().enumerate().map(|(n, case)| (format!("c{n:02}"), case)).collect();
    let mut objects = "CREATE TABLE filler (id int PRIMARY KEY, v text);".to_owned();
    for (table, case) in &named {
        objects += &place(&format!("CREATE TABLE {{t}} {}; {}; {};", case.table, case.both, case.rows), table);
    }
    let pair = Pair::start(&objects).await;
    let options = format!(r#"{{"conflict_policy": "{}", "acknowledge_warnings": true, "keyless": "insert_only"{more}}}"#, policy.word());
    pair.start_task(&options).await;
    pair.wait_for_state("running", 3 * MINUTE).await;
    for (n, (table, case)) in named.iter().enumerate() {
        println!("{}: {table} {}", policy.word(), case.name);
        scenario(&pair, n, table, case, policy, way).await;
    }
}

fn place(sql: &str, table: &str) -> String {
    sql.replace("{t}", table)
}

async fn scenario(pair: &Pair, n: usize, table: &str, case: &Case, policy: Policy, way: Way) {
    pair.peer.psql(DB, &place(case.peer, table)).await;
    if way == Way::Bulk {
        pair.source.psql(DB, "SELECT pgrelay.pause_task('move')").await;
        pair.wait_for_state("paused", MINUTE).await;
        let filler = format!("INSERT INTO filler SELECT {n} * 100 + i, 'x' FROM generate_series(1, 50) i");
        pair.source.psql(DB, &filler).await;
    }
    pair.source.psql(DB, &place(case.source, table)).await;
    if way == Way::Bulk {
        pair.source.psql(DB, "SELECT pgrelay.resume_task('move')").await;
    }
    let expected = match case.ends[policy as usize] {
        End::Failed(rows) => {
            failed(pair, table, case).await;
            assert_eq!(rows_of(pair, table).await, rows, "{} under {}: the peer before the skip", case.name, policy.word());
            return skip(pair, table, case).await;
        }
        End::Running(rows) => rows,
    };
    pair.wait_for_state("running", MINUTE).await;
    pair.wait_for_catchup(MINUTE).await;
    assert_eq!(rows_of(pair, table).await, expected, "{} under {}", case.name, policy.word());
    assert_eq!(recorded(pair, table).await, case.recorded, "{} under {}: the record", case.name, policy.word());
}

/// The rows of a table on the peer, in the order of their texts.
async fn rows_of(pair: &Pair, table: &str) -> String {
    let row = "CASE WHEN length(t::text) > 100 THEN left(t::text, 8) || '…' || length(t::text) ELSE t::text END";
    pair.peer.psql(DB, &format!("SELECT coalesce(string_agg({row}, ' ' ORDER BY t::text), '') FROM {table} t")).await
}

async fn recorded(pair: &Pair, table: &str) -> String {
    let sql = format!(
        "SELECT coalesce(string_agg(kind, ' ' ORDER BY ordinal), '') FROM pgrelay_peer.conflict WHERE table_name = '{table}' AND resolution <> 'skipped'"
    );
    pair.peer.psql(DB, &sql).await
}

/// The task fails with an error that names the table and where the transaction commits.
async fn failed(pair: &Pair, table: &str, case: &Case) {
    let client = pair.source_client().await;
    let sql = "SELECT state, coalesce(error, ''), coalesce(error_detail, '') FROM pgrelay.task_status WHERE NOT pending";
    wait_until(&format!("{}: the task to fail", case.name), MINUTE, async || {
        let row = client.query_opt(sql, &[]).await.map_err(|e| format!("{e:?}"))?.ok_or("pending")?;
        let (state, error, detail): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        if state != "failed" {
            return Err(format!("{state} {error}"));
        }
        assert!(error.contains(&format!("public.{table}")) && detail.contains("commits at"), "{error} ({detail})");
        Ok(())
    })
    .await;
    let failed = format!("SELECT count(*) FROM pgrelay_peer.conflict WHERE table_name = '{table}' AND resolution = 'failed'");
    assert_eq!(pair.peer.psql(DB, &failed).await, "1", "{}: the record of the failure", case.name);
}

/// Leaves out what the task has failed at and goes on.
async fn skip(pair: &Pair, table: &str, case: &Case) {
    let lsn = format!(
        "SELECT source_commit_lsn FROM pgrelay_peer.conflict WHERE table_name = '{table}' AND resolution = 'failed' ORDER BY ordinal DESC LIMIT 1"
    );
    let before = rows_of(pair, table).await;
    let lsn = pair.peer.psql(DB, &lsn).await;
    pair.source.psql(DB, &format!("SELECT pgrelay.skip_transaction('move', '{lsn}')")).await;
    pair.source.psql(DB, "SELECT pgrelay.resume_task('move')").await;
    pair.wait_for_state("running", MINUTE).await;
    pair.wait_for_catchup(MINUTE).await;
    assert_eq!(rows_of(pair, table).await, before, "the transaction is left out");
    let skipped = format!("SELECT count(*) > 0 FROM pgrelay_peer.conflict WHERE table_name = '{table}' AND resolution = 'skipped'");
    assert_eq!(pair.peer.psql(DB, &skipped).await, "t", "what is left out is recorded");
    let truncates = format!("SELECT count(*) FROM pgrelay_peer.conflict WHERE table_name = '{table}' AND operation = 'truncate'");
    let expected = case.source.matches("TRUNCATE").count().to_string();
    assert_eq!(pair.peer.psql(DB, &truncates).await, expected, "{}: a TRUNCATE that is left out is recorded", case.name);
}
