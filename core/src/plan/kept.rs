//! What the peer has already and keeps (`existing_objects = keep`): such objects are not made, nor anything that is a part of one.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{Item, Plan, When, draft::derived_class};
use crate::name::TableName;

/// Identities of the items that a task leaves to the peer.
pub type Kept = BTreeSet<String>;

/// Which items of `plan` the peer has, by its own plan `there` of everything; with each what is a part of it, as an index, a
/// constraint, a trigger or the grants, whether the peer has that or not.
///
/// Extensions are never among them: they are taken as they are whatever the option says, and their contents are carried.
pub fn kept(plan: &Plan, there: &Plan) -> Kept {
    let there: HashSet<&str> = there.items.iter().map(|i| i.identity.as_str()).collect();
    let found = plan.items.iter().filter(|i| i.kind != "extension" && there.contains(i.identity.as_str()));
    with_parts(plan, found.map(|i| i.identity.as_str()).collect())
}

/// Adds what is a part of one of `found`, down to parts of parts.
pub(crate) fn with_parts<'p>(plan: &'p Plan, mut found: HashSet<&'p str>) -> Kept {
    let of: HashMap<&str, &str> = plan.items.iter().filter_map(|i| Some((i.identity.as_str(), i.of.as_deref()?))).collect();
    for item in &plan.items {
        let mut at = item.identity.as_str();
        // A part of a part of …; no deeper than a view's rule, so no circle.
        let mut depth = 0;
        while let Some(&owner) = of.get(at).filter(|_| depth < 8 && !found.contains(at)) {
            (at, depth) = (owner, depth + 1);
        }
        // Default privileges are about what comes later; and a sequence of the peer must not come to belong to a table of the task.
        let belongs = item.object.class == derived_class::OWNED_BY && item.depends_on.iter().any(|d| found.contains(d.as_str()));
        if belongs || (found.contains(at) && item.kind != "default privileges" && !matches!(item.when, When::Copy(_))) {
            found.insert(&item.identity);
        }
    }
    found.into_iter().map(str::to_owned).collect()
}

impl Plan {
    /// Leaves `kept` to the peer: the items go, and the tables among them are remembered.
    pub fn keep(&mut self, kept: Kept) {
        self.kept_tables = self.tables_to_copy(|i| i.depends_on.iter().any(|d| kept.contains(d)));
        self.items.retain(|i| matches!(i.when, When::Copy(_)) || !kept.contains(&i.identity));
        self.kept = kept;
    }

    /// Every table was there before the task: it has no schema stage.
    pub fn keep_every_table(&mut self) {
        self.kept_tables = self.tables_to_copy(|_| true);
    }

    /// What the peer keeps.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Tables with rows to copy that the peer had before: its rows stay.
    pub fn kept_tables(&self) -> &BTreeSet<TableName> {
        &self.kept_tables
    }

    fn tables_to_copy(&self, take: impl Fn(&Item) -> bool) -> BTreeSet<TableName> {
        let table = |i: &Item| match &i.when {
            // Those of extensions have a rule of their own.
            When::Copy(table) if take(i) && !self.conditions.contains_key(table) => Some(table.clone()),
            _ => None,
        };
        self.items.iter().filter_map(table).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{catalog::Address, plan::Section};

    fn item(kind: &str, name: &str, of: Option<&str>, when: When) -> Item {
        Item {
            ordinal: 1,
            section: Section::PreData,
            kind: kind.into(),
            identity: format!("{kind} {name}"),
            object: Address::new(0, 0),
            when,
            ddl: "CREATE …".into(),
            then: None,
            of: of.map(str::to_owned),
            depends_on: of.map(str::to_owned).into_iter().collect(),
            reason: String::new(),
        }
    }

    #[test]
    fn what_is_there_stays_with_its_parts_and_the_rest_is_made() {
        let copy = |name: &str| item("rows", name, Some(&format!("table s.{name}")), When::Copy(TableName::new("s", name)));
        let mut plan = Plan {
            items: vec![
                item("schema", "s", None, When::BeforeData),
                item("extension", "citext", None, When::BeforeData),
                item("table", "s.a", None, When::BeforeData),
                item("table", "s.b", None, When::BeforeData),
                copy("a"),
                copy("b"),
                item("index", "s.a_i", Some("table s.a"), When::AfterAll),
                item("index", "s.b_i", Some("table s.b"), When::AfterAll),
                item("default privileges", "of r", Some("schema s"), When::AfterAll),
            ],
            ..Plan::default()
        };
        let there = Plan {
            items: ["schema s", "extension citext", "table s.a", "table s.z"]
                .map(|i| i.split_once(' ').map(|(kind, name)| item(kind, name, None, When::BeforeData)).expect("two words"))
                .into(),
            ..Plan::default()
        };
        plan.keep(kept(&plan, &there));
        assert_eq!(plan.kept().iter().map(String::as_str).collect::<Vec<_>>(), ["index s.a_i", "schema s", "table s.a"]);
        let left: Vec<&str> = plan.items.iter().map(|i| i.identity.as_str()).collect();
        assert_eq!(left, ["extension citext", "table s.b", "rows a", "rows b", "index s.b_i", "default privileges of r"]);
        assert_eq!(plan.kept_tables().iter().collect::<Vec<_>>(), [&TableName::new("s", "a")]);
    }
}
