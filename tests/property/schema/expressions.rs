//! Expressions of a family over columns.

use super::model::{Family, Model, Relation, Type};

impl Model<'_> {
    /// An expression of `family` over columns of `from`, each with `prefix`; `immutable` ones may stand in an index.
    pub fn expression(&mut self, family: Family, from: Option<&Relation>, prefix: &str, immutable: bool, depth: usize) -> String {
        let columns: Vec<String> =
            from.map(|r| r.of_family(family).iter().map(|c| format!("{prefix}{}", c.name)).collect()).unwrap_or_default();
        let other = if family == Family::Int { Family::Text } else { Family::Int };
        match self.below(if depth == 0 { 2 } else { 6 }) {
            0 | 1 if !columns.is_empty() => self.pick(&columns).unwrap_or_default(),
            2 if family == Family::Int || family == Family::Text => match self.routine(family, family, immutable) {
                Some(f) => {
                    let inner = self.expression(family, from, prefix, immutable, depth - 1);
                    format!("{}(({inner})::{})", f.sql, plain(&f.argument))
                }
                None => self.constant(family),
            },
            3 if family == Family::Int || family == Family::Text => match self.routine(other, family, immutable) {
                Some(f) => {
                    let inner = self.expression(other, from, prefix, immutable, depth - 1);
                    format!("{}(({inner})::{})", f.sql, plain(&f.argument))
                }
                None => self.constant(family),
            },
            4 if family == Family::Int => {
                let (a, b) = (
                    self.expression(family, from, prefix, immutable, depth - 1),
                    self.expression(other, from, prefix, immutable, depth - 1),
                );
                format!("(({a}) + length(({b})::text))")
            }
            4 if family == Family::Text => {
                let (a, b) = (
                    self.expression(family, from, prefix, immutable, depth - 1),
                    self.expression(family, from, prefix, immutable, depth - 1),
                );
                let condition = self.condition(from, prefix, immutable, depth - 1);
                format!("CASE WHEN {condition} THEN lower(({a})::text) ELSE ({b})::text || 'it''s \\ \"' END")
            }
            5 if family == Family::Text => {
                let inner = self.expression(Family::Int, from, prefix, immutable, depth - 1);
                format!("(({inner})::text COLLATE \"POSIX\")")
            }
            _ => self.constant(family),
        }
    }

    pub fn condition(&mut self, from: Option<&Relation>, prefix: &str, immutable: bool, depth: usize) -> String {
        let (a, b) = if self.one_in(2) {
            let one = |m: &mut Self| m.expression(Family::Int, from, prefix, immutable, depth);
            (one(self), one(self))
        } else {
            let one = |m: &mut Self| m.expression(Family::Text, from, prefix, immutable, depth);
            (one(self), one(self))
        };
        match self.below(6) {
            0 => format!("({a}) IS NOT NULL"),
            1 => format!("NOT (({a}) = ({b}))"),
            2 => format!("(({a}) > ({b}) OR ({b}) IS NULL)"),
            3 => format!("({a}) IN (({b}), NULL)"),
            4 => format!("({a}) IS DISTINCT FROM ({b})"),
            _ => format!("({a}) = ({b})"),
        }
    }

    fn constant(&mut self, family: Family) -> String {
        let number = self.below(100);
        match family {
            Family::Int => format!("{number}"),
            Family::Text => format!("'t''{number}\\'"),
            Family::Time => "'2020-02-03'::date".to_string(),
            Family::Other => "NULL".to_string(),
        }
    }

    /// A default for a column of a type.
    pub async fn default(&mut self, of: &Type) -> String {
        let sequences = self.sequences.clone();
        match (of.family, self.below(4)) {
            (Family::Int, 0) => match self.pick(&sequences) {
                Some(s) => format!("nextval('{}'::regclass)", s.replace('\'', "''")),
                None => "7".to_string(),
            },
            (Family::Int | Family::Text, _) => self.expression(of.family, None, "", false, 2),
            (Family::Time, _) => "now()".to_string(),
            (Family::Other, _) => format!("NULL::{}", plain(of)),
        }
    }
}

/// A type without its collation.
pub fn plain(of: &Type) -> &str {
    of.sql.split(" COLLATE ").next().unwrap_or(&of.sql)
}
