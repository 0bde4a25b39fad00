//! The plan of a selection, from the live catalogs: `dependency_order` and `schema_ddl`. They change nothing.

use pgrelay_core::{
    Error, Result,
    error::Kind,
    finding::Severity,
    name::Selection,
    plan::{Item, Plan, Section, plan},
    task::Options,
};
use pgrx::{iter::TableIterator, prelude::*};

use crate::{
    report::{or_raise, required_list, warn},
    store::catalog,
};

type Patterns = Option<Vec<Option<String>>>;

/// How many findings a warning lists.
const LISTED: usize = 10;

// The macro must read Option in the arguments' types: a function without one is STRICT, and NULL would return nothing.

/// The objects of a selection in the order in which they are made, with the reason of each.
#[pg_extern(schema = "pgrelay")]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn dependency_order(
    include: default!(Option<Vec<Option<String>>>, "'{*}'"),
    exclude: default!(Option<Vec<Option<String>>>, "'{}'"),
) -> TableIterator<
    'static,
    (
        name!(ordinal, i32),
        name!(section, String),
        name!(kind, String),
        name!(identity, String),
        name!(depends_on, Vec<String>),
        name!(reason, String),
    ),
> {
    let plan = or_raise(plan_of(include, exclude));
    warn_of_findings(&plan);
    TableIterator::new(plan.items.into_iter().map(|i| (i.ordinal, i.section.to_string(), i.kind, i.identity, i.depends_on, i.reason)))
}

/// The DDL of a selection, in order; `section` NULL stands for all.
#[pg_extern(schema = "pgrelay")]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::type_complexity)]
fn schema_ddl(
    include: default!(Option<Vec<Option<String>>>, "'{*}'"),
    exclude: default!(Option<Vec<Option<String>>>, "'{}'"),
    section: default!(Option<&str>, "NULL"),
) -> TableIterator<'static, (name!(ordinal, i32), name!(section, String), name!(kind, String), name!(identity, String), name!(ddl, String))>
{
    let section = or_raise(section.map(read_section).transpose());
    let plan = or_raise(plan_of(include, exclude));
    warn_of_findings(&plan);
    let wanted = plan.items.into_iter().filter(move |i| section.is_none_or(|s| s == i.section) && !(i.ddl.is_empty() && i.then.is_none()));
    TableIterator::new(wanted.map(|i| (i.ordinal, i.section.to_string(), i.kind.clone(), i.identity.clone(), ddl(i))))
}

/// Both statements of an item, as they follow one another.
fn ddl(item: Item) -> String {
    match item.then {
        Some(then) if item.ddl.is_empty() => then,
        Some(then) => format!("{}\n{then}", item.ddl),
        None => item.ddl,
    }
}

fn read_section(word: &str) -> Result<Section> {
    let all = [Section::PreData, Section::Data, Section::PostData];
    all.into_iter().find(|s| s.to_string() == word).ok_or_else(|| {
        Error::new(Kind::InvalidValue, format!("\"{word}\" is not a section")).hint("Sections are pre_data, data, post_data; NULL is all.")
    })
}

fn plan_of(include: Patterns, exclude: Patterns) -> Result<Plan> {
    let include = required_list("include", include)?;
    let exclude = required_list("exclude", exclude)?;
    let selection = Selection::parse(&include, &exclude)?;
    for (text, pattern) in include.iter().zip(&selection.include) {
        catalog::check_pattern(text, pattern)?;
    }
    Ok(plan(&catalog::load()?, &selection, &Options::default()))
}

/// What a plan leaves out is no secret.
fn warn_of_findings(plan: &Plan) {
    let found: Vec<_> = plan.findings.iter().filter(|f| f.severity != Severity::Ok).collect();
    if found.is_empty() {
        return;
    }
    let mut lines: Vec<_> = found.iter().take(LISTED).map(|f| format!("{}: {}", f.object, f.message)).collect();
    if found.len() > LISTED {
        lines.push(format!("and {} more", found.len() - LISTED));
    }
    let count = if found.len() == 1 { "1 finding".to_owned() } else { format!("{} findings", found.len()) };
    warn(
        Error::new(Kind::NotSupported, format!("the plan has {count}"))
            .detail(lines.join("\n"))
            .hint("A precheck of a task lists them with what mends each."),
    );
}
