//! The loop over what the stream brings, and the borders of its transactions.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use pgrelay_core::{Error, Lsn, Result, error::Kind, name::TableName};
use tokio::sync::mpsc;

use super::{
    Applier, CopyMessage, End, Open, fresh_snapshot, outside,
    relation::{Relation, RelationColumn},
    tables::{Tables, Transaction},
};
use crate::{
    pg::{
        pgoutput::{self, Message},
        replication::Frame,
    },
    stream::receiver::Queued,
};

/// How often a fresh snapshot is taken while the slot waits for one.
const SNAPSHOT_PERIOD: Duration = Duration::from_millis(300);

impl Applier {
    /// Applies what comes until the stream must be read again.
    pub async fn run(&mut self, frames: &mut mpsc::Receiver<Queued>, copies: &mut mpsc::Receiver<CopyMessage>) -> Result<End> {
        let ended = self.apply(frames, copies).await;
        if std::mem::take(&mut self.rewind) { Ok(End::Rewind) } else { ended }
    }

    async fn apply(&mut self, frames: &mut mpsc::Receiver<Queued>, copies: &mut mpsc::Receiver<CopyMessage>) -> Result<End> {
        self.same_slot().await?;
        self.relations.clear();
        self.targets.clear();
        self.batch.ways.clear();
        self.open = None;
        self.position = match &mut self.tables {
            Some(tables) => {
                tables.rewind();
                *self.confirm.borrow()
            }
            // What was under way is rolled back and comes again.
            None => self.on_peer,
        };
        let mut tick = tokio::time::interval(SNAPSHOT_PERIOD);
        loop {
            // A copy may speak only between two transactions of the stream, and before the next one.
            if self.open.is_none() {
                while let Ok(message) = copies.try_recv() {
                    self.commit_group().await?;
                    if let Some(end) = self.hear(message).await? {
                        return Ok(end);
                    }
                }
                if self.group.is_full() || frames.is_empty() {
                    self.commit_group().await?;
                }
            }
            tokio::select! {
                frame = frames.recv() => {
                    let frame = frame.ok_or_else(|| Error::new(Kind::Connection, "the stream from the source ended"))?;
                    self.take(frame.frame).await?;
                }
                Some(message) = copies.recv(), if self.open.is_none() => {
                    self.commit_group().await?;
                    if let Some(end) = self.hear(message).await? {
                        return Ok(end);
                    }
                }
                _ = tick.tick(), if self.open.is_none() => self.look_again().await?,
            }
        }
    }

    async fn look_again(&mut self) -> Result<()> {
        if self.tables.as_ref().is_some_and(Tables::wants_fresh_snapshot) {
            self.reference = fresh_snapshot(&self.setting.source).await?;
            if let Some(tables) = &mut self.tables {
                tables.fresh_snapshot(&self.reference);
            }
        }
        self.settle_position().await
    }

    async fn take(&mut self, frame: Frame) -> Result<()> {
        match frame {
            Frame::Keepalive { wal_end, .. } => {
                // Inside a transaction the position says nothing about it; outside, all commits before it have come.
                if self.open.is_none() {
                    self.commit_group().await?;
                    self.position = self.position.max(wal_end);
                    self.settle_position().await?;
                }
                Ok(())
            }
            Frame::Data { payload, .. } => self.message(payload).await,
        }
    }

    async fn message(&mut self, payload: Bytes) -> Result<()> {
        match pgoutput::decode(&payload, false)? {
            Message::Begin { final_lsn, commit_ts, xid } => {
                let transaction = Transaction { xid: self.reference.widen(xid), commit: final_lsn };
                self.open = Some(Open { transaction, commit_ts });
                self.setting.progress.stream(|s| s.applying_since = s.applying_since.or(Some(commit_ts)));
            }
            Message::Commit { end_lsn, .. } => self.finish(end_lsn).await?,
            Message::Relation { oid, schema, name, replica_identity, columns, .. } => {
                let schema = if schema.is_empty() { "pg_catalog" } else { schema };
                let table = Arc::new(TableName::new(schema, name));
                let column = |c: &pgoutput::RelationColumn<'_>| RelationColumn {
                    name: c.name.to_owned(),
                    is_key: c.is_key,
                    type_oid: c.type_oid,
                    typmod: c.typmod,
                };
                let columns = columns.iter().map(column).collect();
                self.relations.insert(oid, Arc::new(Relation { oid, table, identity: replica_identity, columns }));
            }
            Message::Insert { relation: oid, new, .. } => self.row(oid, None, Some(new), &payload).await?,
            Message::Update { relation: oid, old, new, .. } => self.row(oid, old.map(|(_, old)| old), Some(new), &payload).await?,
            Message::Delete { relation: oid, old, .. } => self.row(oid, Some(old), None, &payload).await?,
            Message::Truncate { relations, cascade, restart_identity, .. } => {
                self.truncate(&relations, cascade, restart_identity, &payload).await?;
            }
            Message::Type { .. } | Message::Origin { .. } | Message::LogicalMessage { .. } => {}
            _ => return Err(Error::new(Kind::Protocol, "the source sent a message that was not asked for")),
        }
        Ok(())
    }

    async fn finish(&mut self, end: Lsn) -> Result<()> {
        let open = self.open.take().ok_or_else(outside)?;
        let applied = self.tables.is_some() || open.transaction.commit >= self.position;
        self.position = self.position.max(end);
        if self.group.is_open() {
            self.group.transaction(end, open.commit_ts);
        } else if applied {
            self.settle_position().await?;
        }
        self.setting.progress.stream(|s| {
            s.received = s.received.max(end);
        });
        Ok(())
    }
}
