//! The option `throttle`: how fast a task may go at most.

use serde_json::Value;

use crate::error::{Error, Kind, Result};

/// Bytes of a MB in the names of the limits: a million, so that who thinks of 1,048,576 never gets more than asked for.
pub const MB: f64 = 1e6;

/// The keys of the option, as they stand in `docs/settings.md`.
pub const THROTTLE_KEYS: [&str; 5] = ["copy_queries_per_s", "copy_rows_per_s", "copy_mb_per_s", "stream_rows_per_s", "stream_mb_per_s"];

/// Limits of a task, all its sessions together. `None`: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Throttle {
    /// Statements that read rows of the source for the copy, per second.
    pub copy_queries: Option<f64>,
    /// Rows copied per second.
    pub copy_rows: Option<f64>,
    /// Bytes copied per second, as they cross the wire.
    pub copy_bytes: Option<f64>,
    /// Rows of the stream applied per second.
    pub stream_rows: Option<f64>,
    /// Bytes of the stream applied per second, as they cross the wire.
    pub stream_bytes: Option<f64>,
}

impl Throttle {
    /// Reads the option; a key that is left out or null is no limit, and so is null as a whole.
    ///
    /// Errors: `InvalidValue` that names the key.
    pub fn from_json(value: &Value) -> Result<Throttle> {
        let keys = || format!("Its keys are {}.", THROTTLE_KEYS.join(", "));
        let map = match value {
            Value::Null => return Ok(Throttle::default()),
            Value::Object(map) => map,
            _ => {
                let error = Error::new(Kind::InvalidValue, "option \"throttle\" has a value that cannot be used");
                return Err(error.hint(format!("It must be an object such as {{\"copy_mb_per_s\": 50}}, or null. {}", keys())));
            }
        };
        let mut throttle = Throttle::default();
        for (key, value) in map {
            let (limit, unit) = match key.as_str() {
                "copy_queries_per_s" => (&mut throttle.copy_queries, 1.0),
                "copy_rows_per_s" => (&mut throttle.copy_rows, 1.0),
                "copy_mb_per_s" => (&mut throttle.copy_bytes, MB),
                "stream_rows_per_s" => (&mut throttle.stream_rows, 1.0),
                "stream_mb_per_s" => (&mut throttle.stream_bytes, MB),
                _ => return Err(Error::new(Kind::InvalidValue, format!("unknown key \"{key}\" in option \"throttle\"")).hint(keys())),
            };
            *limit = rate(key, value)?.map(|per_s| per_s * unit);
        }
        Ok(throttle)
    }

    /// As the user would write it, without what is no limit; null when nothing is limited.
    pub fn to_json(self) -> Value {
        let limits =
            [self.copy_queries, self.copy_rows, self.copy_bytes.map(|b| b / MB), self.stream_rows, self.stream_bytes.map(|b| b / MB)];
        let map: serde_json::Map<String, Value> =
            THROTTLE_KEYS.iter().zip(limits).filter_map(|(key, limit)| Some(((*key).to_owned(), number(limit?)))).collect();
        if map.is_empty() { Value::Null } else { Value::Object(map) }
    }
}

/// A whole number without a fraction.
fn number(limit: f64) -> Value {
    if limit.fract() == 0.0 && limit < 1e15 { Value::from(limit as u64) } else { Value::from(limit) }
}

fn rate(key: &str, value: &Value) -> Result<Option<f64>> {
    let number = match value {
        Value::Null => return Ok(None),
        value => value.as_f64(),
    };
    let usable = |n: &f64| (LEAST..=MOST).contains(n);
    number.filter(usable).map(Some).ok_or_else(|| {
        Error::new(Kind::InvalidValue, format!("key \"{key}\" of option \"throttle\" has a value that cannot be used"))
            .hint("It must be a positive number from 0.001 to 1e12, or null for no limit. pause_task() stops a task altogether.")
    })
}

/// What is slower than this is a pause.
const LEAST: f64 = 1e-3;

/// What is faster than this is no limit.
const MOST: f64 = 1e12;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Throttle> {
        Throttle::from_json(&serde_json::from_str(json).expect("JSON"))
    }

    #[test]
    fn each_limit_is_read_and_written_as_it_was_given() {
        let json =
            r#"{"copy_mb_per_s": 0.5, "copy_queries_per_s": 2, "copy_rows_per_s": 1000, "stream_mb_per_s": 3, "stream_rows_per_s": 0.25}"#;
        let throttle = read(json).expect("valid");
        let expected = Throttle {
            copy_queries: Some(2.0),
            copy_rows: Some(1000.0),
            copy_bytes: Some(500_000.0),
            stream_rows: Some(0.25),
            stream_bytes: Some(3e6),
        };
        assert_eq!(throttle, expected);
        assert_eq!(throttle.to_json(), serde_json::from_str::<Value>(json).expect("JSON"));
    }

    #[test]
    fn what_is_absent_or_null_is_no_limit() {
        for nothing in ["null", "{}", r#"{"copy_mb_per_s": null}"#] {
            assert_eq!(read(nothing).expect(nothing), Throttle::default());
            assert_eq!(read(nothing).expect(nothing).to_json(), Value::Null);
        }
    }

    #[test]
    fn what_is_no_rate_is_refused_by_name() {
        for bad in ["0", "-1", "\"5\"", "true", "[5]", "1e-9", "1e300"] {
            let error = read(&format!("{{\"copy_rows_per_s\": {bad}}}")).expect_err(bad);
            assert_eq!(error.kind, Kind::InvalidValue, "{bad}");
            assert!(error.message.contains("\"copy_rows_per_s\""), "{}", error.message);
        }
        let error = read(r#"{"copy_mb": 5}"#).expect_err("unknown");
        assert!(error.message.contains("\"copy_mb\"") && error.hint.is_some_and(|h| h.contains("copy_mb_per_s")), "{}", error.message);
        assert!(read("5").is_err());
        assert!(read("[]").is_err());
    }
}
