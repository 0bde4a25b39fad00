//! One task: what the user asked for is turned into work, the work's end into a state.
//!
//! Every part of it may be dropped at any moment: what has been done stands on the servers, written in the transactions
//! that did it. That is also how a pause works.

mod cleanup;
mod conflicts;
mod context;
mod interleave;
mod keep;
mod lacks;
mod large_objects;
mod moving;
mod pair;
mod pipeline;
mod reporter;
mod requests;
mod reverse;
mod reverse_ends;
mod sequences;
mod speed;
mod start_slot;
mod undo;
mod verify;
mod watch;

pub use context::{Base, Context, Live};
pub use pair::Pair;

use std::{sync::Arc, time::Duration};

use pgrelay_core::{
    Error, Result,
    conflict::Direction,
    error::Class,
    state::{Actual, Desired},
    task::Options,
};
use tokio::{sync::watch as channel, time::Instant};

use self::pipeline::Outcome;
use crate::{
    store::{Event, Level, TaskRow},
    throttle::Throttle,
    window::window,
};

/// First wait before trying again; doubled each time up to `LONGEST_WAIT`.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Longest wait before trying again.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Serves one direction of a task until the task is dropped, or the direction removed. Errors only when the source cannot be written to.
///
/// A new value of `rows` ends what is under way, one of `live` does not: the parts look at them.
pub async fn serve(base: Base, pair: Arc<Pair>, mut rows: channel::Receiver<TaskRow>, live: Live) -> Result<()> {
    // The limits hold from one command to the next, too.
    let throttle = Arc::new(Throttle::new(live.options.clone(), rows.borrow().direction));
    loop {
        let row = rows.borrow_and_update().clone();
        let last = row.desired == Desired::Drop || (row.direction == Direction::Reverse && row.desired == Desired::Stop);
        let context = Context::new(base.clone(), pair.clone(), row, live.clone(), throttle.clone());
        tokio::select! {
            acted = act(&context) => {
                acted?;
                if last {
                    return Ok(());
                }
                // Nothing is left to do but to answer, until the user asks for something else.
                tokio::select! {
                    answered = requests::answer_idle(&context) => answered?,
                    changed = rows.changed() => if changed.is_err() { return Ok(()) },
                }
            }
            changed = rows.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                reporter::write_counts(&context).await?;
            }
        }
    }
}

async fn act(c: &Context) -> Result<()> {
    let row = &c.row;
    let taken_up = row.seen_serial == row.serial;
    match row.desired {
        Desired::None => Ok(()),
        Desired::Run if taken_up && [Actual::Finished, Actual::Failed, Actual::PrecheckFailed, Actual::Stopped].contains(&row.state) => {
            Ok(())
        }
        Desired::Run => work(c).await,
        Desired::Pause => {
            conflicts::carry_rest(c).await;
            c.state(Actual::Paused, None).await
        }
        // Only the wish to have none stops the reverse direction alone.
        Desired::Stop | Desired::Drop if row.direction == Direction::Reverse => clean(c).await,
        Desired::Stop if taken_up && row.state == Actual::Stopped => Ok(()),
        Desired::Stop => {
            clean(c).await?;
            c.state(Actual::Stopped, None).await
        }
        Desired::Drop => {
            clean(c).await?;
            c.event(Event::new(Level::Info, "dropped", "the task is dropped")).await?;
            c.store.delete_task(row.id).await
        }
    }
}

/// Tries until it is done, fails for good, or the window for its kind of error is over.
async fn work(c: &Context) -> Result<()> {
    if let Err(error) = c.row.options() {
        return c.fail(&error).await;
    }
    let mut retry = Retry::default();
    loop {
        c.reset_progress();
        c.progress().begin_at(c.store.counts(&c.row).await?);
        let options = c.options();
        let both = async {
            tokio::select! {
                ended = run(c, &options) => ended,
                never = requests::answer_running(c) => never.map(|()| Outcome::Finished),
                never = conflicts::run(c) => match never {},
            }
        };
        let ended = both.await;
        reporter::write_counts(c).await?;
        match ended {
            Ok(Outcome::Finished) => return c.state(Actual::Finished, None).await,
            Ok(Outcome::PrecheckFailed(error)) => return c.state(Actual::PrecheckFailed, Some(&error)).await,
            Ok(Outcome::ForeignSource(error)) => return c.state(Actual::Stopped, Some(&error)).await,
            Err(error) => match retry.after(&error, &c.options(), c.progress().has_moved()) {
                Some(wait) => {
                    c.state(Actual::Retrying, Some(&error)).await?;
                    tokio::time::sleep(wait).await;
                }
                None => {
                    // What it stops at is shown with what it met there.
                    conflicts::carry_rest(c).await;
                    return c.fail(&error).await;
                }
            },
        }
    }
}

async fn run(c: &Context, options: &Options) -> Result<Outcome> {
    match c.row.direction {
        Direction::Forward => Box::pin(pipeline::run(c, options)).await,
        Direction::Reverse => Box::pin(reverse::run(c, options)).await,
    }
}

async fn clean_once(c: &Context) -> Result<()> {
    match c.row.direction {
        Direction::Forward => Box::pin(cleanup::run(c)).await,
        Direction::Reverse => Box::pin(reverse::remove(c)).await,
    }
}

/// Cleans up until it is done: whoever stops a task wants nothing left behind.
async fn clean(c: &Context) -> Result<()> {
    let mut wait = FIRST_WAIT;
    while let Err(error) = clean_once(c).await {
        c.state(Actual::Retrying, Some(&error)).await?;
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
    Ok(())
}

/// When to try again.
#[derive(Debug, Default)]
struct Retry {
    since: Option<Instant>,
    wait: Option<Duration>,
}

impl Retry {
    /// The wait before the next try; none when it is not worth it. `moved`: the last try has done something lasting.
    fn after(&mut self, error: &Error, options: &Options, moved: bool) -> Option<Duration> {
        if moved {
            *self = Retry::default();
        }
        let minutes = match error.class() {
            Class::Transient => options.retry_connection_minutes,
            Class::Operator => options.retry_other_minutes,
            Class::Never => return None,
        };
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() > window(minutes) {
            return None;
        }
        let wait = self.wait.map_or(FIRST_WAIT, |w| (w * 2).min(LONGEST_WAIT));
        self.wait = Some(wait);
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use pgrelay_core::error::Kind;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_class_of_error_has_its_window_and_progress_starts_it_anew() {
        let options = Options { retry_connection_minutes: 20, retry_other_minutes: 2, ..Options::default() };
        let error = |kind| Error::new(kind, "x");
        let mut retry = Retry::default();
        assert_eq!(retry.after(&error(Kind::Conflict), &options, false), None);
        assert_eq!(retry.after(&error(Kind::Connection), &options, false), Some(FIRST_WAIT));
        assert_eq!(retry.after(&error(Kind::Connection), &options, false), Some(FIRST_WAIT * 2));
        tokio::time::advance(Duration::from_secs(180)).await;
        assert_eq!(retry.after(&error(Kind::Rejected), &options, false), None, "two minutes are over");
        assert!(retry.after(&error(Kind::Connection), &options, false).is_some(), "twenty are not");
        assert_eq!(retry.after(&error(Kind::Rejected), &options, true), Some(FIRST_WAIT));
    }
}
