//! For how long something that fails is tried again: the minutes of a task's options.

use std::{sync::LazyLock, time::Duration};

/// So many minutes.
pub fn window(minutes: u32) -> Duration {
    *MINUTE * minutes
}

/// A test that waits for the end of a window makes its minutes shorter; a release build does not know of that.
static MINUTE: LazyLock<Duration> = LazyLock::new(|| {
    let shorter = if cfg!(debug_assertions) { std::env::var("PGRELAY_MINUTE_MS").ok().and_then(|ms| ms.parse().ok()) } else { None };
    shorter.map_or(Duration::from_secs(60), Duration::from_millis)
});
