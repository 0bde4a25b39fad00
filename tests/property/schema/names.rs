//! Names that are hard to write down: a pool of shapes, each made unique by a number now and then left out.

use pgrelay_core::name::quote_ident;
use pgrelay_tests::Seed;

const SHAPES: &[&str] = &[
    "plain",
    "Upper",
    "two words",
    "do\"uble",
    "quo'te",
    "dot.ted",
    "größe",
    "漢字",
    "select",
    "table",
    "user",
    "order",
    "a--b",
    "/*c",
    "1st",
    "$1",
    "semi;colon",
    "back\\slash",
    " led",
    "per%cent",
    "ta\tb",
    "new\nline",
    "emoji🐘",
    "\"",
    "COALESCE",
    "between",
    "{b}",
    "(p)",
    "a,b",
    "=",
    "€uro",
];

/// A quoted name of at most 63 bytes, as PostgreSQL takes it.
pub fn name(seed: &mut Seed) -> String {
    let shape = SHAPES[seed.below(SHAPES.len() as u64) as usize];
    let number = seed.below(1000);
    let plain = match seed.below(10) {
        // Alone: it may be there in another schema, or as an object of another kind.
        0 => shape.to_string(),
        1 => format!("{shape}{}", "x".repeat(63))[..].chars().scan(0, within).collect::<String>() + &format!("{number:03}"),
        2..=4 => format!("plain_{number}"),
        _ => format!("{shape}{number}"),
    };
    quote_ident(&plain)
}

/// The part of a name that leaves room for three digits.
fn within(bytes: &mut usize, c: char) -> Option<char> {
    *bytes += c.len_utf8();
    (*bytes <= 60).then_some(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_longer_than_postgresql_takes() {
        let mut seed = Seed::new(1);
        for _ in 0..5000 {
            let quoted = name(&mut seed);
            let plain = quoted.trim_matches('"').replace("\"\"", "\"");
            assert!(plain.len() <= 63, "{quoted}");
        }
    }
}
