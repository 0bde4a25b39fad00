//! The options of a task: one row per key in `KNOWN_OPTIONS`, one reader per kind of value.

mod choice;
mod planned;
#[cfg(test)]
mod tests;

pub use choice::{ExistingObjects, Keyless, NotMovable, Stages, Tablespaces, Topology};
pub use planned::is_option;

use serde_json::{Map, Value};

use self::{
    choice::{EXISTING_OBJECTS, KEYLESS, NOT_MOVABLE, TABLESPACES, TOPOLOGY, boolean, integer, stages, word},
    planned::planned,
};
use super::{Reverse, Throttle};
use crate::{
    conflict::{Direction, OptionOverride, Override, Policy, Rules, UpdateMissing},
    error::{Error, Kind, Result},
};

/// The options of a task, every one with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// `stages`, an array of "schema", "copy", "stream".
    pub stages: Stages,
    /// `topology`: "one_way", "two_way".
    pub topology: Topology,
    /// `keyless`: "error", "full", "insert_only".
    pub keyless: Keyless,
    /// `not_movable`: "report", "skip".
    pub not_movable: NotMovable,
    /// `retry_connection_minutes`, 10 to 1440.
    pub retry_connection_minutes: u32,
    /// `retry_other_minutes`, 1 to 1440, less than `retry_connection_minutes`.
    pub retry_other_minutes: u32,
    /// `acknowledge_warnings`: every warning of the precheck is taken as confirmed.
    pub acknowledge_warnings: bool,
    /// `copy_jobs`, 1 to 64: tables copied at the same time.
    pub copy_jobs: u32,
    /// `index_memory_mb`, 1 to 1048576: memory that each session of the peer which builds an index may use. The applier chooses
    /// when it is left out.
    pub index_memory_mb: Option<u32>,
    /// `copy_chunk_mb`, 1 to 1048576, in MB: a larger table is copied in chunks of about this size.
    pub copy_chunk_mb: u32,
    /// `throttle`: how fast it may go at most.
    pub throttle: Throttle,
    /// `reverse`: what of the reverse direction of a two-way task is otherwise.
    pub reverse: Reverse,
    /// `tablespaces`: "ignore", "keep".
    pub tablespaces: Tablespaces,
    /// `large_objects`: they are carried as they are when the copy comes to them.
    pub large_objects: bool,
    /// `existing_objects`: "report", "keep".
    pub existing_objects: ExistingObjects,
    /// `conflict_policy`: "fail", "ignore", "overwrite", "latest_wins", "source_priority".
    pub conflict_policy: Policy,
    /// `strict`: the policy also decides about a row that the other side wrote last.
    pub strict: bool,
    /// `update_missing`: "insert", "skip", "fail".
    pub update_missing: UpdateMissing,
    /// `conflict_retention`, 1 to 3650: days for which the record of a conflict is kept.
    pub conflict_retention: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            stages: Stages { schema: true, copy: true, stream: true },
            topology: Topology::OneWay,
            keyless: Keyless::Error,
            not_movable: NotMovable::Report,
            retry_connection_minutes: 720,
            retry_other_minutes: 10,
            acknowledge_warnings: false,
            copy_jobs: 4,
            index_memory_mb: None,
            copy_chunk_mb: 256,
            throttle: Throttle::default(),
            reverse: Reverse::default(),
            tablespaces: Tablespaces::Ignore,
            large_objects: false,
            existing_objects: ExistingObjects::Report,
            conflict_policy: Policy::Fail,
            strict: false,
            update_missing: UpdateMissing::Insert,
            conflict_retention: 30,
        }
    }
}

/// The options that can be set today, as they stand in `docs/settings.md`.
pub const KNOWN_OPTIONS: [&str; 19] = [
    "stages",
    "topology",
    "keyless",
    "not_movable",
    "retry_connection_minutes",
    "retry_other_minutes",
    "acknowledge_warnings",
    "copy_jobs",
    "copy_chunk_mb",
    "index_memory_mb",
    "throttle",
    "reverse",
    "tablespaces",
    "large_objects",
    "existing_objects",
    "conflict_policy",
    "strict",
    "update_missing",
    "conflict_retention",
];

impl Options {
    /// Reads the options of a task; a key that is left out has its default.
    ///
    /// Errors: `InvalidValue` that names the key, `NotSupported` for a documented key or value that is not built yet.
    pub fn from_json(json: &Value) -> Result<Options> {
        let Value::Object(map) = json else {
            return Err(Error::new(Kind::InvalidValue, "options is not a JSON object").hint("Give options such as '{\"copy_jobs\": 8}'."));
        };
        let mut options = Options::default();
        for (key, value) in map {
            match key.as_str() {
                "stages" => options.stages = stages(value)?,
                "topology" => options.topology = word(key, value, &TOPOLOGY)?,
                "keyless" => options.keyless = word(key, value, &KEYLESS)?,
                "not_movable" => options.not_movable = word(key, value, &NOT_MOVABLE)?,
                "retry_connection_minutes" => options.retry_connection_minutes = integer(key, value, 10, 1440)?,
                "retry_other_minutes" => options.retry_other_minutes = integer(key, value, 1, 1440)?,
                "acknowledge_warnings" => options.acknowledge_warnings = boolean(key, value)?,
                "index_memory_mb" => options.index_memory_mb = Some(integer(key, value, 1, 1_048_576)?),
                "copy_jobs" => options.copy_jobs = integer(key, value, 1, 64)?,
                "copy_chunk_mb" => options.copy_chunk_mb = integer(key, value, 1, 1 << 20)?,
                "throttle" => options.throttle = Throttle::from_json(value)?,
                "reverse" => options.reverse = Reverse::from_json(value)?,
                "tablespaces" => options.tablespaces = word(key, value, &TABLESPACES)?,
                "large_objects" => options.large_objects = boolean(key, value)?,
                "existing_objects" => options.existing_objects = word(key, value, &EXISTING_OBJECTS)?,
                "conflict_policy" => options.conflict_policy = word(key, value, &Policy::ALL.map(|p| (p.as_str(), p)))?,
                "strict" => options.strict = boolean(key, value)?,
                "update_missing" => options.update_missing = word(key, value, &UpdateMissing::ALL.map(|u| (u.as_str(), u)))?,
                "conflict_retention" => options.conflict_retention = integer(key, value, 1, 3650)?,
                _ => planned(key, value)?,
            }
        }
        check_retry_windows(&options, map)?;
        if !options.is_two_way() && options.reverse != Reverse::default() {
            return Err(Error::new(Kind::InvalidValue, "option \"reverse\": a task that is not two_way has no reverse direction")
                .hint("Give \"topology\": \"two_way\" too, or null for \"reverse\"."));
        }
        if options.is_two_way() && !options.stages.stream {
            return Err(Error::new(Kind::InvalidValue, "option \"topology\": a task without the stage stream cannot be two_way")
                .hint("Leave \"stages\" out, or give [\"copy\", \"stream\"]."));
        }
        Ok(options)
    }

    /// Whether changes go both ways.
    pub fn is_two_way(&self) -> bool {
        self.topology == Topology::TwoWay
    }

    /// How fast a direction may go at most.
    pub fn throttle_of(&self, direction: Direction) -> Throttle {
        match direction {
            Direction::Forward => self.throttle,
            Direction::Reverse => self.reverse.throttle.unwrap_or(self.throttle),
        }
    }

    /// How conflicts are decided, with what counts for some of them only.
    pub fn rules(&self, overrides: Vec<Override>, options: Vec<OptionOverride>) -> Rules {
        Rules { policy: self.conflict_policy, strict: self.strict, update_missing: self.update_missing, overrides, options }
    }
}

/// The second window must be smaller than the first, defaults included.
fn check_retry_windows(options: &Options, map: &Map<String, Value>) -> Result<()> {
    if options.retry_other_minutes < options.retry_connection_minutes {
        return Ok(());
    }
    let given = |key: &str| if map.contains_key(key) { "" } else { " (its default)" };
    Err(Error::new(Kind::InvalidValue, "option \"retry_other_minutes\" must be less than \"retry_connection_minutes\"").detail(format!(
        "retry_other_minutes is {}{}, retry_connection_minutes is {}{}.",
        options.retry_other_minutes,
        given("retry_other_minutes"),
        options.retry_connection_minutes,
        given("retry_connection_minutes")
    )))
}
