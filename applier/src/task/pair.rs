//! What the two directions of a task tell each other, while one applier works on both. What decides stands on the servers: this is what
//! they have written there, or read from there when they began.

use std::sync::Arc;

use pgrelay_core::conflict::Direction;
use tokio::sync::{Mutex, watch};

use crate::stream::history::History;

/// Shared by the runners of a task's two directions.
pub struct Pair {
    /// The forward direction has come to the stream.
    pub streams: watch::Sender<bool>,
    /// Slot, publications and position of the reverse direction are there.
    pub prepared: watch::Sender<bool>,
    /// Held by whoever makes, uses or removes these.
    pub reverse: Arc<Mutex<()>>,
    forward_read: Arc<History>,
    reverse_read: Arc<History>,
}

impl Default for Pair {
    fn default() -> Self {
        Pair {
            streams: watch::Sender::new(false),
            prepared: watch::Sender::new(false),
            reverse: Arc::default(),
            forward_read: Arc::default(),
            reverse_read: Arc::default(),
        }
    }
}

impl Pair {
    /// What a direction has read of the commits of the side that it comes from.
    pub fn read_by(&self, direction: Direction) -> Arc<History> {
        match direction {
            Direction::Forward => self.forward_read.clone(),
            Direction::Reverse => self.reverse_read.clone(),
        }
    }
}
