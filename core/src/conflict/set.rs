//! What `set_conflict_policy` is asked for.

use super::{Direction, Kind, Policy};
use crate::{
    error::{Error, Kind as ErrorKind, Result},
    name::{Pattern, TableName},
};

/// The word that takes a policy back.
pub(super) const DEFAULT: &str = "default";

/// A policy that is to count from now on, for some conflicts of a task or for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// None takes back what was set for just these.
    pub policy: Option<Policy>,
    /// By its name on the source; none for every table.
    pub table: Option<TableName>,
    /// None for every kind.
    pub kind: Option<Kind>,
    /// None for both.
    pub direction: Option<Direction>,
}

impl Set {
    /// From the words of a user.
    ///
    /// Errors: `InvalidValue` that lists the words there are.
    pub fn parse(policy: &str, table: Option<&str>, kind: Option<&str>, direction: Option<&str>) -> Result<Set> {
        let policy = match policy {
            DEFAULT => None,
            word => {
                let words: Vec<&str> = Policy::ALL.map(Policy::as_str).into_iter().chain([DEFAULT]).collect();
                Some(Policy::parse(word).ok_or_else(|| no_word(word, "policy", "Policies", &words))?)
            }
        };
        let table = one_table(table, "a policy")?;
        let kind = kind.map(decided_kind).transpose()?;
        let direction = direction.map(one_direction).transpose()?;
        Ok(Set { policy, table, kind, direction })
    }

    /// Whether it is the policy of the whole task.
    pub fn is_for_all(&self) -> bool {
        self.table.is_none() && self.kind.is_none() && self.direction.is_none()
    }
}

/// `overwrite, table "shop"."orders", kind insert_exists`.
impl std::fmt::Display for Set {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.policy.map_or(DEFAULT, Policy::as_str))?;
        if let Some(table) = &self.table {
            write!(f, ", table {}", table.quoted())?;
        }
        if let Some(kind) = self.kind {
            write!(f, ", kind {}", kind.as_str())?;
        }
        match self.direction {
            Some(direction) => write!(f, ", direction {}", direction.as_str()),
            None => Ok(()),
        }
    }
}

/// A table, or none for every table. `what`: what is set for it.
pub(super) fn one_table(table: Option<&str>, what: &str) -> Result<Option<TableName>> {
    match table.map(Pattern::parse).transpose()? {
        None => Ok(None),
        Some(Pattern::Table(table)) => Ok(Some(table)),
        Some(_) => Err(Error::new(ErrorKind::InvalidValue, format!("{what} is set for one table or for all"))
            .hint("Give schema.table, or leave \"table\" out for all.")),
    }
}

pub(super) fn one_direction(word: &str) -> Result<Direction> {
    let directions = [Direction::Forward, Direction::Reverse].map(Direction::as_str);
    Direction::parse(word).ok_or_else(|| no_word(word, "direction", "Directions", &directions))
}

/// A kind that a policy decides about: the others have one outcome, or an option of their own.
fn decided_kind(word: &str) -> Result<Kind> {
    match Kind::parse(word) {
        Some(Kind::UpdateMissing) => Err(Error::new(ErrorKind::InvalidValue, "no policy decides about update_missing")
            .hint("Set the option \"update_missing\" with pgrelay.set_conflict_option().")),
        Some(Kind::DeleteMissing) => Err(Error::new(ErrorKind::InvalidValue, "no policy decides about delete_missing")
            .detail("A delete that meets no row has nothing to do: it is recorded and counted.")
            .hint("Leave \"kind\" out, or give another.")),
        Some(kind) => Ok(kind),
        None => {
            let decided = Kind::ALL.into_iter().filter(|kind| !matches!(kind, Kind::UpdateMissing | Kind::DeleteMissing));
            Err(no_word(word, "kind", "Kinds", &decided.map(Kind::as_str).collect::<Vec<_>>()))
        }
    }
}

pub(super) fn no_word(given: &str, what: &str, plural: &str, words: &[&str]) -> Error {
    let article = if what.starts_with('o') { "an" } else { "a" };
    Error::new(ErrorKind::InvalidValue, format!("\"{given}\" is not {article} {what} of conflicts"))
        .hint(format!("{plural} are {}.", words.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_stands_for_all() {
        let all = Set::parse("overwrite", None, None, None).expect("valid");
        assert!(all.is_for_all() && all.policy == Some(Policy::Overwrite));
        let one = Set::parse("default", Some("shop.\"Orders\""), Some("insert_exists"), Some("reverse")).expect("valid");
        assert!(!one.is_for_all());
        assert_eq!(one.policy, None);
        assert_eq!(one.to_string(), "default, table \"shop\".\"Orders\", kind insert_exists, direction reverse");
    }

    #[test]
    fn words_that_are_none_list_those_there_are() {
        let hint = |policy, table, kind, direction| Set::parse(policy, table, kind, direction).expect_err("refused").hint.expect("a hint");
        assert_eq!(hint("latest", None, None, None), "Policies are fail, ignore, overwrite, latest_wins, source_priority, default.");
        assert!(hint("fail", Some("shop.*"), None, None).contains("schema.table"));
        assert!(hint("fail", None, Some("insert"), None).starts_with("Kinds are insert_exists, update_exists, update_origin_differs,"));
        assert!(hint("fail", None, Some("update_missing"), None).contains("set_conflict_option"));
        assert_eq!(hint("fail", None, None, Some("both")), "Directions are forward, reverse.");
    }
}
