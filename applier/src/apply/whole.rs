//! A small transaction as one statement, its position with it, sent without waiting for the one before: a message to the peer and one back, where BEGIN, a message for each change
//! and COMMIT are a dozen, and each of them wakes somebody.
//!
//! The parts of a statement all see what was there before it, and run in no order that can be told. So it has one change of a table, or
//! nothing but new rows of it: these do not need each other, and the source had them all. Nothing else runs on such tables that could
//! see the order. A part that is not of exactly one row fails on the server, and with it the whole; then, as after any other error of the
//! server, nothing of it is there. Each starts from the position of the one before, so of what was sent after it nothing is there either,
//! whatever it is; all of it is read again, and goes the usual way, which finds out what is wrong.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use foldhash::HashMap;
use pgrelay_core::{Lsn, Result};
use tokio_postgres::Statement;

use super::{
    Applier,
    group::Done,
    relation::StatementKey,
    session::Move,
    statement::{Built, Parameter},
    task_row,
};
use crate::{
    crash::{self, Point},
    pg::pgoutput::{self, Message, Tuple},
};

/// A transaction of a shape that comes so often is worth a statement.
const OFTEN: u32 = 3;

/// Shapes that are known at most; then it begins anew.
const SHAPES: usize = 500;

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
}

/// The statements, by the shape of what they do, and what was sent by them.
#[derive(Default)]
pub(super) struct Wholes {
    known: HashMap<Shape, Known>,
    sent: VecDeque<Sent>,
}

impl Wholes {
    /// What the statements were made for may have changed.
    pub(super) fn clear(&mut self) {
        self.known.clear();
    }

    /// After a failure, once what has arrived is noted: the end of the first that was not applied, if any. None of them is known then.
    pub(super) fn lost(&mut self) -> Option<Lsn> {
        std::mem::take(&mut self.sent).front().map(|sent| sent.end)
    }
}

impl Applier {
    /// Sends the open group by one statement, if it can be, and does not wait for the answer. False: nothing has been done.
    pub(super) async fn send_whole(&mut self) -> Result<bool> {
        let may = self.tables.is_none() && self.setting.two_way.is_none() && !self.group.is_careful && !self.group.is_closed;
        let has_room = self.session.is_untouched() && self.session.wholes() < IN_FLIGHT;
        if !may || !has_room || !self.group.new_rows.is_empty() || !self.group.deleted.is_empty() {
            return Ok(false);
        }
        let Some(shape) = self.shape_of_whole()? else { return Ok(false) };
        if self.wholes.known.len() >= SHAPES {
            self.wholes.clear();
        }
        let known = self.wholes.known.entry(shape.clone()).or_insert(Known::Times(0));
        if let Known::Times(times) = known {
            *times += 1;
            if *times < OFTEN {
                return Ok(false);
            }
            let prepared = self.prepare_whole(&shape).await?;
            self.wholes.known.insert(shape.clone(), prepared);
        }
        let Some(Known::Prepared(statement, parameters)) = self.wholes.known.get(&shape) else { return Ok(false) };
        let (statement, mut values) = (statement.clone(), vec![]);
        for ((relation, payload), parameters) in self.batch.whole().into_iter().flatten().zip(parameters) {
            let Some(target) = self.targets.get(&relation.oid) else { return Ok(false) };
            let (old, new, _) = rows(payload)?;
            values.extend(target.values(parameters, payload, old, new)?);
        }
        let (end, commit_ts) = (self.group.end, self.group.commit_ts);
        let from = self.wholes.sent.back().map_or(self.on_peer, |sent| sent.end);
        let to = Move { from: Some(from), to: end, seen: self.resolver.sight.seen(), told: end, commit_ts };
        self.session.send_whole(statement, values, to).await;
        self.forget_gathered();
        self.batch.end();
        let done = self.close_group();
        self.wholes.sent.push_back(Sent { end, commit_ts, done });
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
            let since = self.wholes.sent.front().map(|next| next.commit_ts);
            self.dealt_with(end, since);
        }
    }

    /// None where the group cannot be one statement.
    fn shape_of_whole(&self) -> Result<Option<Shape>> {
        let Some(changes) = self.batch.whole() else { return Ok(None) };
        let (mut shape, mut tables) = (Shape::new(), HashMap::default());
        for (relation, payload) in changes {
            let Some(target) = self.targets.get(&relation.oid) else { return Ok(None) };
            let (old, new, is_insert) = rows(payload)?;
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

/// The row before and after a change, as far as the message tells, and whether it is a new one.
fn rows(payload: &Bytes) -> Result<(Option<Tuple<'_>>, Option<Tuple<'_>>, bool)> {
    Ok(match pgoutput::decode(payload, false)? {
        Message::Insert { new, .. } => (None, Some(new), true),
        Message::Update { old, new, .. } => (old.map(|(_, old)| old), Some(new), false),
        Message::Delete { old, .. } => (Some(old), None, false),
        _ => return Err(super::outside()),
    })
}
