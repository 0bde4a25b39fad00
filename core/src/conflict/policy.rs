//! The words of conflict policies, and which one counts.

use super::Kind;
use crate::name::TableName;

/// What a change does to the rows that it collides with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// The task stops before the transaction, its position unmoved.
    #[default]
    Fail,
    /// The change is left out; the rows that are there stay.
    Ignore,
    /// The change takes the place of the rows that are there.
    Overwrite,
    /// As `Overwrite` where the change is newer than what it meets, else as `Ignore`.
    LatestWins,
    /// As `Overwrite` from source to peer, as `Ignore` in the other direction.
    SourcePriority,
}

impl Policy {
    /// All of them.
    pub const ALL: [Policy; 5] = [Policy::Fail, Policy::Ignore, Policy::Overwrite, Policy::LatestWins, Policy::SourcePriority];

    /// As in SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Policy::Fail => "fail",
            Policy::Ignore => "ignore",
            Policy::Overwrite => "overwrite",
            Policy::LatestWins => "latest_wins",
            Policy::SourcePriority => "source_priority",
        }
    }

    /// From its word in SQL.
    pub fn parse(word: &str) -> Option<Policy> {
        Policy::ALL.into_iter().find(|policy| policy.as_str() == word)
    }

    /// Whether a row that the other side wrote last is a conflict to decide, and not only to record.
    pub fn is_strict(self) -> bool {
        matches!(self, Policy::LatestWins | Policy::SourcePriority)
    }
}

/// What an update does that meets no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UpdateMissing {
    /// Its new row is inserted.
    #[default]
    Insert,
    /// It is left out.
    Skip,
    /// The task stops before the transaction.
    Fail,
}

impl UpdateMissing {
    /// All of them.
    pub const ALL: [UpdateMissing; 3] = [UpdateMissing::Insert, UpdateMissing::Skip, UpdateMissing::Fail];

    /// As in SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            UpdateMissing::Insert => "insert",
            UpdateMissing::Skip => "skip",
            UpdateMissing::Fail => "fail",
        }
    }

    /// From its word in SQL.
    pub fn parse(word: &str) -> Option<UpdateMissing> {
        UpdateMissing::ALL.into_iter().find(|u| u.as_str() == word)
    }
}

/// Which way a change goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From source to peer.
    Forward,
    /// From peer to source.
    Reverse,
}

impl Direction {
    /// As in SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Forward => "forward",
            Direction::Reverse => "reverse",
        }
    }

    /// The other one.
    pub fn opposite(self) -> Direction {
        match self {
            Direction::Forward => Direction::Reverse,
            Direction::Reverse => Direction::Forward,
        }
    }

    /// From its word in SQL.
    pub fn parse(word: &str) -> Option<Direction> {
        [Direction::Forward, Direction::Reverse].into_iter().find(|d| d.as_str() == word)
    }
}

/// A policy that counts only for some conflicts of a task: where something is none, for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// By its name on the source.
    pub table: Option<TableName>,
    /// Of the conflict.
    pub kind: Option<Kind>,
    /// Of the change.
    pub direction: Option<Direction>,
    /// What counts there.
    pub policy: Policy,
}

impl Override {
    /// How specific it is: a table counts more than a kind, a kind more than a direction.
    fn weight(&self) -> u8 {
        u8::from(self.table.is_some()) * 4 + u8::from(self.kind.is_some()) * 2 + u8::from(self.direction.is_some())
    }

    fn matches(&self, direction: Direction, table: &TableName, kind: Kind) -> bool {
        self.table.as_ref().is_none_or(|t| t == table)
            && self.kind.is_none_or(|k| k == kind)
            && self.direction.is_none_or(|d| d == direction)
    }
}

/// An option beside the policies, with its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// `strict`.
    Strict(bool),
    /// `update_missing`.
    UpdateMissing(UpdateMissing),
}

impl Setting {
    /// The name of the option.
    pub fn name(self) -> &'static str {
        match self {
            Setting::Strict(_) => "strict",
            Setting::UpdateMissing(_) => "update_missing",
        }
    }

    /// Its value, as in SQL.
    pub fn value(self) -> &'static str {
        match self {
            Setting::Strict(true) => "true",
            Setting::Strict(false) => "false",
            Setting::UpdateMissing(what) => what.as_str(),
        }
    }

    /// From the words in SQL.
    pub fn parse(name: &str, value: &str) -> Option<Setting> {
        let all = [true, false].map(Setting::Strict).into_iter().chain(UpdateMissing::ALL.map(Setting::UpdateMissing));
        all.into_iter().find(|setting| setting.name() == name && setting.value() == value)
    }
}

/// An option that counts only for some changes of a task: where something is none, for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionOverride {
    /// By its name on the source.
    pub table: Option<TableName>,
    /// Of the change.
    pub direction: Option<Direction>,
    /// What counts there.
    pub setting: Setting,
}

/// How the conflicts of a task are decided.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// Where no override matches.
    pub policy: Policy,
    /// A row that the other side wrote last is decided by the policy, and not only recorded; where no option says otherwise.
    pub strict: bool,
    /// What an update does that meets no row; where no option says otherwise.
    pub update_missing: UpdateMissing,
    /// What counts for some conflicts only, in any order.
    pub overrides: Vec<Override>,
    /// Options that count for some changes only, in any order.
    pub options: Vec<OptionOverride>,
}

impl Rules {
    /// The policy for a conflict; the most specific override that matches wins, a table before a kind before a direction.
    pub fn policy(&self, direction: Direction, table: &TableName, kind: Kind) -> Policy {
        let matching = self.overrides.iter().filter(|o| o.matches(direction, table, kind));
        matching.max_by_key(|o| o.weight()).map_or(self.policy, |o| o.policy)
    }

    /// Whether a row of this table that the other side wrote last is decided by the policy.
    pub fn is_strict(&self, direction: Direction, table: &TableName) -> bool {
        let strict = |setting| if let Setting::Strict(strict) = setting { Some(strict) } else { None };
        self.option(direction, table, strict).unwrap_or(self.strict)
    }

    /// Whether it is decided at all, and not only recorded.
    pub fn decides_about_others(&self, direction: Direction, table: &TableName) -> bool {
        let kinds = [Kind::UpdateOriginDiffers, Kind::DeleteOriginDiffers];
        self.is_strict(direction, table) || kinds.into_iter().any(|kind| self.policy(direction, table, kind).is_strict())
    }

    /// What an update of this table does that meets no row.
    pub fn update_missing(&self, direction: Direction, table: &TableName) -> UpdateMissing {
        let missing = |setting| if let Setting::UpdateMissing(what) = setting { Some(what) } else { None };
        self.option(direction, table, missing).unwrap_or(self.update_missing)
    }

    /// The value of the most specific option that matches, a table before a direction.
    fn option<T>(&self, direction: Direction, table: &TableName, value: impl Fn(Setting) -> Option<T>) -> Option<T> {
        let here = |o: &&OptionOverride| o.table.as_ref().is_none_or(|t| t == table) && o.direction.is_none_or(|d| d == direction);
        let matching = self.options.iter().filter(here).filter_map(|o| Some((o, value(o.setting)?)));
        matching.max_by_key(|(o, _)| u8::from(o.table.is_some()) * 2 + u8::from(o.direction.is_some())).map(|(_, value)| value)
    }

    /// Whether `strict` counts anywhere.
    pub fn uses_strict(&self) -> bool {
        self.strict || self.options.iter().any(|o| o.setting == Setting::Strict(true))
    }

    /// Whether some conflict is decided by a policy.
    pub fn uses(&self, policy: Policy) -> bool {
        self.policy == policy || self.overrides.iter().any(|o| o.policy == policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(table: Option<&str>, kind: Option<Kind>, direction: Option<Direction>, policy: Policy) -> Override {
        Override { table: table.map(|t| TableName::new("s", t)), kind, direction, policy }
    }

    #[test]
    fn the_most_specific_policy_wins() {
        let rules = Rules {
            policy: Policy::Fail,
            overrides: vec![
                rule(None, None, Some(Direction::Reverse), Policy::Ignore),
                rule(None, Some(Kind::InsertExists), None, Policy::Overwrite),
                rule(Some("t"), None, None, Policy::LatestWins),
                rule(Some("t"), Some(Kind::UpdateExists), None, Policy::Ignore),
            ],
            ..Rules::default()
        };
        let policy = |direction, table: &str, kind| rules.policy(direction, &TableName::new("s", table), kind);
        assert_eq!(policy(Direction::Forward, "u", Kind::UpdateExists), Policy::Fail);
        assert_eq!(policy(Direction::Reverse, "u", Kind::UpdateExists), Policy::Ignore);
        assert_eq!(policy(Direction::Reverse, "u", Kind::InsertExists), Policy::Overwrite);
        assert_eq!(policy(Direction::Forward, "t", Kind::InsertExists), Policy::LatestWins);
        assert_eq!(policy(Direction::Reverse, "t", Kind::UpdateExists), Policy::Ignore);
    }

    #[test]
    fn the_most_specific_option_wins() {
        let option =
            |table: Option<&str>, direction, setting| OptionOverride { table: table.map(|t| TableName::new("s", t)), direction, setting };
        let rules = Rules {
            options: vec![
                option(Some("t"), None, Setting::UpdateMissing(UpdateMissing::Skip)),
                option(None, Some(Direction::Reverse), Setting::UpdateMissing(UpdateMissing::Fail)),
                option(Some("t"), Some(Direction::Reverse), Setting::Strict(true)),
            ],
            ..Rules::default()
        };
        let missing = |direction, table: &str| rules.update_missing(direction, &TableName::new("s", table));
        assert_eq!(missing(Direction::Forward, "u"), UpdateMissing::Insert);
        assert_eq!(missing(Direction::Reverse, "u"), UpdateMissing::Fail);
        assert_eq!(missing(Direction::Reverse, "t"), UpdateMissing::Skip);
        let strict = |direction| rules.is_strict(direction, &TableName::new("s", "t"));
        assert!(strict(Direction::Reverse) && !strict(Direction::Forward) && rules.uses_strict());
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for setting in [Setting::Strict(false), Setting::UpdateMissing(UpdateMissing::Fail)] {
            assert_eq!(Setting::parse(setting.name(), setting.value()), Some(setting));
        }
        assert_eq!(Setting::parse("strict", "skip"), None);
        assert!(Policy::ALL.into_iter().all(|p| Policy::parse(p.as_str()) == Some(p)));
        assert!(Kind::ALL.into_iter().all(|k| Kind::parse(k.as_str()) == Some(k)));
        assert_eq!(Policy::parse("latest"), None);
        assert_eq!(UpdateMissing::parse("skip"), Some(UpdateMissing::Skip));
        assert_eq!(Direction::parse("reverse"), Some(Direction::Reverse));
    }
}
