//! Names in the bodies of functions, of whose dependencies PostgreSQL knows nothing.
//!
//! No parser: every word, quoted or not, in strings too (they may hold SQL), with the word before its dot. Comments are left out.
//! What is found is a hint for the order, dropped first when a circle appears.

/// A name as it stands: `a.b` has a qualifier.
#[derive(Debug, PartialEq, Eq, Hash, Clone, PartialOrd, Ord)]
pub(crate) struct Name {
    pub qualifier: Option<String>,
    pub name: String,
}

/// All names of a body, each once, sorted.
pub(crate) fn names(body: &str) -> Vec<Name> {
    let mut found = Vec::new();
    let mut qualifier: Option<String> = None;
    let mut rest = body;
    while let Some(c) = rest.chars().next() {
        if let Some(comment) = skip_comment(rest) {
            rest = comment;
            continue;
        }
        let Some((word, after)) = word(rest, c) else {
            rest = &rest[c.len_utf8()..];
            if !c.is_whitespace() {
                qualifier = None;
            }
            continue;
        };
        rest = after;
        let dotted = rest.trim_start().strip_prefix('.');
        found.push(Name { qualifier: qualifier.take(), name: word.clone() });
        if let Some(after_dot) = dotted {
            qualifier = Some(word);
            rest = after_dot;
        }
    }
    found.sort();
    found.dedup();
    found
}

/// What follows a comment that starts here.
fn skip_comment(text: &str) -> Option<&str> {
    if text.starts_with("--") {
        return Some(text.find('\n').map_or("", |end| &text[end..]));
    }
    text.strip_prefix("/*").map(|inside| inside.find("*/").map_or("", |end| &inside[end + 2..]))
}

/// One word at the start, folded as SQL does, and what follows it.
fn word(text: &str, first: char) -> Option<(String, &str)> {
    if first == '"' {
        return quoted(text);
    }
    if !(first.is_alphabetic() || first == '_') {
        return None;
    }
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(text.len());
    Some((text[..end].to_lowercase(), &text[end..]))
}

/// A quoted name at the start, where two quotes are one, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text.strip_prefix('"')?;
    loop {
        let (part, after) = rest.split_once('"')?;
        name.push_str(part);
        let Some(more) = after.strip_prefix('"') else { return Some((name, after)) };
        name.push('"');
        rest = more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(qualifier: Option<&str>, name: &str) -> Name {
        Name { qualifier: qualifier.map(str::to_string), name: name.to_string() }
    }

    #[test]
    fn names_are_found_in_sql_and_in_strings_but_not_in_comments() {
        let found = names("SELECT * FROM Shop.\"Order s\" -- not this\n WHERE f(x) /* nor that */; EXECUTE 'DELETE FROM log'");
        assert!(found.contains(&name(Some("shop"), "Order s")));
        assert!(found.contains(&name(None, "f")));
        assert!(found.contains(&name(None, "log")));
        assert!(!found.iter().any(|n| n.name == "this" || n.name == "that"));
    }

    #[test]
    fn bodies_of_any_text_are_read_to_the_end() {
        for body in ["\"", "a.", "/*", "--", "é.ü", "'", "a . b"] {
            names(body);
        }
        assert!(names("SELECT \"do\"\"uble\".\"a--b\"").contains(&name(Some("do\"uble"), "a--b")));
        assert!(names("a . b").contains(&name(Some("a"), "b")));
    }
}
