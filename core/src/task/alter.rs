//! Changing the options of a task: what the new ones are, and which may change when.

use serde_json::{Map, Value};

use super::options::{Options, is_option};
use crate::error::{Error, Kind, Result};

/// Options after a change: keys that are named have the new value, null puts a key back to its default, others stay.
/// The value of a key is replaced as a whole, also where it is an object.
///
/// Errors: as `Options::from_json`; nothing may be stored then.
pub fn merge(old: &Value, changes: Map<String, Value>) -> Result<Value> {
    let mut merged = old.as_object().cloned().unwrap_or_default();
    for (key, value) in changes {
        if value.is_null() && is_option(&key) {
            merged.remove(&key);
        } else {
            merged.insert(key, value);
        }
    }
    let merged = Value::Object(merged);
    Options::from_json(&merged)?;
    Ok(merged)
}

impl Options {
    /// The options in which two differ and that decide what is made on either side: they stay as they are once the task has
    /// begun. Every other option may change at any time.
    pub fn fixed_that_differ(&self, other: &Options) -> Vec<&'static str> {
        // Named one by one: who adds an option has to say here whether it may change under a running task.
        let Options {
            stages,
            topology: _,
            keyless,
            not_movable,
            retry_connection_minutes: _,
            retry_other_minutes: _,
            acknowledge_warnings: _,
            copy_jobs: _,
            index_memory_mb: _,
            copy_chunk_mb: _,
            throttle: _,
            reverse: _,
            tablespaces,
            large_objects,
            existing_objects,
            conflict_policy: _,
            strict: _,
            update_missing: _,
            conflict_retention: _,
        } = self;
        let same = [
            ("stages", *stages == other.stages),
            ("keyless", *keyless == other.keyless),
            ("not_movable", *not_movable == other.not_movable),
            ("tablespaces", *tablespaces == other.tablespaces),
            ("large_objects", *large_objects == other.large_objects),
            ("existing_objects", *existing_objects == other.existing_objects),
        ];
        same.into_iter().filter_map(|(key, same)| (!same).then_some(key)).collect()
    }
}

/// Where a task stands, as far as it matters to a change of options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing works on it and nothing is made on either side.
    Untouched,
    /// It runs, and may make the first thing at any moment.
    Beginning,
    /// Things of it are on the servers.
    Begun,
    /// Its forward direction has come to the stream.
    Streams,
}

/// Whether the options of a task may change from `old` to `new`. `reverse_made`: something of its reverse direction may be on either side.
///
/// Errors: `WrongState` that names the options and says what to do.
pub fn check_change(task: &str, moment: Moment, reverse_made: bool, old: &Options, new: &Options) -> Result<()> {
    check_topology(task, moment, old, new)?;
    if reverse_made && old.is_two_way() && new.is_two_way() && old.reverse.selection != new.reverse.selection {
        return Err(other_tables(task));
    }
    let fixed = old.fixed_that_differ(new);
    let (why, then) = match moment {
        _ if fixed.is_empty() => return Ok(()),
        Moment::Untouched => return Ok(()),
        Moment::Beginning => {
            ("It runs, and may begin at any moment.", "Call pgrelay.pause_task() first, then this, then pgrelay.resume_task().")
        }
        Moment::Begun | Moment::Streams => ("The task has begun.", "Call pgrelay.stop_task() first; start_task() then begins anew."),
    };
    let list: Vec<String> = fixed.iter().map(|key| format!("\"{key}\"")).collect();
    let options = if fixed.len() > 1 { "options" } else { "option" };
    Err(Error::new(Kind::WrongState, format!("{options} {} of task \"{task}\" cannot be changed now", list.join(", ")))
        .detail(format!("It decides what is made on both sides. {why}"))
        .hint(then))
}

/// The direction comes with what it carries, and goes with it.
fn other_tables(task: &str) -> Error {
    Error::new(Kind::WrongState, format!("the reverse direction of task \"{task}\" cannot carry other tables now"))
        .detail("Its publications and its slot are made for those that it carries.")
        .hint(
            "To change its \"throttle\" alone give \"include\" and \"exclude\" as they are. For other tables set \"topology\" to \"one_way\" \
             and \"reverse\" to null once the forward direction runs, wait until pgrelay.task_status has no row of the reverse direction, \
             and make the task two_way again.",
        )
}

/// The reverse direction comes and goes only beside a forward one that runs, or before anything is made: its slot must be older than the
/// first row on the peer, or younger than the last one that the copy writes.
fn check_topology(task: &str, moment: Moment, old: &Options, new: &Options) -> Result<()> {
    if old.topology == new.topology || matches!(moment, Moment::Untouched | Moment::Streams) {
        return Ok(());
    }
    let way = if new.is_two_way() { "get" } else { "lose" };
    Err(Error::new(Kind::WrongState, format!("task \"{task}\" cannot {way} its reverse direction now"))
        .detail("The forward direction does not run yet: the rows are on their way.")
        .hint("Wait with pgrelay.wait_for_state(…, 'running'), or call pgrelay.stop_task() and begin anew."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Value {
        serde_json::from_str(text).expect("JSON")
    }

    fn change(old: &str, changes: &str) -> Result<Value> {
        merge(&json(old), json(changes).as_object().expect("an object").clone())
    }

    #[test]
    fn named_keys_change_null_means_the_default_and_others_stay() {
        let old = r#"{"copy_jobs": 2, "keyless": "full", "throttle": {"copy_mb_per_s": 5, "stream_mb_per_s": 1}}"#;
        let new = change(old, r#"{"copy_jobs": 8, "keyless": null, "throttle": {"copy_rows_per_s": 7}}"#).expect("valid");
        assert_eq!(new, json(r#"{"copy_jobs": 8, "throttle": {"copy_rows_per_s": 7}}"#));
        assert_eq!(change(old, r#"{"throttle": null}"#).expect("valid"), json(r#"{"copy_jobs": 2, "keyless": "full"}"#));
        assert_eq!(change(old, "{}").expect("valid"), json(old));
    }

    #[test]
    fn what_would_not_be_valid_as_a_whole_is_refused() {
        assert!(change("{}", r#"{"copyjobs": null}"#).is_err(), "unknown, also as null");
        assert!(change("{}", r#"{"copy_jobs": 0}"#).is_err());
        let error = change(r#"{"retry_other_minutes": 30}"#, r#"{"retry_connection_minutes": 20}"#).expect_err("not less");
        assert!(error.message.contains("retry_other_minutes"), "{}", error.message);
    }

    #[test]
    fn the_reverse_direction_comes_and_goes_before_anything_is_made_and_once_the_forward_one_runs() {
        let (one, two) = (Options::default(), Options { topology: crate::task::Topology::TwoWay, ..Options::default() });
        for (old, new) in [(&one, &two), (&two, &one)] {
            for moment in [Moment::Untouched, Moment::Streams] {
                assert!(check_change("t", moment, false, old, new).is_ok(), "{moment:?}");
            }
            for moment in [Moment::Beginning, Moment::Begun] {
                let refused = check_change("t", moment, false, old, new).expect_err("too early");
                assert_eq!(refused.kind, Kind::WrongState, "{moment:?}");
                assert!(refused.detail.is_some_and(|d| d.contains("does not run yet")), "{moment:?}");
            }
        }
    }

    #[test]
    fn what_decides_what_is_made_is_fixed_once_begun_and_the_rest_never() {
        let options = |text: &str| Options::from_json(&json(text)).expect("valid");
        let old = Options::default();
        let live = options(
            r#"{"throttle": {"copy_mb_per_s": 5}, "copy_jobs": 8, "retry_other_minutes": 5, "retry_connection_minutes": 60,
                "acknowledge_warnings": true, "conflict_policy": "overwrite", "strict": true, "update_missing": "skip",
                "conflict_retention": 7}"#,
        );
        for moment in [Moment::Untouched, Moment::Beginning, Moment::Begun] {
            assert!(check_change("t", moment, false, &old, &live).is_ok(), "{moment:?}");
        }
        for fixed in [r#"{"stages": ["copy"]}"#, r#"{"keyless": "full"}"#, r#"{"not_movable": "skip"}"#] {
            let new = options(fixed);
            assert!(check_change("t", Moment::Untouched, false, &old, &new).is_ok(), "{fixed}");
            let beginning = check_change("t", Moment::Beginning, false, &old, &new).expect_err(fixed);
            assert!(beginning.hint.is_some_and(|h| h.contains("pause_task")), "{fixed}");
            let begun = check_change("t", Moment::Begun, false, &old, &new).expect_err(fixed);
            assert_eq!(begun.kind, Kind::WrongState);
            assert!(begun.hint.is_some_and(|h| h.contains("stop_task")), "{fixed}");
        }
        assert!(check_change("t", Moment::Begun, false, &old, &options(r#"{"keyless": "error"}"#)).is_ok(), "it is the default");
    }

    #[test]
    fn what_the_reverse_direction_carries_changes_only_while_there_is_none() {
        let options = |text: &str| Options::from_json(&json(text)).expect("valid");
        let old = options(r#"{"topology": "two_way", "reverse": {"exclude": ["a.b"]}}"#);
        let other = options(r#"{"topology": "two_way"}"#);
        let faster = options(r#"{"topology": "two_way", "reverse": {"exclude": ["a.b"], "throttle": {"stream_rows_per_s": 9}}}"#);
        for moment in [Moment::Untouched, Moment::Beginning, Moment::Begun, Moment::Streams] {
            let refused = check_change("t", moment, true, &old, &other).expect_err("it is made");
            assert!(refused.hint.is_some_and(|h| h.contains("one_way")), "{moment:?}");
            assert!(check_change("t", moment, false, &old, &other).is_ok(), "{moment:?}");
            assert!(check_change("t", moment, true, &old, &faster).is_ok(), "{moment:?}");
        }
    }
}
