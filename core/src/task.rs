//! A task as its user defined it: its name, its options, and the names that are derived from it.

pub mod alter;
pub mod names;
mod options;
mod reverse;
mod throttle;

pub use names::Names;
pub use options::{ExistingObjects, KNOWN_OPTIONS, Keyless, NotMovable, Options, Stages, Tablespaces, Topology};
pub use reverse::{REVERSE_KEYS, Reverse};
pub use throttle::{MB, THROTTLE_KEYS, Throttle};

use crate::error::{Error, Kind, Result};

/// Checks the name of a task: 1 to 63 bytes, no control characters.
///
/// Errors: `InvalidValue`.
pub fn check_name(name: &str) -> Result<()> {
    let invalid = |why: &str| {
        Err(Error::new(Kind::InvalidValue, "the task's name cannot be used")
            .detail(why)
            .hint("A name has 1 to 63 bytes and no control characters."))
    };
    match name {
        "" => invalid("It is empty."),
        _ if name.len() > 63 => invalid("It is longer than 63 bytes."),
        _ if name.chars().any(char::is_control) => invalid("It holds a control character."),
        _ if name.trim() != name => invalid("It begins or ends with a space."),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_printable() {
        for good in ["move", "Übersiedlung 2", "a\"b'c", &"x".repeat(63)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", " ", "a ", "a\nb", "\u{7f}", &"x".repeat(64), &"ü".repeat(32)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}
