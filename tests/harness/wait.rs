//! Waiting with a deadline: the only place of the tests where time passes on purpose.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::process;

thread_local! {
    /// Logs of the servers and appliers that this test has started.
    static LOGS: RefCell<Vec<(String, PathBuf)>> = const { RefCell::new(Vec::new()) };
}

/// Shows the end of this file when something waited for does not happen.
pub fn add_log(name: &str, path: &Path) {
    LOGS.with_borrow_mut(|logs| logs.push((name.to_string(), path.to_path_buf())));
}

/// Forgets a log.
pub fn remove_log(path: &Path) {
    // A thread that ends may have lost its list already.
    let _ = LOGS.try_with(|logs| logs.borrow_mut().retain(|(_, p)| p != path));
}

/// The ends of the logs of this test's servers and appliers.
pub fn log_tails() -> String {
    LOGS.with_borrow(|logs| {
        logs.iter().map(|(name, path)| format!("--- {name} ({})\n{}\n", path.display(), process::tail(path, 30))).collect()
    })
}

/// Polls until `poll` returns `Ok` and gives back its value; `Err` holds what was seen instead.
///
/// Panics after the deadline with what it waited for, the last value seen, and the ends of the logs.
pub async fn wait_until<T>(what: &str, deadline: Duration, mut poll: impl AsyncFnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + deadline;
    let mut rest = Duration::from_millis(10);
    let mut seen = "(no answer)".to_owned();
    loop {
        match tokio::time::timeout_at(end.into(), poll()).await {
            Ok(Ok(value)) => return value,
            Ok(Err(now)) => seen = now,
            // What was seen before tells more.
            Err(_) => {}
        }
        if Instant::now() >= end {
            panic!("waited {deadline:?} for {what}; last seen: {seen}\n{}", log_tails());
        }
        // Seldom soon: many tests that ask all the time leave nothing for what they wait for.
        tokio::time::sleep(rest).await;
        rest = (rest * 3 / 2).min(Duration::from_millis(150));
    }
}

/// Polls a query of one text value until it is the one expected.
pub async fn wait_for_value(client: &tokio_postgres::Client, sql: &str, expected: &str, deadline: Duration) {
    wait_until(&format!("{expected:?} from {sql}"), deadline, async || {
        let row = client.query_opt(sql, &[]).await.map_err(|e| format!("{e:?}"))?;
        let value: Option<String> = row.and_then(|row| row.get(0));
        if value.as_deref() == Some(expected) { Ok(()) } else { Err(format!("{value:?}")) }
    })
    .await
}

/// Lets a load run for a while: there is nothing to wait for.
pub async fn run_for(time: Duration) {
    tokio::time::sleep(time).await;
}
