//! Ranges of a key, ordered as PostgreSQL orders the key's type: which part of a table a row belongs to.
//!
//! Values come as text in the formats that every session of pgrelay pins (ISO dates, UTC).

use crate::error::{Error, Kind, Result};

/// Types whose order can be computed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// `smallint`, `integer`, `bigint`, `oid`.
    Integer,
    /// `uuid`.
    Uuid,
    /// `date`, `timestamp`, `timestamptz`.
    Time,
}

impl KeyType {
    /// By its oid (`pg_type.dat`); none for a type whose order is not known here.
    pub fn of(type_oid: u32) -> Option<KeyType> {
        match type_oid {
            20 | 21 | 23 | 26 => Some(KeyType::Integer),
            2950 => Some(KeyType::Uuid),
            1082 | 1114 | 1184 => Some(KeyType::Time),
            _ => None,
        }
    }

    /// Reads a value's text form.
    ///
    /// Errors: `Protocol` when it is no value of this type in the pinned format.
    pub fn read(self, text: &str) -> Result<KeyValue> {
        let invalid = || Error::new(Kind::Protocol, format!("\"{text}\" is not a value of a key of this type"));
        match self {
            KeyType::Integer => text.parse().map(KeyValue::Integer).map_err(|_| invalid()),
            KeyType::Uuid if text.len() == 36 => Ok(KeyValue::Uuid(text.to_owned())),
            KeyType::Uuid => Err(invalid()),
            KeyType::Time => time(text).ok_or_else(invalid),
        }
    }
}

/// A value in the order of its type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyValue {
    /// As it is.
    Integer(i64),
    /// Its text, which has one form and sorts as the bytes do.
    Uuid(String),
    /// `-infinity`.
    Before,
    /// The year (1 BC is 0), and the rest of the text, which within a year sorts as the times do.
    Time(i64, String),
    /// `infinity`.
    After,
}

fn time(text: &str) -> Option<KeyValue> {
    match text {
        "-infinity" => return Some(KeyValue::Before),
        "infinity" => return Some(KeyValue::After),
        _ => {}
    }
    let (text, bc) = text.strip_suffix(" BC").map_or((text, false), |t| (t, true));
    let (year, rest) = text.split_once('-')?;
    let year: i64 = year.parse().ok()?;
    Some(KeyValue::Time(if bc { 1 - year } else { year }, rest.to_owned()))
}

/// A bound with its text, as it goes into SQL and onto the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// As the server wrote it.
    pub text: String,
    /// In order.
    pub value: KeyValue,
}

impl Bound {
    /// Reads a bound.
    pub fn read(key: KeyType, text: &str) -> Result<Bound> {
        Ok(Bound { text: text.to_owned(), value: key.read(text)? })
    }
}

/// Values from `lower` on and below `upper`; without end where none is given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyRange {
    /// The first value in it.
    pub lower: Option<Bound>,
    /// The first value behind it.
    pub upper: Option<Bound>,
}

impl KeyRange {
    /// Whether a value lies in it.
    pub fn contains(&self, value: &KeyValue) -> bool {
        self.lower.as_ref().is_none_or(|l| l.value <= *value) && self.upper.as_ref().is_none_or(|u| *value < u.value)
    }

    fn cut(&self, at: &Bound) -> Option<(KeyRange, KeyRange)> {
        let inside = self.lower.as_ref().is_none_or(|l| l.value < at.value) && self.upper.as_ref().is_none_or(|u| at.value < u.value);
        let (low, high) = (KeyRange { upper: Some(at.clone()), ..self.clone() }, KeyRange { lower: Some(at.clone()), ..self.clone() });
        inside.then_some((low, high))
    }
}

/// What is left of all values when `taken`, which do not overlap, are taken out: in order.
pub fn rest(mut taken: Vec<KeyRange>) -> Vec<KeyRange> {
    taken.sort_by(|a, b| a.lower.as_ref().map(|l| &l.value).cmp(&b.lower.as_ref().map(|l| &l.value)));
    let mut rest = vec![];
    let mut from: Option<Option<Bound>> = Some(None);
    for range in taken {
        if let Some(lower) = from.take()
            && lower != range.lower
        {
            rest.push(KeyRange { lower, upper: range.lower.clone() });
        }
        // Behind a range without an upper end nothing comes.
        from = range.upper.map(Some);
    }
    rest.extend(from.map(|lower| KeyRange { lower, upper: None }));
    rest
}

/// Cuts ranges at bounds, each of which lies anywhere.
pub fn cut(ranges: Vec<KeyRange>, mut bounds: Vec<Bound>) -> Vec<KeyRange> {
    bounds.sort_by(|a, b| a.value.cmp(&b.value));
    let mut out = vec![];
    for mut range in ranges {
        for bound in &bounds {
            if let Some((low, high)) = range.cut(bound) {
                out.push(low);
                range = high;
            }
        }
        out.push(range);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(n: i64) -> Bound {
        Bound { text: n.to_string(), value: KeyValue::Integer(n) }
    }

    fn range(lower: Option<i64>, upper: Option<i64>) -> KeyRange {
        KeyRange { lower: lower.map(bound), upper: upper.map(bound) }
    }

    fn in_order(key: KeyType, texts: &[&str]) {
        let values: Vec<KeyValue> = texts.iter().map(|t| key.read(t).expect(t)).collect();
        assert!(values.is_sorted_by(|a, b| a < b), "{values:?}");
    }

    #[test]
    fn values_are_ordered_as_postgresql_orders_them() {
        in_order(KeyType::Integer, &["-9223372036854775808", "-1", "0", "7", "4294967295"]);
        in_order(
            KeyType::Uuid,
            &["00000000-0000-0000-0000-00000000000a", "0f000000-0000-0000-0000-000000000000", "a0000000-0000-0000-0000-000000000000"],
        );
        in_order(
            KeyType::Time,
            &[
                "-infinity",
                "4714-11-24 00:00:00+00 BC",
                "0002-01-01 00:00:00+00 BC",
                "0001-12-31 23:59:59+00 BC",
                "0001-01-01 00:00:00+00",
                "2026-01-09 12:00:00+00",
                "2026-01-09 12:00:00.000001+00",
                "2026-01-09 12:00:00.5+00",
                "2026-01-09 12:00:01+00",
                "2026-01-10 00:00:00+00",
                "10000-01-01 00:00:00+00",
                "294276-12-31 23:59:59.999999+00",
                "infinity",
            ],
        );
        in_order(KeyType::Time, &["2026-01-09 12:00:00", "2026-01-09 12:00:00.5", "2026-01-09 12:00:00.51"]);
        in_order(KeyType::Time, &["0044-03-14 BC", "0044-03-15 BC", "2026-01-09"]);
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for (key, text) in [(KeyType::Integer, "x"), (KeyType::Uuid, "12"), (KeyType::Time, "yesterday")] {
            assert!(key.read(text).is_err(), "{text}");
        }
        assert_eq!(KeyType::of(25), None, "the order of text depends on its collation");
    }

    #[test]
    fn the_rest_and_what_is_taken_are_everything_once() {
        assert_eq!(rest(vec![]), [KeyRange::default()]);
        assert_eq!(rest(vec![KeyRange::default()]), []);
        let taken = vec![range(Some(10), Some(20)), range(None, Some(5)), range(Some(20), Some(30))];
        assert_eq!(rest(taken), [range(Some(5), Some(10)), range(Some(30), None)]);
        assert_eq!(rest(vec![range(Some(5), None)]), [range(None, Some(5))]);
        assert_eq!(rest(vec![range(None, Some(5)), range(Some(5), None)]), []);
    }

    #[test]
    fn ranges_are_cut_where_a_bound_lies_inside() {
        let ranges = vec![range(None, Some(5)), range(Some(10), Some(20))];
        let bounds = [15, 3, 7, 10, 20, 5, 15].map(bound).to_vec();
        let parts = cut(ranges, bounds);
        assert_eq!(parts, [range(None, Some(3)), range(Some(3), Some(5)), range(Some(10), Some(15)), range(Some(15), Some(20))]);
        let owner = |n: i64| parts.iter().filter(|r| r.contains(&KeyValue::Integer(n))).count();
        assert_eq!([2, 3, 4, 5, 9, 10, 14, 15, 19, 20].map(owner), [1, 1, 1, 0, 0, 1, 1, 1, 1, 0]);
    }
}
