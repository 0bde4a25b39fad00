//! One limit: what has been paid for, and what has passed of late.
//!
//! Amounts are rows or bytes. What has passed is remembered in seconds, its worth at the rate that it passed under, so that a
//! window which spans a change of the rate is judged by what was asked for in each part of it.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// Who comes late by less than this does not lose the time: timers and busy processors are late by some milliseconds. Part of the
/// 10 % that a window may hold too much.
pub const BURST: Duration = Duration::from_millis(100);

/// The window of the rule.
const WINDOW: Duration = Duration::from_secs(5);

/// What a window may hold, in seconds' worth: a little below 1.1 of it, for what happens between here and the peer.
const MOST: f64 = 5.4;

/// What passes within this time is remembered as one.
const GRAIN: Duration = Duration::from_millis(10);

/// Longest single wait: a time that cannot be reckoned with is no use to anybody.
const LONGEST: Duration = Duration::from_secs(60);

/// One limit.
#[derive(Debug)]
pub struct Meter {
    /// Amount per second.
    rate: Option<f64>,
    /// Paid for and not used.
    credit: f64,
    as_of: Instant,
    /// When it passed, and its worth in seconds.
    passed: VecDeque<(Instant, f64)>,
}

impl Default for Meter {
    fn default() -> Self {
        Meter { rate: None, credit: 0.0, as_of: Instant::now(), passed: VecDeque::new() }
    }
}

impl Meter {
    /// Time passes, of which at most `wanted` is saved up, or a burst where that is more.
    pub fn earn(&mut self, now: Instant, wanted: f64) {
        let elapsed = now.saturating_duration_since(self.as_of).as_secs_f64();
        self.as_of = now;
        if let Some(rate) = self.rate {
            self.credit = (self.credit + elapsed * rate).min(wanted.max(rate * BURST.as_secs_f64()));
        }
    }

    /// From now on. What is saved up becomes no more time at the new rate than it was, and no greater amount.
    pub fn set_rate(&mut self, rate: Option<f64>) {
        if rate == self.rate {
            return;
        }
        match (self.rate, rate) {
            (Some(before), Some(after)) => self.credit *= (after / before).min(1.0),
            // A window that holds a time without limit has no bound.
            _ => {
                self.credit = 0.0;
                self.passed.clear();
            }
        }
        self.rate = rate;
    }

    /// When to look again; none: `amount` may pass now.
    pub fn ready_at(&mut self, now: Instant, amount: f64) -> Option<Instant> {
        let rate = self.rate?;
        if amount <= 0.0 {
            return None;
        }
        // A rounding error less must not cost another turn of the timer.
        let missing = amount * (1.0 - 1e-9) - self.credit;
        let paid = (missing > 0.0).then(|| now + Duration::try_from_secs_f64(missing / rate).unwrap_or(LONGEST).clamp(TICK, LONGEST));
        paid.max(self.room_at(now, amount / rate))
    }

    /// When the window has room for something of this worth; a piece that is more than a window waits for an empty one.
    fn room_at(&mut self, now: Instant, worth: f64) -> Option<Instant> {
        let leaves = |(at, _): &(Instant, f64)| *at + WINDOW + GRAIN;
        while self.passed.front().is_some_and(|first| leaves(first) <= now) {
            self.passed.pop_front();
        }
        let mut held: f64 = self.passed.iter().map(|(_, worth)| worth).sum();
        let mut at = None;
        for entry in &self.passed {
            if held + worth <= MOST {
                break;
            }
            held -= entry.1;
            at = Some(leaves(entry));
        }
        at
    }

    /// It passes.
    pub fn pay(&mut self, now: Instant, amount: f64) {
        let Some(rate) = self.rate else { return };
        self.credit -= amount;
        let worth = amount / rate;
        match self.passed.back_mut() {
            Some((at, sum)) if now - *at < GRAIN => *sum += worth,
            _ => self.passed.push_back((now, worth)),
        }
    }
}

/// The timer's own grain.
const TICK: Duration = Duration::from_millis(1);
