//! The option `reverse`: what of a two-way task's reverse direction is otherwise than in the forward one.

use serde_json::Value;

use super::Throttle;
use crate::{
    error::{Error, Kind, Result},
    name::{Pattern, Selection},
};

/// The keys of the option, as they stand in `docs/settings.md`.
pub const REVERSE_KEYS: [&str; 3] = ["include", "exclude", "throttle"];

/// What the reverse direction carries, and how fast. What is not given is as in the forward direction.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reverse {
    /// Which of the task's tables it carries.
    pub selection: Option<Selection>,
    /// `stream_rows_per_s` and `stream_mb_per_s`.
    pub throttle: Option<Throttle>,
}

impl Reverse {
    /// Reads the option; null is as if it were left out.
    ///
    /// Errors: `InvalidValue` that names the key.
    pub fn from_json(value: &Value) -> Result<Reverse> {
        let map = match value {
            Value::Null => return Ok(Reverse::default()),
            Value::Object(map) => map,
            _ => {
                let error = Error::new(Kind::InvalidValue, "option \"reverse\" has a value that cannot be used");
                return Err(error.hint(format!("It must be an object such as {{\"exclude\": [\"public.log\"]}}, or null. {}", keys())));
            }
        };
        if let Some(key) = map.keys().find(|key| !REVERSE_KEYS.contains(&key.as_str())) {
            return Err(Error::new(Kind::InvalidValue, format!("unknown key \"{key}\" in option \"reverse\"")).hint(keys()));
        }
        let given = |key: &str| map.get(key).filter(|value| !value.is_null());
        let (include, exclude) = (given("include").map(|v| patterns("include", v)), given("exclude").map(|v| patterns("exclude", v)));
        let selection = match (include.transpose()?, exclude.transpose()?) {
            (None, None) => None,
            (include, exclude) => Some(Selection::parse(&include.unwrap_or_else(|| vec!["*".to_owned()]), &exclude.unwrap_or_default())?),
        };
        let throttle = given("throttle").map(throttle).transpose()?;
        Ok(Reverse { selection, throttle })
    }

    /// Whether the direction carries a table of the task. `parents`: the partitioned tables that it is a partition of, each as schema
    /// and name.
    pub fn carries<'a>(&self, table: (&'a str, &'a str), parents: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> bool {
        let Some(Selection { include, exclude }) = &self.selection else { return true };
        let is_in = |patterns: &[Pattern]| {
            std::iter::once(table).chain(parents.clone()).any(|(schema, name)| patterns.iter().any(|p| p.matches(schema, name)))
        };
        is_in(include) && !is_in(exclude)
    }
}

fn keys() -> String {
    format!("Its keys are {}.", REVERSE_KEYS.join(", "))
}

fn patterns(key: &str, value: &Value) -> Result<Vec<String>> {
    let list = value.as_array().and_then(|list| list.iter().map(|text| text.as_str().map(str::to_owned)).collect());
    list.ok_or_else(|| {
        Error::new(Kind::InvalidValue, format!("key \"{key}\" of option \"reverse\" has a value that cannot be used"))
            .hint("It must be an array of patterns such as [\"shop.*\", \"public.orders\"].")
    })
}

/// Nothing is copied in this direction.
fn throttle(value: &Value) -> Result<Throttle> {
    let throttle = Throttle::from_json(value)?;
    if throttle.copy_queries.or(throttle.copy_rows).or(throttle.copy_bytes).is_some() {
        return Err(Error::new(Kind::InvalidValue, "option \"reverse\": the reverse direction copies nothing")
            .hint("Its \"throttle\" has the keys stream_rows_per_s and stream_mb_per_s."));
    }
    Ok(throttle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Reverse> {
        Reverse::from_json(&serde_json::from_str(json).expect("JSON"))
    }

    #[test]
    fn what_is_left_out_is_as_in_the_forward_direction() {
        for nothing in ["null", "{}", r#"{"include": null, "throttle": null}"#] {
            assert_eq!(read(nothing).expect(nothing), Reverse::default());
        }
        let no_limit = read(r#"{"throttle": {}}"#).expect("valid").throttle;
        assert_eq!(no_limit, Some(Throttle::default()), "no limit, whatever the forward direction has");
    }

    #[test]
    fn tables_are_chosen_by_their_names_and_partitions_also_by_those_of_their_parents() {
        let carries =
            |json: &str, table, parents: &[(&'static str, &'static str)]| read(json).expect(json).carries(table, parents.iter().copied());
        assert!(carries("{}", ("s", "t"), &[]));
        assert!(carries(r#"{"exclude": ["s.u"]}"#, ("s", "t"), &[]));
        assert!(!carries(r#"{"exclude": ["s.*"]}"#, ("s", "t"), &[]));
        assert!(!carries(r#"{"include": ["s.u"]}"#, ("s", "t"), &[]));
        assert!(carries(r#"{"include": ["s.all"]}"#, ("s", "part"), &[("s", "all")]));
        assert!(!carries(r#"{"exclude": ["s.all"]}"#, ("s", "part"), &[("s", "all")]));
        assert!(!carries(r#"{"include": ["s.all"], "exclude": ["s.part"]}"#, ("s", "part"), &[("s", "all")]));
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (json, named) in [
            ("[]", "\"reverse\""),
            (r#"{"tables": []}"#, "\"tables\""),
            (r#"{"include": "s.t"}"#, "\"include\""),
            (r#"{"exclude": [1]}"#, "\"exclude\""),
            (r#"{"include": []}"#, "include selects nothing"),
            (r#"{"exclude": ["t"]}"#, "\"t\""),
            (r#"{"throttle": {"copy_mb_per_s": 1}}"#, "copies nothing"),
            (r#"{"throttle": {"stream_rows_per_s": 0}}"#, "\"stream_rows_per_s\""),
        ] {
            let error = read(json).expect_err(json);
            assert_eq!(error.kind, Kind::InvalidValue, "{json}");
            assert!(error.message.contains(named), "{json}: {}", error.message);
            assert!(error.hint.is_some(), "{json}");
        }
    }
}
