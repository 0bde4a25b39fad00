//! What becomes of a row that both sides write at the same time, by the policies of the two directions.

use super::{Direction, Kind, Policy, Rules, UpdateMissing};
use crate::name::TableName;

/// How both sides end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// With the same row.
    Alike(&'static str),
    /// With the same row, but for a row that one side updates and the other deletes.
    AlikeUnlessDeleted(&'static str),
    /// A direction stops, and somebody decides.
    Stops,
    /// With different rows.
    Apart(&'static str),
}

/// How the sides end for a table, or for all that have no policy of their own: the worst of what the kinds of conflict end in.
pub fn converge(rules: &Rules, table: &TableName) -> End {
    let kinds =
        [Kind::InsertExists, Kind::UpdateExists, Kind::MultipleUniqueConflicts, Kind::UpdateOriginDiffers, Kind::DeleteOriginDiffers];
    kinds.into_iter().map(|kind| of_kind(rules, table, kind)).max().unwrap_or(End::Stops)
}

fn of_kind(rules: &Rules, table: &TableName, kind: Kind) -> End {
    let policy = |direction| rules.policy(direction, table, kind);
    let (forward, reverse) = (policy(Direction::Forward), policy(Direction::Reverse));
    // Without strict a row that the other side has written is changed all the same, whatever the policy.
    let gives_way = |direction| policy(direction).is_strict() || kind != Kind::UpdateOriginDiffers || rules.is_strict(direction, table);
    let keeps = |direction| rules.update_missing(direction, table) == UpdateMissing::Skip;
    let end = match (forward, reverse) {
        (Policy::LatestWins, Policy::LatestWins) => return End::Alike("the later commit"),
        (Policy::SourcePriority, Policy::SourcePriority) => return End::Alike("the source"),
        (Policy::LatestWins, _) | (_, Policy::LatestWins) => return End::Apart("one direction decides by time and the other does not"),
        (Policy::Fail, _) | (_, Policy::Fail) if kind == Kind::DeleteOriginDiffers => return End::AlikeUnlessDeleted(""),
        (Policy::Fail, _) | (_, Policy::Fail) => return End::Stops,
        (Policy::Overwrite | Policy::SourcePriority, Policy::Ignore | Policy::SourcePriority) => {
            if !gives_way(Direction::Reverse) {
                return End::Apart("without \"strict\" in the reverse direction updates change places");
            }
            "the source"
        }
        (Policy::Ignore, Policy::Overwrite) => {
            if !gives_way(Direction::Forward) {
                return End::Apart("without \"strict\" in the forward direction updates change places");
            }
            "the peer"
        }
        (Policy::Overwrite | Policy::SourcePriority, Policy::Overwrite) => return End::Apart("each side takes the other's row"),
        (Policy::Ignore, Policy::Ignore | Policy::SourcePriority) => return End::Apart("each side keeps its own row"),
    };
    if keeps(Direction::Forward) && keeps(Direction::Reverse) { End::Alike(end) } else { End::AlikeUnlessDeleted(end) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conflict::{OptionOverride, Override, Setting};

    fn pair(forward: Policy, reverse: Policy) -> Rules {
        let of = |direction, policy| Override { table: None, kind: None, direction: Some(direction), policy };
        Rules { overrides: vec![of(Direction::Forward, forward), of(Direction::Reverse, reverse)], ..Rules::default() }
    }

    #[test]
    fn each_pair_of_policies_ends_as_its_table_says() {
        use Policy::*;
        let table = TableName::new("s", "t");
        let strict = |rules: Rules| Rules { strict: true, ..rules };
        let skip = |rules: Rules| Rules { update_missing: UpdateMissing::Skip, ..rules };
        let end = |rules: &Rules| converge(rules, &table);
        assert_eq!(end(&pair(LatestWins, LatestWins)), End::Alike("the later commit"));
        assert_eq!(end(&pair(SourcePriority, SourcePriority)), End::Alike("the source"));
        assert!(matches!(end(&strict(pair(Overwrite, Overwrite))), End::Apart(_)));
        assert!(matches!(end(&strict(pair(Ignore, Ignore))), End::Apart(_)));
        assert_eq!(end(&strict(pair(Overwrite, Ignore))), End::AlikeUnlessDeleted("the source"));
        assert_eq!(end(&strict(pair(Ignore, Overwrite))), End::AlikeUnlessDeleted("the peer"));
        assert_eq!(end(&skip(strict(pair(Overwrite, Ignore)))), End::Alike("the source"));
        assert!(matches!(end(&pair(Overwrite, Ignore)), End::Apart(_)), "not strict");
        assert_eq!(end(&pair(Fail, Ignore)), End::Stops);
        assert!(matches!(end(&pair(LatestWins, Overwrite)), End::Apart(_)));
    }

    #[test]
    fn a_table_of_its_own_kind_counts() {
        let (table, other) = (TableName::new("s", "t"), TableName::new("s", "u"));
        let mut rules = pair(Policy::LatestWins, Policy::LatestWins);
        rules.overrides.push(Override {
            table: Some(table.clone()),
            kind: Some(Kind::UpdateExists),
            direction: None,
            policy: Policy::Overwrite,
        });
        assert!(matches!(converge(&rules, &table), End::Apart(_)));
        assert_eq!(converge(&rules, &other), End::Alike("the later commit"));
        let mut rules = pair(Policy::Overwrite, Policy::Ignore);
        let strict = Setting::Strict(true);
        rules.options.push(OptionOverride { table: Some(table.clone()), direction: Some(Direction::Reverse), setting: strict });
        assert_eq!(converge(&rules, &table), End::AlikeUnlessDeleted("the source"));
    }
}
