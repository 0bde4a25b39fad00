//! Whether both sides of a two-way task end with the same rows when they write the same at the same time.

use std::collections::BTreeSet;

use super::{Facts, TableFacts, ok, warning};
use crate::{
    conflict::{End, converge},
    finding::Finding,
    name::TableName,
};

const TASK: &str = "task";
const MEND: &str = "SELECT pgrelay.set_conflict_policy(…, 'latest_wins'); -- or source_priority";

/// Of the task, and of each table that has a policy or an option of its own.
pub(super) fn policies(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "two_way_policies";
    if !facts.options.is_two_way() {
        return;
    }
    let rules = &facts.rules;
    let own: BTreeSet<&TableName> =
        rules.overrides.iter().filter_map(|o| o.table.as_ref()).chain(rules.options.iter().filter_map(|o| o.table.as_ref())).collect();
    let nowhere = TableName::new("", "");
    for (table, object) in std::iter::once((&nowhere, TASK.to_owned())).chain(own.into_iter().map(|t| (t, t.to_string()))) {
        let mend = |message: String| warning(ITEM, object.clone(), message, MEND);
        out.push(match converge(rules, table) {
            End::Alike(who) => ok(ITEM, object, format!("where both sides write the same row, {who} counts on both")),
            End::AlikeUnlessDeleted("") => mend("a row that one side deletes while the other updates it ends on one side only".to_owned()),
            End::AlikeUnlessDeleted(who) => mend(format!(
                "where both sides write the same row, {who} counts on both; but a row that one side deletes while the other updates it \
                 ends on one side only, unless update_missing is \"skip\" both ways"
            )),
            End::Stops => mend("where both sides write the same row, a direction stops until somebody decides".to_owned()),
            End::Apart(why) => mend(format!("where both sides write the same row, they differ afterwards: {why}")),
        });
    }
}

/// What makes a table's rows meet otherwise than by their key.
pub(super) fn tables(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "two_way_tables";
    if !facts.options.is_two_way() {
        return;
    }
    let before = out.len();
    for table in facts.source.tables.iter().filter(|t| t.kind != 'f' && t.is_carried_by(&facts.options.reverse)) {
        let risks = risks(table);
        if !risks.is_empty() {
            let message = format!("what both sides write at the same time may end otherwise than by the row's key: {}", risks.join("; "));
            let fix = "Let each row be written on one side only, or look into pgrelay.conflict for what was decided.";
            out.push(warning(ITEM, format!("{}.{}", table.schema, table.name), message, fix));
        }
    }
    if out.len() == before {
        out.push(ok(ITEM, TASK, "rows of both sides can meet by their keys only"));
    }
}

fn risks(table: &TableFacts) -> Vec<String> {
    let always = table.replica_triggers.iter().filter(|t| t.always).map(|t| format!("trigger \"{}\" fires on both sides", t.name));
    table.risks.iter().cloned().chain(always).collect()
}

/// Two sides that draw the same values insert rows with the same keys.
pub(super) fn sequences(facts: &Facts, out: &mut Vec<Finding>) {
    const ITEM: &str = "two_way_sequences";
    if !facts.options.is_two_way() {
        return;
    }
    let apart = |s: &&super::SequenceFacts| !facts.interleaved.contains(&(s.schema.clone(), s.name.clone()));
    let same: Vec<String> = facts.source.sequences.iter().filter(apart).map(|s| format!("\"{}.{}\"", s.schema, s.name)).collect();
    out.push(if same.is_empty() {
        ok(ITEM, TASK, "source and peer draw other values from the task's sequences")
    } else {
        let some = if same.len() > 5 { format!("{}, …", same[..5].join(", ")) } else { same.join(", ") };
        let message = format!("source and peer draw the same values from {} sequence(s): {some}", same.len());
        warning(ITEM, TASK, message, "SELECT pgrelay.interleave_sequences(…); -- once the task runs")
    });
}
