//! DDL of each kind of object, one file per kind: from the catalog's structs to nodes of a plan.
//!
//! Every name is qualified and quoted; the text is right under an empty `search_path`.
//! Comments, labels and grants are the same for every kind and live in `attached`.

pub(crate) mod attached;
pub(crate) mod constraint;
pub(crate) mod foreign;
pub(crate) mod function;
pub(crate) mod index;
pub(crate) mod operator;
pub(crate) mod publication;
pub(crate) mod schema;
pub(crate) mod sequence;
pub(crate) mod table;
pub(crate) mod text_search;
pub(crate) mod trigger;
pub(crate) mod type_;
pub(crate) mod view;

use std::collections::HashSet;

use crate::{
    catalog::Address,
    name::{quote_ident, quote_literal},
    plan::{draft::Draft, lookup::Lookup},
};

/// Parts that stand alone, by address.
pub(crate) type Split = HashSet<Address>;

/// Every node of every kind.
pub(crate) fn draft<'a>(lookup: &Lookup<'a>) -> Draft<'a> {
    let mut draft = Draft::default();
    schema::draft(lookup, &mut draft);
    type_::draft(lookup, &mut draft);
    function::draft(lookup, &mut draft);
    operator::draft(lookup, &mut draft);
    text_search::draft(lookup, &mut draft);
    foreign::draft(lookup, &mut draft);
    sequence::draft(lookup, &mut draft);
    table::draft(lookup, &mut draft);
    view::draft(lookup, &mut draft);
    constraint::draft(lookup, &mut draft);
    index::draft(lookup, &mut draft);
    trigger::draft(lookup, &mut draft);
    publication::draft(lookup, &mut draft);
    draft
}

/// `ALTER <what> OWNER TO <role>;` on a line of its own, or nothing.
pub(crate) fn owner(what: &str, owner: Option<&String>) -> String {
    owner.map(|role| format!("\nALTER {what} OWNER TO {};", quote_ident(role))).unwrap_or_default()
}

/// Storage parameters and the like, `name=value` each, as `"name"='value', toast."name"='value'`.
pub(crate) fn parameters(options: &[String]) -> String {
    let one = |option: &String| {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name.strip_prefix("toast.") {
            Some(name) => format!("toast.{}={}", quote_ident(name), literal(value)),
            None => format!("{}={}", quote_ident(name), literal(value)),
        }
    };
    options.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// ` WITH (…)`, or nothing.
pub(crate) fn with_parameters(options: &[String]) -> String {
    if options.is_empty() { String::new() } else { format!(" WITH ({})", parameters(options)) }
}

/// Options of foreign objects, `name=value` each, as ` OPTIONS ("name" 'value')`, or nothing.
pub(crate) fn foreign_options(options: &[String]) -> String {
    let one = |option: &String| {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        format!("{} {}", quote_ident(name), literal(value))
    };
    if options.is_empty() {
        return String::new();
    }
    format!(" OPTIONS ({})", options.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// A definition of an index or an exclusion constraint, and its ` WHERE …`, which storage parameters come before.
pub(crate) fn split_where(definition: &str) -> (&str, &str) {
    let (mut depth, mut quote) = (0, None);
    for (at, c) in definition.char_indices() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => depth -= 1,
            (None, ' ') if depth == 0 && definition[at..].starts_with(" WHERE ") => return definition.split_at(at),
            _ => {}
        }
    }
    (definition, "")
}

/// A string literal.
pub(crate) fn literal(value: &str) -> String {
    quote_literal(value).trim_start().to_string()
}

/// `a, b, c` of quoted names.
pub(crate) fn ident_list<'n>(names: impl IntoIterator<Item = &'n String>) -> String {
    names.into_iter().map(|n| quote_ident(n)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_where_of_a_definition_is_not_one_in_a_name_a_string_or_an_expression() {
        let head = r#"CREATE INDEX " WHERE " ON t USING btree (f(' WHERE ''(x '), (a = ANY (ARRAY[1])))"#;
        assert_eq!(split_where(&format!("{head} WHERE (b > 1)")), (head, " WHERE (b > 1)"));
        assert_eq!(split_where(head), (head, ""));
    }
}
