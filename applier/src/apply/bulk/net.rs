//! What several changes of one row amount to: at most one statement for each row of a table.
//!
//! | first | then insert | then update | then delete |
//! |---|---|---|---|
//! | (nothing yet) | insert | update | delete |
//! | insert | – | insert | never was |
//! | update | – | update | delete |
//! | delete | replace | – | – |
//! | replace | – | replace | delete |
//! | never was | insert | – | – |
//!
//! What has no place in the table cannot come from a source that the peer is equal to; applying it row by row tells what is
//! wrong.

use bytes::Bytes;
use indexmap::{IndexMap, map::Entry};

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// NULL.
    Null,
    /// The type's text form.
    Value(Bytes),
    /// As it is on the peer: the change does not carry it.
    Kept,
}

/// The values of a row, in the stream's order of columns.
pub type Row = Vec<Cell>;

/// A row's key: the values of its columns in one piece, such that equal keys are equal here.
pub type Key = Vec<u8>;

/// What is to be done with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Net {
    /// It is new.
    Insert(Row),
    /// It is there, and gets these values.
    Update(Row),
    /// It is there; it was removed, and one of the same key came.
    Replace(Row),
    /// It is there and goes.
    Delete,
    /// It came and went; it is not there.
    NeverWas,
}

/// The changes of one table.
#[derive(Debug, Default)]
pub struct Changes {
    rows: IndexMap<Key, Net, foldhash::fast::RandomState>,
}

/// The change does not fit to those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfit;

impl Changes {
    /// A new row.
    pub fn insert(&mut self, key: Key, row: Row) -> Result<(), Unfit> {
        match self.rows.entry(key) {
            Entry::Vacant(none) => drop(none.insert(Net::Insert(row))),
            Entry::Occupied(mut before) => {
                let net = match before.get() {
                    Net::NeverWas => Net::Insert(row),
                    Net::Delete => Net::Replace(row),
                    _ => return Err(Unfit),
                };
                before.insert(net);
            }
        }
        Ok(())
    }

    /// New values of a row; its key stays.
    pub fn update(&mut self, key: Key, row: Row) -> Result<(), Unfit> {
        match self.rows.entry(key) {
            Entry::Vacant(none) => drop(none.insert(Net::Update(row))),
            Entry::Occupied(before) => match before.into_mut() {
                Net::Insert(before) | Net::Update(before) | Net::Replace(before) => merge(before, row),
                Net::Delete | Net::NeverWas => return Err(Unfit),
            },
        }
        Ok(())
    }

    /// A row goes.
    pub fn delete(&mut self, key: Key) -> Result<(), Unfit> {
        match self.rows.entry(key) {
            Entry::Vacant(none) => drop(none.insert(Net::Delete)),
            Entry::Occupied(mut before) => {
                let net = match before.get() {
                    Net::Update(_) | Net::Replace(_) => Net::Delete,
                    Net::Insert(_) => Net::NeverWas,
                    Net::Delete | Net::NeverWas => return Err(Unfit),
                };
                before.insert(net);
            }
        }
        Ok(())
    }

    /// A row gets another key.
    pub fn rekey(&mut self, old: Key, new: Key, row: Row) -> Result<(), Unfit> {
        let known = match self.rows.get(&old) {
            Some(Net::Insert(before) | Net::Replace(before)) => Some(before.clone()),
            None | Some(Net::Update(_)) => None,
            Some(Net::Delete | Net::NeverWas) => return Err(Unfit),
        };
        if !matches!(self.rows.get(&new), None | Some(Net::NeverWas | Net::Delete)) {
            return Err(Unfit);
        }
        let whole = match known {
            Some(mut before) => {
                merge(&mut before, row);
                before
            }
            None => row,
        };
        if whole.contains(&Cell::Kept) {
            return Err(Unfit);
        }
        self.delete(old)?;
        self.insert(new, whole)
    }

    /// Whether something is to be done with the row of this key.
    pub fn holds(&self, key: &Key) -> bool {
        self.rows.contains_key(key)
    }

    /// What is to be done, in the order in which the rows were met first.
    pub fn into_rows(self) -> impl Iterator<Item = (Key, Net)> {
        self.rows.into_iter()
    }
}

fn merge(before: &mut Row, row: Row) {
    for (old, new) in before.iter_mut().zip(row) {
        if new != Cell::Kept {
            *old = new;
        }
    }
}

/// Puts a key together.
pub fn key(values: impl Iterator<Item = impl AsRef<[u8]>>) -> Key {
    let mut key = vec![];
    for value in values {
        let value = value.as_ref();
        key.extend_from_slice(&(value.len() as u32).to_be_bytes());
        key.extend_from_slice(value);
    }
    key
}

/// Takes a key apart.
pub fn values(key: &Key) -> impl Iterator<Item = &[u8]> {
    let mut rest = key.as_slice();
    std::iter::from_fn(move || {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let (value, tail) = tail.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        rest = tail;
        Some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn k(n: u8) -> Key {
        key([[n]].into_iter())
    }

    fn row(a: &'static str, b: Option<&'static str>) -> Row {
        vec![Cell::Value(Bytes::from_static(a.as_bytes())), b.map_or(Cell::Kept, |b| Cell::Value(Bytes::from_static(b.as_bytes())))]
    }

    fn nets(changes: Changes) -> Vec<Net> {
        changes.into_rows().map(|(_, net)| net).collect()
    }

    #[test]
    fn several_changes_of_a_row_are_one() {
        let mut c = Changes::default();
        c.insert(k(1), row("1", Some("a"))).expect("fits");
        c.update(k(1), row("2", None)).expect("fits");
        c.update(k(2), row("3", None)).expect("fits");
        c.update(k(2), row("3", Some("b"))).expect("fits");
        c.delete(k(3)).expect("fits");
        c.insert(k(3), row("5", Some("c"))).expect("fits");
        c.insert(k(4), row("6", Some("d"))).expect("fits");
        c.delete(k(4)).expect("fits");
        c.update(k(5), row("7", None)).expect("fits");
        c.delete(k(5)).expect("fits");
        let expected = [
            Net::Insert(row("2", Some("a"))),
            Net::Update(row("3", Some("b"))),
            Net::Replace(row("5", Some("c"))),
            Net::NeverWas,
            Net::Delete,
        ];
        assert_eq!(nets(c), expected);
    }

    #[test]
    fn a_row_with_another_key_is_removed_and_inserted_when_it_is_whole() {
        let mut c = Changes::default();
        assert_eq!(c.rekey(k(1), k(2), row("1", None)), Err(Unfit), "a value is on the peer only");
        c.rekey(k(1), k(2), row("1", Some("a"))).expect("fits");
        c.rekey(k(2), k(3), row("2", None)).expect("what it has is known");
        c.rekey(k(4), k(1), row("9", Some("x"))).expect("the place is free");
        assert_eq!(nets(c), [Net::Replace(row("9", Some("x"))), Net::NeverWas, Net::Insert(row("2", Some("a"))), Net::Delete]);
    }

    #[test]
    fn what_cannot_come_from_an_equal_source_does_not_fit() {
        let mut c = Changes::default();
        c.insert(k(1), row("1", Some("a"))).expect("fits");
        assert_eq!(c.insert(k(1), row("1", Some("a"))), Err(Unfit));
        assert_eq!(c.rekey(k(2), k(1), row("1", Some("a"))), Err(Unfit));
        c.delete(k(1)).expect("fits");
        assert_eq!(c.delete(k(1)), Err(Unfit));
        assert_eq!(c.update(k(1), row("1", None)), Err(Unfit));
    }

    #[test]
    fn keys_are_told_apart_by_their_parts() {
        let (a, b) = (key(["ab", "c"].iter()), key(["a", "bc"].iter()));
        assert_ne!(a, b);
        assert_eq!(values(&a).collect::<Vec<_>>(), [b"ab".as_slice(), b"c"]);
    }
}
