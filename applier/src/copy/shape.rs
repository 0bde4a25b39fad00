//! Which columns of a table are copied, and in which format.

use pgrelay_core::{
    Error, Result,
    error::Kind,
    name::{TableName, quote_ident},
};

use crate::{
    apply::row::partitioned,
    pg::pipe::{Row, Session, array},
};

/// How a table crosses the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Quoted names, in the source's order; the same list on both sides.
    pub columns: Vec<String>,
    /// Binary where both sides read the same bytes, text otherwise.
    pub binary: bool,
}

impl Shape {
    /// As it stands behind a table's name in COPY; nothing for a table without columns.
    pub fn column_list(&self) -> String {
        if self.columns.is_empty() { String::new() } else { format!(" ({})", self.columns.join(", ")) }
    }
}

/// How tables are compared.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The task made the tables: they have no other columns than the source's.
    pub exact: bool,
    /// Both servers are of one major version.
    pub same_major: bool,
}

/// A table of either side.
#[derive(Default)]
struct Table {
    partitioned: bool,
    columns: Vec<Column>,
}

/// A column of either side.
struct Column {
    name: String,
    type_oid: u32,
    typmod: i32,
    generated: bool,
    portable: bool,
}

/// Compares both sides, one statement each. The source's tables are locked by the caller, so their shapes stay.
///
/// Errors: `ShapeChanged`, naming table and column, when a peer's table cannot take the source's rows.
pub async fn read(source: &mut Session, peer: &mut Session, tables: &[TableName], rules: Rules) -> Result<Vec<Shape>> {
    let (here, there) = tokio::try_join!(columns(source, tables), columns(peer, tables))?;
    tables.iter().zip(here.iter().zip(there)).map(|(table, (here, there))| compare(table, here.as_ref(), there, rules)).collect()
}

fn compare(table: &TableName, here: Option<&Table>, there: Option<Table>, rules: Rules) -> Result<Shape> {
    let changed = |message: String| {
        Error::new(Kind::ShapeChanged, message)
            .object(table.to_string())
            .hint("Make the table on the peer like the source's, then call pgrelay.resume_task().")
    };
    let here = here.ok_or_else(|| changed(format!("table \"{table}\" does not exist on the source")))?;
    let there = there.ok_or_else(|| changed(format!("table \"{table}\" does not exist on the peer")))?;
    if there.partitioned {
        return Err(partitioned(table));
    }
    let mut shape = Shape { columns: vec![], binary: rules.same_major };
    for column in here.columns.iter().filter(|c| !c.generated) {
        let Some(target) = there.columns.iter().find(|t| t.name == column.name && !t.generated) else {
            return Err(changed(format!("column \"{}\" of table \"{table}\" cannot be written on the peer", column.name)));
        };
        shape.binary &= column.portable && (target.type_oid, target.typmod) == (column.type_oid, column.typmod);
        shape.columns.push(quote_ident(&column.name));
    }
    let extra = there.columns.iter().find(|t| !t.generated && !here.columns.iter().any(|c| c.name == t.name && !c.generated));
    match extra {
        Some(column) if rules.exact => Err(changed(format!("column \"{}\" of table \"{table}\" exists on the peer only", column.name))),
        _ => Ok(shape),
    }
}

/// The columns of each table; none for one that is not there.
async fn columns(server: &mut Session, tables: &[TableName]) -> Result<Vec<Option<Table>>> {
    const DOING: &str = "read the columns of the tables to copy";
    let schemas = array(tables.iter().map(|t| &t.schema));
    let names = array(tables.iter().map(|t| &t.name));
    let rows = server.query(include_str!("../../../sql/query/source/copy_columns.sql"), &[&schemas, &names], DOING).await?;
    let mut found: Vec<Option<Table>> = tables.iter().map(|_| None).collect();
    for row in &rows {
        let unexpected = || Error::new(Kind::Internal, format!("{DOING}: an answer of another form"));
        read_row(row, &mut found).ok_or_else(unexpected)?;
    }
    Ok(found)
}

/// One row of `copy_columns.sql`; none when it is not of that form.
fn read_row(row: &Row, found: &mut [Option<Table>]) -> Option<()> {
    let [number, partitioned, name, type_oid, typmod, generated, portable] = row.as_slice() else { return None };
    let yes = |field: &Option<String>| field.as_deref() == Some("t");
    let number: usize = number.as_ref()?.parse().ok()?;
    let table = found.get_mut(number.checked_sub(1)?)?.get_or_insert_default();
    table.partitioned = yes(partitioned);
    // A table without columns has one row, with no name.
    let Some(name) = name else { return Some(()) };
    table.columns.push(Column {
        name: name.clone(),
        type_oid: type_oid.as_ref()?.parse().ok()?,
        typmod: typmod.as_ref()?.parse().ok()?,
        generated: yes(generated),
        portable: yes(portable),
    });
    Some(())
}
