//! Conflicts: what a change meets on the other side, and what is done about it.
//!
//! `policy` holds the words and which policy counts for a table and kind; `decide` turns what a change met into what is to be
//! done; `set` reads what a user wants of it. Finding out what it met, doing it and recording it are the applier's.

mod converge;
mod decide;
mod policy;
mod set;
mod set_option;

pub use converge::{End, converge};
pub use decide::{Action, Change, Decision, Gone, Met, Operation, Writer, decide, remember_deletions, remembers};
pub use policy::{Direction, OptionOverride, Override, Policy, Rules, Setting, UpdateMissing};
pub use set::Set;
pub use set_option::SetOption;

/// What kind of conflict it is, by the names of PostgreSQL 18 (`conflict.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// An insert meets a row with the value of a unique key.
    InsertExists,
    /// An update meets the row, and gives it the value of a unique key that another row has.
    UpdateExists,
    /// An update meets no row.
    UpdateMissing,
    /// An update meets a row that the other side wrote last.
    UpdateOriginDiffers,
    /// A delete meets no row.
    DeleteMissing,
    /// A delete meets a row that the other side wrote last.
    DeleteOriginDiffers,
    /// An insert or update meets several rows by several unique keys.
    MultipleUniqueConflicts,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 7] = [
        Kind::InsertExists,
        Kind::UpdateExists,
        Kind::UpdateMissing,
        Kind::UpdateOriginDiffers,
        Kind::DeleteMissing,
        Kind::DeleteOriginDiffers,
        Kind::MultipleUniqueConflicts,
    ];

    /// As in SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::InsertExists => "insert_exists",
            Kind::UpdateExists => "update_exists",
            Kind::UpdateMissing => "update_missing",
            Kind::UpdateOriginDiffers => "update_origin_differs",
            Kind::DeleteMissing => "delete_missing",
            Kind::DeleteOriginDiffers => "delete_origin_differs",
            Kind::MultipleUniqueConflicts => "multiple_unique_conflicts",
        }
    }

    /// From its word in SQL.
    pub fn parse(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}
