//! Rows from the source to the peer, counted as they pass.

use pgrelay_core::{Result, name::TableName};

use super::{Setting, shape::Shape};
use crate::{
    pg::pipe::{Meter, PIECE, Poured, Session, Statements, pour},
    progress::Progress,
    throttle::Throttle,
};

/// Which rows, and how they are written.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// What stands behind `COPY` on the source: a table with its columns, or a query.
    pub out: &'a str,
    /// What stands there on the peer: a table with its columns.
    pub into: &'a str,
    /// The table was emptied in this transaction: rows need no vacuum later.
    pub frozen: bool,
}

/// Moves rows of one table, each side in whatever transaction it is in. What has passed is taken off the count when it fails.
pub async fn rows(
    s: &Setting,
    source: &mut Session,
    peer: &mut Session,
    table: &TableName,
    shape: &Shape,
    rows: Rows<'_>,
) -> Result<Poured> {
    let format = if shape.binary { "binary" } else { "text" };
    let freeze = if rows.frozen { ", FREEZE" } else { "" };
    let out = format!("COPY {} TO STDOUT (FORMAT {format})", rows.out);
    let into = format!("COPY {} FROM STDIN (FORMAT {format}{freeze})", rows.into);
    let doing = format!("copy table \"{table}\"");
    let statements = Statements { out: &out, into: &into, binary: shape.binary, doing: &doing };
    let mut count = Count { progress: &s.progress, throttle: &s.throttle, table, rows: 0, bytes: 0 };
    s.throttle.query().await;
    let poured = pour(source, peer, statements, &mut count).await.map_err(|e| e.object(table.to_string()));
    let (rows, bytes) = poured.as_ref().map_or((0, 0), |p| (p.written, p.bytes));
    let (rows, bytes) = (rows as i64 - count.rows, bytes as i64 - count.bytes);
    s.progress.table(table, |t| (t.rows, t.bytes) = (t.rows + rows, t.bytes + bytes));
    poured
}

struct Count<'a> {
    progress: &'a Progress,
    throttle: &'a Throttle,
    table: &'a TableName,
    rows: i64,
    bytes: i64,
}

impl Meter for Count<'_> {
    fn piece(&self) -> usize {
        // Of the first rows nothing is known; they are few.
        let row = if self.rows > 0 { self.bytes as f64 / self.rows as f64 } else { 32.0 };
        self.throttle.copy_piece(PIECE, row)
    }

    async fn passed(&mut self, rows: u64, bytes: u64) {
        self.throttle.copied(rows, bytes).await;
        let (rows, bytes) = (rows as i64, bytes as i64);
        (self.rows, self.bytes) = (self.rows + rows, self.bytes + bytes);
        self.progress.table(self.table, |t| (t.rows, t.bytes) = (t.rows + rows, t.bytes + bytes));
    }
}
