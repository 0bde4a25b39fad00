//! What the peer keeps (`existing_objects = keep`), and how it differs from what the source has.
//!
//! A difference is a warning, and an error where rows of the source cannot be written.

use std::collections::{HashMap, HashSet};

use super::{Difference, Reached, Way, compare, plan_of};
use crate::{
    catalog::{Catalog, Column, Table},
    finding::{Finding, Severity},
    name::{Selection, quote_ident},
    plan::{Kept, Peer, Rules, kept, lookup::Lookup, with_parts},
};

const ITEM: &str = "existing_objects";

/// What the peer keeps of a plan, with a finding for each difference.
#[derive(Debug, Default)]
pub struct Keeping {
    /// Identities of items that are not made.
    pub kept: Kept,
    /// How they differ.
    pub findings: Vec<Finding>,
}

/// Looks what of the plan the peer has already.
pub fn keep(source: &Catalog, peer: &Catalog, selection: &Selection, rules: Rules<'_>) -> Keeping {
    let wanted = plan_of(source, selection, rules);
    let there = plan_of(peer, &Selection::all(), Rules { peer: Peer::HasAll, ..rules });
    let kept = kept(&wanted, &there);
    let theirs = with_parts(&there, there.items.iter().map(|i| i.identity.as_str()).filter(|i| kept.contains(*i)).collect());
    let mut findings = Vec::new();
    tables(source, peer, &kept, rules, &mut findings);
    let reached = Reached { before_data: true, after_data: true };
    for d in compare(source, peer, selection, rules, reached) {
        let concerns = if d.way == Way::Extra { theirs.contains(&d.identity) } else { kept.contains(&d.identity) };
        findings.extend(concerns.then(|| finding(d)));
    }
    Keeping { kept, findings }
}

fn finding(d: Difference) -> Finding {
    let message = match d.way {
        Way::Missing => "the peer lacks it, though it has what it belongs to; it is not made",
        Way::Extra => "only the peer has it, on an object that both have; it stays",
        Way::Different | Way::Later => "the peer has it, and not as the source has it; it stays as it is",
    };
    Finding { item: ITEM, severity: Severity::Warning, object: d.identity, message: message.to_owned(), fix: d.fix }
}

/// What of the kept tables decides whether rows can be written.
fn tables(source: &Catalog, peer: &Catalog, kept: &Kept, rules: Rules<'_>, out: &mut Vec<Finding>) {
    let (ours, theirs) = (Lookup::new(source, rules.tablespaces), Lookup::new(peer, rules.tablespaces));
    let by_name: HashMap<String, &Table> = peer.tables.iter().map(|t| (t.object.plain(), t)).collect();
    let is_kept = |t: &Table| kept.contains(&format!("table {}", t.object.plain()));
    let kept_oids: HashSet<u32> = source.tables.iter().filter(|t| is_kept(t)).map(|t| t.object.oid).collect();
    for table in &source.tables {
        let name = table.object.plain();
        let here = Of { table: &name, quoted: table.object.quoted() };
        match by_name.get(&name) {
            Some(found) if is_kept(table) && found.kind != table.kind => {
                out.push(here.error("it is partitioned, foreign or ordinary on one side and not on the other", None));
            }
            Some(found) if is_kept(table) => {
                here.columns(ours.columns(table.object.oid), theirs.columns(found.object.oid), out);
            }
            _ if table.bound.is_some() && table.parents.iter().any(|p| kept_oids.contains(p)) => {
                out.push(here.error("the peer has the partitioned table and lacks this partition of it", None));
            }
            _ => {}
        }
    }
}

/// A table both sides have.
struct Of<'a> {
    table: &'a str,
    quoted: String,
}

impl Of<'_> {
    fn error(&self, message: &str, fix: Option<String>) -> Finding {
        let fix = fix.or_else(|| Some("Make the table on the peer like the source's, or leave it out with exclude.".to_owned()));
        Finding { item: ITEM, severity: Severity::Error, object: self.table.to_owned(), message: message.to_owned(), fix }
    }

    fn warning(&self, message: &str, fix: String) -> Finding {
        Finding { severity: Severity::Warning, ..self.error(message, Some(fix)) }
    }

    fn columns(&self, ours: &[Column], theirs: &[Column], out: &mut Vec<Finding>) {
        for column in ours.iter().filter(|c| c.generated.is_none()) {
            let (name, quoted) = (&column.name, quote_ident(&column.name));
            match theirs.iter().find(|t| t.name == *name) {
                None => out.push(self.error(
                    &format!("the peer's table has no column \"{name}\""),
                    Some(format!("ALTER TABLE {} ADD COLUMN {quoted} {};", self.quoted, column.type_name)),
                )),
                Some(found) if found.generated.is_some() => {
                    out.push(self.error(&format!("column \"{name}\" is generated on the peer and not on the source"), None));
                }
                Some(found) if found.type_name != column.type_name => out.push(self.error(
                    &format!("column \"{name}\" has type {} on the peer and {} on the source", found.type_name, column.type_name),
                    Some(format!("ALTER TABLE {} ALTER COLUMN {quoted} TYPE {};", self.quoted, column.type_name)),
                )),
                Some(found) if found.not_null && !column.not_null => out.push(self.warning(
                    &format!("column \"{name}\" is NOT NULL on the peer and not on the source: a row without a value there is refused"),
                    format!("ALTER TABLE {} ALTER COLUMN {quoted} DROP NOT NULL;", self.quoted),
                )),
                Some(_) => {}
            }
        }
        let written = |name: &str| ours.iter().any(|c| c.name == name && c.generated.is_none());
        for column in theirs.iter().filter(|c| c.generated.is_none() && !written(&c.name)) {
            let (name, quoted) = (&column.name, quote_ident(&column.name));
            let filled = !column.not_null || column.default.is_some() || column.identity.is_some();
            let drop_not_null = format!("ALTER TABLE {} ALTER COLUMN {quoted} DROP NOT NULL;", self.quoted);
            out.push(if filled {
                self.warning(
                    &format!("column \"{name}\" is written on the peer only: rows that arrive have its default there"),
                    drop_not_null,
                )
            } else {
                let message = format!("column \"{name}\" is not written by the task and NOT NULL without a default on the peer");
                self.error(&message, Some(drop_not_null))
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, type_name: &str) -> Column {
        Column { name: name.into(), type_name: type_name.into(), ..Column::default() }
    }

    #[test]
    fn a_column_that_rows_cannot_be_written_to_is_an_error_and_one_that_fills_itself_a_warning() {
        let ours = [column("a", "integer"), column("b", "text"), column("c", "text"), column("d", "text")];
        let generated = Column { generated: Some("s".into()), ..column("c", "text") };
        let full = Column { not_null: true, ..column("e", "text") };
        let filled = Column { default: Some("now()".into()), ..full.clone() };
        let theirs = [
            column("a", "bigint"),
            generated,
            Column { not_null: true, ..column("d", "text") },
            full,
            Column { name: "f".into(), ..filled },
        ];
        let mut out = vec![];
        Of { table: "s.t", quoted: "s.t".into() }.columns(&ours, &theirs, &mut out);
        let seen: Vec<String> = out.iter().map(|f| format!("{} {}", f.severity, f.message)).collect();
        for (at, (severity, word)) in
            [("error", "\"a\""), ("error", "\"b\""), ("error", "\"c\""), ("warning", "\"d\""), ("error", "\"e\""), ("warning", "\"f\"")]
                .into_iter()
                .enumerate()
        {
            assert!(seen[at].starts_with(severity) && seen[at].contains(word), "{seen:?}");
        }
    }
}
