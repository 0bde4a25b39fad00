//! A thread for parts of a task that wake one another all the time, such as what applies changes and the connection it applies them by.
//!
//! Among the threads of a common pool each such hand-over may wake another thread, which takes longer than what it then does.

use std::{convert::Infallible, time::Duration};

use pgrelay_core::{Error, Result, error::Kind};
use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
    task::JoinSet,
    time::{Instant, sleep},
};

/// For how long the connections of a lane that ends may say goodbye to their servers.
const GOODBYE: Duration = Duration::from_secs(1);

/// How often it is looked whether they have.
const LOOK: Duration = Duration::from_millis(5);

/// Bytes of a thread's stack. A build without optimization needs more than the usual 2 MB for the parts of a task, which are in one
/// another; what is not used costs address space only.
pub const STACK: usize = 8 << 20;

/// The thread. What still runs on it ends with it.
pub struct Lane {
    handle: Handle,
    _open: oneshot::Sender<Infallible>,
}

impl Lane {
    /// Starts a thread of this name.
    ///
    /// Errors: `InsufficientResources` when there can be no more threads.
    pub fn start(name: &str) -> Result<Lane> {
        let none = |e| Error::new(Kind::InsufficientResources, format!("cannot start a thread for {name}")).caused_by(e);
        let runtime = Builder::new_current_thread().enable_all().build().map_err(none)?;
        let handle = runtime.handle().clone();
        let (open, closed) = oneshot::channel();
        let alive = handle.clone();
        let work = async move {
            let _ = closed.await;
            let since = Instant::now();
            while alive.metrics().num_alive_tasks() > 0 && since.elapsed() < GOODBYE {
                sleep(LOOK).await;
            }
        };
        std::thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(move || runtime.block_on(work)).map_err(none)?;
        Ok(Lane { handle, _open: open })
    }

    /// For what is spawned there.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Does something there; what it spawns stays there. Dropped, it is ended.
    pub async fn run<T: Send + 'static>(&self, part: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let mut parts = JoinSet::new();
        parts.spawn_on(part, &self.handle);
        match parts.join_next().await {
            Some(Ok(done)) => done,
            Some(Err(e)) => Err(Error::new(Kind::Internal, "a part of the task ended by itself").caused_by(e)),
            None => Err(Error::new(Kind::Internal, "a part of the task was not begun")),
        }
    }
}
