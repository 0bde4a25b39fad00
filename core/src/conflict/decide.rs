//! What is done about what a change met.
//!
//! | change | meets | kind | fail | ignore | overwrite |
//! |---|---|---|---|---|---|
//! | insert | colliding rows | insert_exists | stop | leave out | takes their place |
//! | update | no row | update_missing | by `update_missing` | likewise | likewise |
//! | update | no row, colliding rows | insert_exists | stop | leave out | as an insert |
//! | update | its row, colliding rows | update_exists | stop | leave out | takes their place |
//! | update | its row, written by the other side | update_origin_differs | apply; strict: stop | apply; strict: leave out | apply |
//! | delete | no row | delete_missing | leave out | leave out | leave out |
//! | delete | its row, written by the other side | delete_origin_differs | apply | apply | apply |
//!
//! Several colliding rows are `multiple_unique_conflicts`. `latest_wins` and `source_priority` are strict overwrite or ignore, as
//! times or the direction say, for deletes too; a row that was deleted here and is remembered counts for them as one that is met.
//! An update that changes the key is for them a deletion of the old row and an insert of the new one, if both cannot be done.

use super::{Direction, Kind, Policy, Rules, UpdateMissing};
use crate::name::TableName;

/// What a change does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A new row.
    Insert,
    /// New values of a row.
    Update,
    /// A row goes.
    Delete,
}

impl Operation {
    /// As in SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Insert => "insert",
            Operation::Update => "update",
            Operation::Delete => "delete",
        }
    }
}

/// Who wrote a row last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// The change's own direction: it comes after that anyway.
    Own,
    /// Somebody else, at a commit time in microseconds where the server knows it.
    Other(Option<i64>),
    /// The server does not tell, so nothing can be said about origins.
    Unknown,
}

/// A row that a change met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Met {
    /// Who wrote it last.
    pub writer: Writer,
}

/// An incoming change, as far as it matters to a decision.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// What it does.
    pub operation: Operation,
    /// To which table.
    pub table: &'a TableName,
    /// Which way it goes.
    pub direction: Direction,
    /// When it was committed, in microseconds.
    pub committed: i64,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The change as it is; of an update that met no row, its new row is inserted.
    Apply,
    /// The colliding rows give way to the change.
    Replace,
    /// Nothing.
    Skip,
    /// The transaction is not applied and the task stops.
    Fail,
}

impl Action {
    /// The word for it in the record of a conflict.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Apply => "applied",
            Action::Replace => "overwritten",
            Action::Skip => "ignored",
            Action::Fail => "failed",
        }
    }
}

/// What a change met, if it is a conflict, and what is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// None where there is no conflict. `UpdateMissing` together with colliding rows is told as the collision.
    pub conflict: Option<(Kind, Policy)>,
    /// Whether the update met no row, beside another conflict.
    pub update_missing: bool,
    /// The row was deleted later.
    pub by_deletion: bool,
    /// What is to be done.
    pub action: Action,
}

/// What is remembered of deletions where a change comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gone {
    /// The last deletion of a row with the key of the new row.
    pub new: Option<Met>,
    /// Deletions are remembered, so a row that is missing was deleted, and nothing has to be guessed.
    pub is_known: bool,
}

/// Decides about a change that met `row`, the row it is about (none for an insert), and `colliding`, the other rows that hold a
/// value of a unique key of its new row. `gone`: of an insert, of an update that met no row, or that changes the key.
pub fn decide(rules: &Rules, change: Change<'_>, row: Option<Met>, colliding: &[Met], gone: Gone) -> Decision {
    let policy = |kind| rules.policy(change.direction, change.table, kind);
    let plain = |action| Decision { conflict: None, update_missing: false, by_deletion: false, action };
    let told = |kind, action| Decision { conflict: Some((kind, policy(kind))), update_missing: false, by_deletion: false, action };
    match (change.operation, row) {
        (Operation::Delete, None) => told(Kind::DeleteMissing, Action::Skip),
        (Operation::Delete, Some(met)) => match met.writer {
            Writer::Own | Writer::Unknown => plain(Action::Apply),
            Writer::Other(_) => {
                let kind = Kind::DeleteOriginDiffers;
                told(kind, if wins(policy(kind), change, &[met]) { Action::Apply } else { Action::Skip })
            }
        },
        (Operation::Insert | Operation::Update, row) if is_older(rules, change, gone.new) => {
            let kind = match (change.operation, row) {
                (Operation::Insert, _) => Kind::InsertExists,
                (_, None) => Kind::UpdateMissing,
                (_, Some(_)) => Kind::UpdateExists,
            };
            Decision { by_deletion: true, ..told(kind, Action::Skip) }
        }
        (Operation::Insert, _) if colliding.is_empty() => plain(Action::Apply),
        (Operation::Update, None) if colliding.is_empty() && remembers(rules, change) && gone.is_known => {
            told(Kind::UpdateMissing, Action::Apply)
        }
        (Operation::Update, None) if colliding.is_empty() => told(
            Kind::UpdateMissing,
            match rules.update_missing(change.direction, change.table) {
                UpdateMissing::Insert => Action::Apply,
                UpdateMissing::Skip => Action::Skip,
                UpdateMissing::Fail => Action::Fail,
            },
        ),
        (Operation::Update, Some(met)) if colliding.is_empty() => match met.writer {
            Writer::Own | Writer::Unknown => plain(Action::Apply),
            Writer::Other(_) => {
                let kind = Kind::UpdateOriginDiffers;
                told(
                    kind,
                    if rules.is_strict(change.direction, change.table) || policy(kind).is_strict() {
                        by(policy(kind), change, &[met])
                    } else {
                        Action::Apply
                    },
                )
            }
        },
        (operation, row) => {
            let kind = match (colliding.len(), operation, row) {
                (1, Operation::Update, Some(_)) => Kind::UpdateExists,
                (1, ..) => Kind::InsertExists,
                _ => Kind::MultipleUniqueConflicts,
            };
            let update_missing = operation == Operation::Update && row.is_none();
            let is_guess = update_missing && !(remembers(rules, change) && gone.is_known);
            let action = match rules.update_missing(change.direction, change.table) {
                UpdateMissing::Skip if is_guess => Action::Skip,
                UpdateMissing::Fail if is_guess => Action::Fail,
                _ => {
                    let met: Vec<Met> = colliding.iter().copied().chain(row).collect();
                    match by(policy(kind), change, &met) {
                        Action::Apply => Action::Replace,
                        other => other,
                    }
                }
            };
            Decision { conflict: Some((kind, policy(kind))), update_missing, by_deletion: false, action }
        }
    }
}

/// Whether it matters to a change of this table that a row with its key was deleted on the side that it comes to.
pub fn remembers(rules: &Rules, change: Change<'_>) -> bool {
    let kind = if change.operation == Operation::Insert { Kind::InsertExists } else { Kind::UpdateMissing };
    rules.policy(change.direction, change.table, kind).is_strict()
}

/// Whether deletions of a table's rows matter to any change of it that comes this way.
pub fn remember_deletions(rules: &Rules, direction: Direction, table: &TableName) -> bool {
    [Kind::InsertExists, Kind::UpdateMissing].into_iter().any(|kind| rules.policy(direction, table, kind).is_strict())
}

/// Whether the row of a change was deleted later than that.
fn is_older(rules: &Rules, change: Change<'_>, gone: Option<Met>) -> bool {
    let kind = if change.operation == Operation::Insert { Kind::InsertExists } else { Kind::UpdateMissing };
    gone.is_some_and(|gone| remembers(rules, change) && !wins(rules.policy(change.direction, change.table, kind), change, &[gone]))
}

/// What a policy says about a collision; `Apply` stands for the incoming change.
fn by(policy: Policy, change: Change<'_>, met: &[Met]) -> Action {
    match policy {
        Policy::Fail => Action::Fail,
        Policy::Ignore => Action::Skip,
        _ if wins(policy, change, met) => Action::Apply,
        _ => Action::Skip,
    }
}

/// Whether the change wins over what it met. Only `latest_wins` and `source_priority` ever say no.
fn wins(policy: Policy, change: Change<'_>, met: &[Met]) -> bool {
    match policy {
        Policy::Fail | Policy::Ignore | Policy::Overwrite => true,
        Policy::SourcePriority => change.direction == Direction::Forward,
        Policy::LatestWins => met.iter().all(|met| match met.writer {
            Writer::Own | Writer::Unknown | Writer::Other(None) => true,
            // At the same time the source's row wins.
            Writer::Other(Some(at)) => change.committed > at || (change.committed == at && change.direction == Direction::Forward),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Met = Met { writer: Writer::Own };
    const UNKNOWN: Met = Met { writer: Writer::Unknown };

    fn other(at: i64) -> Met {
        Met { writer: Writer::Other(Some(at)) }
    }

    fn deleted_at(at: i64) -> Gone {
        Gone { new: Some(other(at)), is_known: true }
    }

    fn rules(policy: Policy) -> Rules {
        Rules { policy, ..Rules::default() }
    }

    /// A forward change committed at 100.
    fn met(rules: &Rules, operation: Operation, row: Option<Met>, colliding: &[Met]) -> (Option<Kind>, Action) {
        let table = TableName::new("s", "t");
        let change = Change { operation, table: &table, direction: Direction::Forward, committed: 100 };
        let decision = decide(rules, change, row, colliding, Gone::default());
        (decision.conflict.map(|(kind, _)| kind), decision.action)
    }

    #[test]
    fn each_policy_does_to_each_case_what_its_table_says() {
        use {Action::*, Operation::*};
        let differs = Some(other(50));
        // Operation, its row, colliding rows: kind; then fail, ignore, overwrite.
        type Case<'a> = (Operation, Option<Met>, &'a [Met], Option<Kind>, [Action; 3]);
        let cases: [Case<'_>; 12] = [
            (Insert, None, &[], None, [Apply, Apply, Apply]),
            (Insert, None, &[UNKNOWN], Some(Kind::InsertExists), [Fail, Skip, Replace]),
            (Insert, None, &[OWN, UNKNOWN], Some(Kind::MultipleUniqueConflicts), [Fail, Skip, Replace]),
            (Update, None, &[], Some(Kind::UpdateMissing), [Apply, Apply, Apply]),
            (Update, None, &[UNKNOWN], Some(Kind::InsertExists), [Fail, Skip, Replace]),
            (Update, Some(OWN), &[], None, [Apply, Apply, Apply]),
            (Update, Some(UNKNOWN), &[], None, [Apply, Apply, Apply]),
            (Update, Some(OWN), &[UNKNOWN], Some(Kind::UpdateExists), [Fail, Skip, Replace]),
            (Update, differs, &[], Some(Kind::UpdateOriginDiffers), [Apply, Apply, Apply]),
            (Delete, None, &[], Some(Kind::DeleteMissing), [Skip, Skip, Skip]),
            (Delete, Some(OWN), &[], None, [Apply, Apply, Apply]),
            (Delete, differs, &[], Some(Kind::DeleteOriginDiffers), [Apply, Apply, Apply]),
        ];
        for (operation, row, colliding, kind, actions) in cases {
            for (policy, action) in [Policy::Fail, Policy::Ignore, Policy::Overwrite].into_iter().zip(actions) {
                assert_eq!(
                    met(&rules(policy), operation, row, colliding),
                    (kind, action),
                    "{operation:?} {row:?} {colliding:?} {policy:?}"
                );
            }
        }
    }

    #[test]
    fn strict_decides_about_a_row_that_the_other_side_wrote() {
        for (policy, action) in [(Policy::Fail, Action::Fail), (Policy::Ignore, Action::Skip), (Policy::Overwrite, Action::Apply)] {
            let strict = Rules { strict: true, ..rules(policy) };
            assert_eq!(met(&strict, Operation::Update, Some(other(50)), &[]), (Some(Kind::UpdateOriginDiffers), action));
            assert_eq!(met(&strict, Operation::Update, Some(OWN), &[]), (None, Action::Apply));
        }
    }

    #[test]
    fn update_missing_is_an_option_of_its_own() {
        for (option, action) in
            [(UpdateMissing::Insert, Action::Replace), (UpdateMissing::Skip, Action::Skip), (UpdateMissing::Fail, Action::Fail)]
        {
            let rules = Rules { update_missing: option, ..rules(Policy::Overwrite) };
            assert_eq!(met(&rules, Operation::Update, None, &[UNKNOWN]).1, action, "{option:?}");
            let alone = if option == UpdateMissing::Insert { Action::Apply } else { action };
            assert_eq!(met(&rules, Operation::Update, None, &[]), (Some(Kind::UpdateMissing), alone), "{option:?}");
        }
    }

    #[test]
    fn the_latest_commit_wins_and_an_unknown_time_is_the_oldest() {
        let latest = rules(Policy::LatestWins);
        for operation in [Operation::Update, Operation::Delete] {
            assert_eq!(met(&latest, operation, Some(other(99)), &[]).1, Action::Apply, "{operation:?}");
            assert_eq!(met(&latest, operation, Some(other(100)), &[]).1, Action::Apply, "the source's");
            assert_eq!(met(&latest, operation, Some(other(101)), &[]).1, Action::Skip, "{operation:?}");
            assert_eq!(met(&latest, operation, Some(Met { writer: Writer::Other(None) }), &[]).1, Action::Apply);
        }
        assert_eq!(met(&latest, Operation::Insert, None, &[other(50), other(101)]).1, Action::Skip, "any newer row");
        assert_eq!(met(&latest, Operation::Insert, None, &[other(50), other(99)]).1, Action::Replace);
        assert_eq!(met(&latest, Operation::Update, Some(other(101)), &[other(50)]).1, Action::Skip, "its own row is newer");
    }

    #[test]
    fn a_row_that_was_deleted_later_stays_away_and_an_earlier_deletion_does_not_matter() {
        let table = TableName::new("s", "t");
        let after = |policy, operation, direction, deleted| {
            let change = Change { operation, table: &table, direction, committed: 100 };
            let decision = decide(&rules(policy), change, None, &[], deleted_at(deleted));
            (decision.conflict.map(|(kind, _)| kind), decision.action)
        };
        use {
            Action::Skip,
            Direction::{Forward, Reverse},
            Operation::{Insert, Update},
        };
        let latest = Policy::LatestWins;
        assert_eq!(after(latest, Insert, Forward, 101), (Some(Kind::InsertExists), Skip));
        assert_eq!(after(latest, Update, Forward, 101), (Some(Kind::UpdateMissing), Skip));
        assert_eq!(after(latest, Insert, Forward, 99), (None, Action::Apply));
        assert_eq!(after(latest, Update, Forward, 99), (Some(Kind::UpdateMissing), Action::Apply));
        assert_eq!(after(latest, Update, Forward, 100).1, Action::Apply, "the source's");
        assert_eq!(after(latest, Update, Reverse, 100).1, Skip, "the source's");
        assert_eq!(after(Policy::SourcePriority, Update, Forward, 101).1, Action::Apply);
        assert_eq!(after(Policy::SourcePriority, Update, Reverse, 99).1, Skip);
        // The others know nothing of deletions.
        assert_eq!(after(Policy::Ignore, Insert, Forward, 101), (None, Action::Apply));
        assert_eq!(after(Policy::Overwrite, Update, Forward, 101), (Some(Kind::UpdateMissing), Action::Apply));
        let skip = Rules { update_missing: UpdateMissing::Skip, ..rules(latest) };
        let change = Change { operation: Update, table: &table, direction: Forward, committed: 100 };
        assert_eq!(decide(&skip, change, None, &[], deleted_at(99)).action, Action::Apply, "what is known is not guessed");
    }

    #[test]
    fn both_directions_decide_alike() {
        let table = TableName::new("s", "t");
        for policy in [Policy::LatestWins, Policy::SourcePriority] {
            for (source, peer) in [(10, 20), (20, 10), (10, 10)] {
                // The same two writes meet on both sides: exactly one side gives way.
                let forward = Change { operation: Operation::Update, table: &table, direction: Direction::Forward, committed: source };
                let reverse = Change { direction: Direction::Reverse, committed: peer, ..forward };
                let on_peer = decide(&rules(policy), forward, Some(other(peer)), &[], Gone::default()).action;
                let on_source = decide(&rules(policy), reverse, Some(other(source)), &[], Gone::default()).action;
                assert!((on_peer == Action::Apply) != (on_source == Action::Apply), "{policy:?} {source} {peer}");
            }
        }
    }
}
