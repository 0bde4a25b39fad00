//! Holds a direction of a task to its limits: one for each, shared by all its copy workers and the apply.
//!
//! **Rule**: no five seconds bring more than 10 % above what was asked for. What is to pass is paid for before it does, at the
//! rate of that moment, in the order of asking; so a window holds what its rate gives, and [`BURST`] or one piece more. Pieces
//! that cost more than that are held back until the window has room for them. Only a piece that alone is more than five seconds'
//! worth breaks the rule, by itself: who sends pieces asks for their size ([`Throttle::copy_piece`]).
//!
//! A change counts at once: who waits looks again, and what he has paid is worth no more time than before.

mod meter;

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use pgrelay_core::{
    conflict::Direction,
    task::{Options, Throttle as Limits},
};
use tokio::{sync::watch, time::Instant};

use meter::{BURST, Meter};

/// Bytes of a piece at least: a byte at a time would be only work.
const PIECE_AT_LEAST: f64 = 16.0;

/// The limits of one direction of a task.
pub struct Throttle {
    options: watch::Receiver<Options>,
    direction: Direction,
    queries: Gate<1>,
    copy: Gate<2>,
    stream: Gate<2>,
}

/// What has passed since the applier has known the task, and how long it was held back; for display.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passed {
    /// By the copy.
    pub rows_copied: u64,
    /// By the copy.
    pub bytes_copied: u64,
    /// By the apply.
    pub rows_applied: u64,
    /// By the apply.
    pub bytes_applied: u64,
    /// For how long a limit of the copy has kept somebody waiting.
    pub copy_held: Duration,
    /// For how long a limit of the stream has.
    pub stream_held: Duration,
}

impl Throttle {
    /// With the limits of `options`, as they are at each moment.
    pub fn new(options: watch::Receiver<Options>, direction: Direction) -> Throttle {
        Throttle { options, direction, queries: Gate::default(), copy: Gate::default(), stream: Gate::default() }
    }

    /// The limits now.
    pub fn limits(&self) -> Limits {
        self.options.borrow().throttle_of(self.direction)
    }

    /// Returns when the next statement may read rows of the source for the copy.
    pub async fn query(&self) {
        self.queries.pass(self, [1.0], |l| [l.copy_queries]).await;
    }

    /// Returns when these rows of the copy may go on to the peer.
    pub async fn copied(&self, rows: u64, bytes: u64) {
        self.copy.pass(self, [rows as f64, bytes as f64], |l| [l.copy_rows, l.copy_bytes]).await;
    }

    /// Returns when these changes of the stream may go on to the peer.
    pub async fn applied(&self, rows: u64, bytes: u64) {
        self.stream.pass(self, [rows as f64, bytes as f64], |l| [l.stream_rows, l.stream_bytes]).await;
    }

    /// How many bytes of the copy should go on at once, `most` at most: what the limits give in a tenth of a second.
    /// `row` is the size of a row, as far as one knows.
    pub fn copy_piece(&self, most: usize, row: f64) -> usize {
        let limits = self.limits();
        let by_rows = limits.copy_rows.map(|r| r * row.max(1.0));
        let rate = limits.copy_bytes.into_iter().chain(by_rows).fold(f64::INFINITY, f64::min);
        ((rate * BURST.as_secs_f64()).max(PIECE_AT_LEAST)).min(most as f64) as usize
    }

    /// What has passed so far.
    pub fn passed(&self) -> Passed {
        let [rows_copied, bytes_copied] = self.copy.sums();
        let [rows_applied, bytes_applied] = self.stream.sums();
        let now = Instant::now();
        Passed {
            rows_copied,
            bytes_copied,
            rows_applied,
            bytes_applied,
            copy_held: self.copy.held(now).max(self.queries.held(now)),
            stream_held: self.stream.held(now),
        }
    }
}

/// One queue before `N` limits that the same pieces are subject to.
struct Gate<const N: usize> {
    /// Whoever has it is the next; the lock is given in the order of asking.
    turn: tokio::sync::Mutex<[Meter; N]>,
    sums: [AtomicU64; N],
    held: Mutex<Held>,
}

impl<const N: usize> Default for Gate<N> {
    fn default() -> Self {
        let turn = tokio::sync::Mutex::new(std::array::from_fn(|_| Meter::default()));
        Gate { turn, sums: std::array::from_fn(|_| AtomicU64::new(0)), held: Mutex::default() }
    }
}

impl<const N: usize> Gate<N> {
    async fn pass(&self, throttle: &Throttle, amounts: [f64; N], limits: impl Fn(&Limits) -> [Option<f64>; N]) {
        if limits(&throttle.limits()).iter().any(Option::is_some) {
            self.wait(throttle, amounts, limits).await;
        }
        for (sum, amount) in self.sums.iter().zip(amounts) {
            sum.fetch_add(amount as u64, Ordering::Relaxed);
        }
    }

    async fn wait(&self, throttle: &Throttle, amounts: [f64; N], limits: impl Fn(&Limits) -> [Option<f64>; N]) {
        let mut options = throttle.options.clone();
        let mut meters = self.turn.lock().await;
        let mut idle = true;
        loop {
            let (rates, now) = (limits(&options.borrow_and_update().throttle_of(throttle.direction)), Instant::now());
            let mut at = None;
            for ((meter, rate), amount) in meters.iter_mut().zip(rates).zip(amounts) {
                meter.earn(now, if idle { 0.0 } else { amount });
                meter.set_rate(rate);
                at = at.max(meter.ready_at(now, amount));
            }
            let Some(at) = at else {
                for (meter, amount) in meters.iter_mut().zip(amounts) {
                    meter.pay(now, amount);
                }
                return;
            };
            idle = false;
            let _holding = Holding::begin(&self.held, now);
            tokio::select! {
                _ = tokio::time::sleep_until(at) => {}
                _ = changed(&mut options) => {}
            }
        }
    }

    fn sums(&self) -> [u64; N] {
        std::array::from_fn(|n| self.sums[n].load(Ordering::Relaxed))
    }

    fn held(&self, now: Instant) -> Duration {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.before + held.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

/// Options that nobody can change any more do not change.
async fn changed(options: &mut watch::Receiver<Options>) {
    if options.changed().await.is_err() {
        std::future::pending().await
    }
}

#[derive(Debug, Default)]
struct Held {
    before: Duration,
    since: Option<Instant>,
}

/// Somebody waits, as long as this lives.
struct Holding<'a>(&'a Mutex<Held>);

impl Holding<'_> {
    fn begin(held: &Mutex<Held>, now: Instant) -> Holding<'_> {
        held.lock().unwrap_or_else(PoisonError::into_inner).since = Some(now);
        Holding(held)
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = held.since.take() {
            held.before += since.elapsed();
        }
    }
}

#[cfg(test)]
mod tests;
