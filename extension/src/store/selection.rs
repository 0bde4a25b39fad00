//! Which tables a task selects, and whether a role may read them.

use std::collections::HashSet;

use pgrelay_core::{
    Error, Result,
    error::Kind,
    name::{Pattern, Selection, TableName},
    plan::{When, plan},
    task::Options,
};

use super::{catalog, not_null, read};

/// A table that could be selected.
struct Candidate {
    name: TableName,
    may_select: bool,
    rows_hidden: bool,
}

/// What a pattern looks like.
pub const PATTERN_HINT: &str =
    "A pattern is *, schema.* or schema.table; a name that is not in lower case is double-quoted. See \\dt *.* in psql.";

/// How many tables an error lists.
const LISTED: usize = 5;

/// Counts the tables whose rows a task carries and checks that the current user may read every row of each.
///
/// Errors: `UndefinedObject` for a pattern without a table, `InsufficientPrivilege` with the first tables that cannot be read.
pub fn check(include: &[String], selection: &Selection, options: &Options) -> Result<usize> {
    let candidates = read(include_str!("../../../sql/extension/tables.sql"), &[], |r| {
        let name = TableName::new(not_null::<String>(r, 1)?, not_null::<String>(r, 2)?);
        Ok(Candidate { name, may_select: not_null(r, 3)?, rows_hidden: not_null(r, 4)? })
    })?;
    for (text, pattern) in include.iter().zip(&selection.include) {
        if !candidates.iter().any(|c| pattern.matches(&c.name.schema, &c.name.name)) {
            return Err(no_table(text, pattern));
        }
    }
    let is_selected = |c: &&Candidate| selection.matches(&c.name.schema, &c.name.name);
    if !candidates.iter().any(|c| is_selected(&c)) {
        return Err(Error::new(Kind::InvalidValue, "exclude leaves no table").hint("Take a pattern out of exclude."));
    }
    let needed = needed_tables(selection, options)?;
    let selected: Vec<_> = candidates.iter().filter(|c| is_selected(c) || needed.contains(&c.name)).collect();
    let denied: Vec<_> = selected.iter().filter(|c| !c.may_select).map(|c| c.name.quoted()).collect();
    if !denied.is_empty() {
        return Err(Error::new(Kind::InsufficientPrivilege, format!("permission denied for {}", count(denied.len())))
            .detail(format!("You may not SELECT from {}.", listed(&denied)))
            .hint(format!("Run GRANT SELECT ON {} TO your_role, and USAGE on the schema, or exclude what you may not read.", denied[0])));
    }
    let hidden: Vec<_> = selected.iter().filter(|c| c.rows_hidden).map(|c| c.name.quoted()).collect();
    if !hidden.is_empty() {
        return Err(Error::new(Kind::InsufficientPrivilege, format!("row-level security hides rows of {}", count(hidden.len())))
            .detail(format!("Policies apply to you on {}, and a task carries every row.", listed(&hidden)))
            .hint("Have the task created by the tables' owner or a role with BYPASSRLS, or exclude them."));
    }
    Ok(selected.len())
}

/// Whether a task carries the rows of a table that exists.
pub fn carries(selection: &Selection, options: &Options, table: &TableName) -> Result<bool> {
    Ok(selection.matches(&table.schema, &table.name) || needed_tables(selection, options)?.contains(table))
}

/// Tables that come along since a selected object needs them, such as those that a selected view reads: making a view takes no right
/// on them, carrying their rows does. Where everything is selected nothing comes along.
fn needed_tables(selection: &Selection, options: &Options) -> Result<HashSet<TableName>> {
    if selection.include.contains(&Pattern::All) && selection.exclude.is_empty() {
        return Ok(HashSet::new());
    }
    let items = plan(&catalog::load()?, selection, options).items;
    Ok(items.into_iter().filter_map(|item| if let When::Copy(table) = item.when { Some(table) } else { None }).collect())
}

fn no_table(text: &str, pattern: &Pattern) -> Error {
    let error = Error::new(Kind::UndefinedObject, format!("pattern \"{text}\" matches no table"));
    match pattern {
        Pattern::All => error.hint("This database holds no table outside PostgreSQL's and pgrelay's own schemas."),
        _ => {
            error.hint("A pattern is *, schema.* or schema.table; a name that is not in lower case is double-quoted. See \\dt *.* in psql.")
        }
    }
}

fn count(tables: usize) -> String {
    if tables == 1 { "1 table".into() } else { format!("{tables} tables") }
}

fn listed(names: &[String]) -> String {
    let more = names.len().saturating_sub(LISTED);
    let first = names[..names.len() - more].join(", ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}
