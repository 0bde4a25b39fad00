//! Which tables can be made by several sessions at once.
//!
//! What an empty table costs is mostly waiting for the disk: PostgreSQL flushes the index of its TOAST table before it goes on.
//! Only tables that lock nothing but themselves are taken, so that two sessions never wait for each other.

use std::collections::{HashMap, HashSet};

use super::Item;

/// Items in three parts, one after the other; those of the second in any order.
#[derive(Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// What the tables need.
    pub first: Vec<&'a Item>,
    /// Tables that need no other table, nor what needs one.
    pub tables: Vec<&'a Item>,
    /// All that is left.
    pub then: Vec<&'a Item>,
}

/// Parts `items`, which stand in an order that is right, so that each still comes after what it needs.
pub fn side_by_side<'a>(items: &[&'a Item]) -> Parts<'a> {
    // A number tells two objects apart whose names read the same; what needs the second is written down as needing the first.
    if items.iter().any(|i| is_numbered(&i.identity)) {
        return Parts { first: items.to_vec(), tables: vec![], then: vec![] };
    }
    let by_identity: HashMap<&str, usize> = items.iter().enumerate().map(|(at, i)| (i.identity.as_str(), at)).collect();
    let needs = |at: usize| items[at].depends_on.iter().filter_map(|d| by_identity.get(d.as_str()).copied());
    // Each stands behind what it needs, so one pass knows all that an item needs.
    let mut behind_a_table = vec![false; items.len()];
    let mut tables = HashSet::new();
    for at in 0..items.len() {
        behind_a_table[at] = needs(at).any(|n| behind_a_table[n] || items[n].kind == "table");
        if items[at].kind == "table" && !behind_a_table[at] && has_a_type_name_of_its_own(&items[at].identity) {
            tables.insert(at);
        }
    }
    let mut needed = HashSet::new();
    let mut open: Vec<usize> = tables.iter().copied().collect();
    while let Some(at) = open.pop() {
        open.extend(needs(at).filter(|n| needed.insert(*n)));
    }
    let part = |wanted: &dyn Fn(usize) -> bool| (0..items.len()).filter(|at| wanted(*at)).map(|at| items[at]).collect();
    Parts {
        first: part(&|at| needed.contains(&at)),
        tables: part(&|at| tables.contains(&at)),
        then: part(&|at| !needed.contains(&at) && !tables.contains(&at)),
    }
}

/// Whether the array type that comes with a table is called as no other table's: PostgreSQL puts `_` in front and cuts at 63 bytes,
/// and gives way to what is there, which it does not see in another session.
fn has_a_type_name_of_its_own(identity: &str) -> bool {
    const LONGEST: usize = 62;
    let plain = identity.strip_prefix("table ").unwrap_or(identity);
    // A dot may be part of the name or of the schema's: either is looked at.
    plain.len() - plain.find('.').map_or(0, |dot| dot + 1) <= LONGEST && !plain.split('.').any(|name| name.starts_with('_'))
}

fn is_numbered(identity: &str) -> bool {
    let number = identity.strip_suffix(')').and_then(|rest| rest.rsplit_once(" (")).map(|(_, number)| number);
    number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        catalog::Address,
        plan::{Section, When},
    };

    fn item(identity: &str, depends_on: &[&str]) -> Item {
        Item {
            ordinal: 1,
            section: Section::PreData,
            kind: identity.split(' ').next().unwrap_or_default().to_owned(),
            identity: identity.to_owned(),
            object: Address::new(0, 0),
            when: When::BeforeData,
            ddl: String::new(),
            then: None,
            of: None,
            depends_on: depends_on.iter().map(|d| d.to_string()).collect(),
            reason: String::new(),
        }
    }

    fn parts(items: &[Item]) -> [String; 3] {
        let items: Vec<&Item> = items.iter().collect();
        let Parts { first, tables, then } = side_by_side(&items);
        [first, tables, then].map(|part| part.iter().map(|i| i.identity.as_str()).collect::<Vec<_>>().join(", "))
    }

    #[test]
    fn tables_come_behind_what_they_need_and_whatever_needs_a_table_comes_last() {
        let items = [
            item("schema s", &[]),
            item("table s.a", &["schema s"]),
            item("view s.v", &["table s.a"]),
            item("sequence s.q", &["schema s"]),
            item("table s.b", &["schema s", "sequence s.q"]),
            item("table s.part", &["schema s", "table s.a"]),
            item("function s.f()", &["view s.v"]),
            item("table s.c", &["function s.f()"]),
            item("type s.alone", &["schema s"]),
        ];
        assert_eq!(
            parts(&items),
            ["schema s, sequence s.q", "table s.a, table s.b", "view s.v, table s.part, function s.f(), table s.c, type s.alone"]
        );
    }

    #[test]
    fn tables_whose_array_types_could_be_called_the_same_are_made_in_turn() {
        let long = "x".repeat(63);
        let items = [item("table s.a", &[]), item("table s._a", &[]), item(&format!("table s.{long}"), &[])];
        assert_eq!(parts(&items), ["".to_owned(), "table s.a".to_owned(), format!("table s._a, table s.{long}")]);
    }

    #[test]
    fn where_names_read_the_same_everything_is_made_in_turn() {
        let items = [item("table s.t.q", &[]), item("table s.t.q (2)", &[]), item("function f(integer)", &[])];
        assert_eq!(parts(&items), ["table s.t.q, table s.t.q (2), function f(integer)", "", ""]);
    }
}
