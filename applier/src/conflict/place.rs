//! Where records of conflicts are written down: where they happen at the task's home, with the task; else in pgrelay's own schema there,
//! from where they are carried home (`task::conflicts`).

use bytes::Bytes;
use pgrelay_core::conflict::Direction;

use crate::apply::session::Value;

/// Where one direction of a task writes down what its changes meet.
#[derive(Debug, Clone)]
pub struct Place {
    direction: Direction,
    /// By which the task is known there.
    task: String,
}

impl Place {
    /// `origin`: name of the direction's origin, which is its key on the peer. `task_id`: the task's number at its home.
    pub fn new(direction: Direction, origin: &str, task_id: i64) -> Place {
        let task = match direction {
            Direction::Forward => origin.to_owned(),
            Direction::Reverse => task_id.to_string(),
        };
        Place { direction, task }
    }

    /// The statement that writes down what this query of `sql/peer` makes.
    pub fn adding(&self, records: &str) -> String {
        let add = match self.direction {
            Direction::Forward => include_str!("../../../sql/peer/add_conflicts.sql"),
            Direction::Reverse => include_str!("../../../sql/store/add_conflicts.sql"),
        };
        format!("WITH record AS (\n{records}){add}")
    }

    /// The statement's first two parameters.
    pub fn values(&self) -> [Value; 2] {
        [self.task.as_str(), self.direction.as_str()].map(|text| Value::Text(Some(Bytes::copy_from_slice(text.as_bytes()))))
    }
}
