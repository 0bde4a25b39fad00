//! Which rows a change is about, where a table's parts were copied under different snapshots.

use pgrelay_core::{Error, Result, error::Kind, key_range::KeyValue};

use super::{
    relation::Relation,
    tables::{Key, Rows},
};
use crate::pg::pgoutput::{Column, Tuple};

/// Reads the key from the rows of a change. `old` is there when the change tells it.
///
/// Errors: `Protocol` when the change does not tell the key, `ShapeChanged` when the table has no such column any more.
pub fn rows(relation: &Relation, key: &Key, old: Option<Tuple<'_>>, new: Option<Tuple<'_>>) -> Result<Rows> {
    let Some(at) = relation.columns.iter().position(|c| c.name == key.column) else {
        let message = format!("table \"{}\" has no column \"{}\" any more, by which its copy was cut", relation.table, key.column);
        return Err(Error::new(Kind::ShapeChanged, message)
            .object(relation.table.to_string())
            .hint("Stop the task and start it anew, or give the column its name back."));
    };
    let value = |tuple: Tuple<'_>| -> Result<KeyValue> {
        let text = match tuple.columns().nth(at) {
            Some(Column::Text(text)) => std::str::from_utf8(text).ok(),
            _ => None,
        };
        let lacks = || Error::new(Kind::Protocol, format!("a change of table \"{}\" does not tell the row's key", relation.table));
        key.key_type.read(text.ok_or_else(lacks)?)
    };
    Ok(match (old.map(value).transpose()?, new.map(value).transpose()?) {
        (Some(old), Some(new)) if old != new => Rows::Moved { old, new },
        (Some(one), _) | (None, Some(one)) => Rows::One(one),
        (None, None) => Rows::Any,
    })
}
