//! What `set_conflict_option` is asked for.

use super::{
    Direction, Setting, UpdateMissing,
    set::{DEFAULT, no_word, one_direction, one_table},
};
use crate::{
    error::{Error, Kind as ErrorKind, Result},
    name::TableName,
};

/// The options that there are.
const OPTIONS: [&str; 2] = ["strict", "update_missing"];

/// An option that is to count from now on, for some changes of a task or for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetOption {
    /// Its name.
    pub option: &'static str,
    /// None takes back what was set for just these.
    pub setting: Option<Setting>,
    /// By its name on the source; none for every table.
    pub table: Option<TableName>,
    /// None for both.
    pub direction: Option<Direction>,
}

impl SetOption {
    /// From the words of a user.
    ///
    /// Errors: `InvalidValue` that lists the words there are.
    pub fn parse(option: &str, value: &str, table: Option<&str>, direction: Option<&str>) -> Result<SetOption> {
        let option = OPTIONS.into_iter().find(|name| *name == option).ok_or_else(|| no_word(option, "option", "Options", &OPTIONS))?;
        let setting = if value == DEFAULT { None } else { Some(Setting::parse(option, value).ok_or_else(|| no_value(option, value))?) };
        let direction = direction.map(one_direction).transpose()?;
        Ok(SetOption { option, setting, table: one_table(table, "an option of conflicts")?, direction })
    }

    /// Whether it is the option of the whole task.
    pub fn is_for_all(&self) -> bool {
        self.table.is_none() && self.direction.is_none()
    }

    /// The value as the options of a task have it; null for its default.
    pub fn json(&self) -> serde_json::Value {
        match self.setting {
            None => serde_json::Value::Null,
            Some(Setting::Strict(strict)) => strict.into(),
            Some(Setting::UpdateMissing(what)) => what.as_str().into(),
        }
    }
}

/// `strict = true, table "shop"."orders", direction reverse`.
impl std::fmt::Display for SetOption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} = {}", self.option, self.setting.map_or(DEFAULT, Setting::value))?;
        if let Some(table) = &self.table {
            write!(f, ", table {}", table.quoted())?;
        }
        match self.direction {
            Some(direction) => write!(f, ", direction {}", direction.as_str()),
            None => Ok(()),
        }
    }
}

fn no_value(option: &str, value: &str) -> Error {
    let words: Vec<&str> = match option {
        "strict" => vec!["true", "false", DEFAULT],
        _ => UpdateMissing::ALL.map(UpdateMissing::as_str).into_iter().chain([DEFAULT]).collect(),
    };
    Error::new(ErrorKind::InvalidValue, format!("\"{value}\" is no value of option \"{option}\""))
        .hint(format!("Values are {}.", words.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_stands_for_all() {
        let all = SetOption::parse("strict", "true", None, None).expect("valid");
        assert!(all.is_for_all() && all.json() == serde_json::Value::Bool(true));
        let one = SetOption::parse("update_missing", "default", Some("shop.\"Orders\""), Some("reverse")).expect("valid");
        assert!(!one.is_for_all() && one.json().is_null());
        assert_eq!(one.to_string(), "update_missing = default, table \"shop\".\"Orders\", direction reverse");
    }

    #[test]
    fn words_that_are_none_list_those_there_are() {
        let hint = |option, value, table| SetOption::parse(option, value, table, None).expect_err("refused").hint.expect("a hint");
        assert_eq!(hint("strickt", "true", None), "Options are strict, update_missing.");
        assert_eq!(hint("strict", "skip", None), "Values are true, false, default.");
        assert_eq!(hint("update_missing", "true", None), "Values are insert, skip, fail, default.");
        assert!(hint("strict", "true", Some("shop.*")).contains("schema.table"));
    }
}
