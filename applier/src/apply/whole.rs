//! A small transaction as one statement, its position with it, sent without waiting for the one before: a message to the peer and one
//! back, where BEGIN, a message for each change and COMMIT are a dozen, and each of them wakes somebody.
//!
//! The parts of a statement all see what was there before it, and run in no order that can be told. So it has one change of a table, or
//! nothing but new rows of it: these do not need each other, and the source had them all. Nothing else runs on such tables that could
//! see the order. A part that is not of exactly one row fails on the server, and with it the whole; then, as after any other error of the
//! server, nothing of it is there. Each starts from the position of the one before, so of what was sent after it nothing is there either,
//! whatever it is; all of it is read again, and goes the usual way, which finds out what is wrong.

use std::{collections::VecDeque, sync::Arc};

use foldhash::HashMap;
use futures_util::FutureExt;
use pgrelay_core::{Lsn, Result};
use tokio_postgres::Statement;

use super::{
    Applier,
    group::Done,
    relation::StatementKey,
    row::rows,
    session::Move,
    statement::{Built, Parameter},
    task_row,
};
use crate::crash::{self, Point};

/// A transaction of a shape that comes so often is worth a statement.
const OFTEN: u32 = 3;

/// Shapes that are known at most; then it begins anew.
const SHAPES: usize = 500;

/// So many transactions go the usual way whose shape is that of one that failed.
const CALM: u32 = 100;

/// So many are sent without an answer; what comes then is gathered.
const IN_FLIGHT: usize = 4;

/// Parameters of a statement at most; the protocol has room for 65,535.
const PARAMETERS: usize = 1000;

/// The changes of a transaction as far as a statement depends on them: the relation's oid, and what is done.
type Shape = Vec<(u32, StatementKey)>;

enum Known {
    /// So many have come.
    Times(u32),
    /// With the parameters of each part.
    Prepared(Statement, Vec<Vec<Parameter>>),
    /// The server would not have it.
    Unfit,
}

/// One that was sent and whose answer has not been noted.
struct Sent {
    end: Lsn,
    commit_ts: i64,
    done: Done,
    shape: Shape,
}

/// The statements, by the shape of what they do, and what was sent by them.
#[derive(Default)]
pub(super) struct Wholes {
    known: HashMap<Shape, Known>,
    /// Those of which one has failed, with the transactions for which they go the usual way.
    calm: HashMap<Shape, u32>,
    sent: VecDeque<Sent>,
}

impl Wholes {
    /// What the statements were made for may have changed.
    pub(super) fn clear(&mut self) {
        self.known.clear();
    }

    fn is_calm(&mut self, shape: &Shape) -> bool {
        let Some(left) = self.calm.get_mut(shape) else { return false };
        *left -= 1;
        if *left == 0 {
            self.calm.remove(shape);
        }
        true
    }
}

impl Applier {
    /// Sends the open group by one statement, if it can be, and does not wait for the answer. False: nothing has been done.
    pub(super) async fn send_whole(&mut self) -> Result<bool> {
        // Not beside schema changes, from which an open group is kept apart.
        let may = self.tables.is_none() && self.setting.progress.schema_done();
        let may = may && self.setting.two_way.is_none() && !self.group.is_careful && !self.group.is_closed;
        let has_room = self.session.is_untouched() && self.session.wholes() < IN_FLIGHT;
        if !may || !has_room || !self.group.new_rows.is_empty() || !self.group.deleted.is_empty() {
            return Ok(false);
        }
        let Some(shape) = self.shape_of_whole()? else { return Ok(false) };
        if self.wholes.is_calm(&shape) {
            return Ok(false);
        }
        if self.wholes.known.len() >= SHAPES {
            self.wholes.clear();
        }
        let known = self.wholes.known.entry(shape.clone()).or_insert(Known::Times(0));
        if let Known::Times(times) = known {
            *times += 1;
            if *times < OFTEN {
                return Ok(false);
            }
            self.settle_wholes().await?;
            let prepared = self.prepare_whole(&shape).await?;
            self.wholes.known.insert(shape.clone(), prepared);
        }
        let Some(Known::Prepared(statement, parameters)) = self.wholes.known.get(&shape) else { return Ok(false) };
        let (statement, mut values) = (statement.clone(), vec![]);
        for ((relation, payload), parameters) in self.batch.whole().into_iter().flatten().zip(parameters) {
            let Some(target) = self.targets.get(&relation.oid) else { return Ok(false) };
            let (old, new) = rows(payload)?;
            values.extend(target.values(parameters, payload, old, new)?);
        }
        let (end, commit_ts) = (self.group.end, self.group.commit_ts);
        let from = self.wholes.sent.back().map_or(self.on_peer, |sent| sent.end);
        let to = Move { from: Some(from), to: end, seen: self.resolver.sight.seen(), told: end, commit_ts };
        self.session.send_whole(statement, values, to).await;
        self.forget_gathered();
        self.batch.end();
        let done = self.close_group();
        self.wholes.sent.push_back(Sent { end, commit_ts, done, shape });
        Ok(true)
    }

    /// Waits for the answers to all of them.
    pub(super) async fn settle_wholes(&mut self) -> Result<()> {
        if self.wholes.sent.is_empty() {
            return Ok(());
        }
        let settled = self.session.settle_wholes().await;
        self.whole_answered(settled).await
    }

    /// An answer has come to the first of them.
    pub(super) async fn whole_answered(&mut self, answer: Result<()>) -> Result<()> {
        self.note_wholes();
        answer?;
        self.settle_position().await
    }

    /// Notes those that are committed.
    pub(super) fn note_wholes(&mut self) {
        for _ in 0..self.session.take_arrived() {
            let Some(Sent { end, done, .. }) = self.wholes.sent.pop_front() else { return };
            crash::at(Point::Committed);
            self.written(end);
            self.count_up(done);
            let group = self.group.is_open().then_some(self.group.commit_ts).filter(|ts| *ts != 0);
            let open = self.open.as_ref().map(|open| open.commit_ts());
            let since = self.wholes.sent.front().map(|next| next.commit_ts).or(group).or(open);
            self.dealt_with(end, since);
        }
    }

    /// Notes those whose answers have come, and does not wait for others.
    pub(super) async fn note_arrived_wholes(&mut self) -> Result<()> {
        while self.session.wholes() > 0
            && let Some(answer) = self.session.next_whole().now_or_never()
        {
            self.whole_answered(answer).await?;
        }
        self.note_wholes();
        Ok(())
    }

    /// What was sent is read again, from the first that was not applied: its end, if there is one.
    pub(super) fn forget_wholes(&mut self) -> Option<Lsn> {
        self.note_wholes();
        self.session.forget_wholes();
        let lost = std::mem::take(&mut self.wholes.sent).into_iter().next()?;
        if self.wholes.calm.len() >= SHAPES {
            self.wholes.calm.clear();
        }
        self.wholes.calm.insert(lost.shape, CALM);
        Some(lost.end)
    }

    /// None where the group cannot be one statement.
    fn shape_of_whole(&self) -> Result<Option<Shape>> {
        let Some(changes) = self.batch.whole() else { return Ok(None) };
        let (mut shape, mut tables) = (Shape::new(), HashMap::default());
        for (relation, payload) in changes {
            let Some(target) = self.targets.get(&relation.oid) else { return Ok(None) };
            let (old, new) = rows(payload)?;
            let is_insert = payload.first() == Some(&b'I');
            let part = target.part(old, new, is_insert).filter(|_| Arc::ptr_eq(&target.relation, relation));
            let Some(part) = part.filter(|_| !self.session.changes_role(target.peer())) else { return Ok(None) };
            if tables.insert(relation.oid, is_insert).is_some_and(|was_insert| !(is_insert && was_insert)) {
                return Ok(None);
            }
            shape.push((relation.oid, part));
        }
        Ok((!shape.is_empty()).then_some(shape))
    }

    async fn prepare_whole(&mut self, shape: &Shape) -> Result<Known> {
        let (mut parts, mut parameters, mut before) = (vec![], vec![], 0);
        for (oid, key) in shape {
            let Some(target) = self.targets.get(oid) else { return Ok(Known::Unfit) };
            let Built { sql, parameters: own } = target.build_part(key, before);
            before += own.len();
            parts.push(sql);
            parameters.push(own);
        }
        if before > PARAMETERS {
            return Ok(Known::Unfit);
        }
        let sql = self.session.with_move(&self.setting.origin, parts, before);
        match self.session.client().prepare(&sql).await {
            Ok(statement) => Ok(Known::Prepared(statement, parameters)),
            Err(error) if error.as_db_error().is_some() => Ok(Known::Unfit),
            Err(error) => Err(crate::pg::server_error(error, "prepare a transaction").object(task_row().to_string())),
        }
    }
}
