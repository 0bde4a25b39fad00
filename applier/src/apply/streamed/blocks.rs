//! Blocks of transactions in progress, and their ends.

use std::collections::HashSet;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use pgrelay_core::{Error, Lsn, Result, error::Kind};

use super::{
    super::{
        Applier, Open, outside,
        relations::{self, Described, Relations},
        tables::Transaction,
    },
    InProgress, Spill, unknown,
};
use crate::{
    crash::{self, Point},
    pg::pgoutput,
};

/// What a description is kept as: its number among those of the transaction.
const DESCRIPTION: u8 = b'R';

impl Applier {
    /// A block begins; `at` is the position of its first change.
    pub(in super::super) async fn block_begins(&mut self, xid: u32, is_first: bool, at: Lsn) -> Result<()> {
        if self.open.is_some() || self.streamed.in_block() {
            return Err(outside());
        }
        if is_first {
            self.may_come_early()?;
            let new = InProgress {
                spill: Spill::new(),
                rows: 0,
                described: vec![],
                parts: HashSet::new(),
                aborted: HashSet::new(),
                is_echo: false,
            };
            self.streamed.all.insert(xid, new);
            self.go_ahead(xid, at).await?;
        } else if !self.streamed.all.contains_key(&xid) {
            return Err(unknown(xid));
        }
        self.streamed.block = Some(xid);
        Ok(())
    }

    /// A message within a block; `at` is its position.
    pub(in super::super) async fn take_in_block(&mut self, payload: Bytes, at: Lsn) -> Result<()> {
        let xid = self.streamed.block.ok_or_else(outside)?;
        match payload.first() {
            Some(b'E') => {
                self.streamed.block = None;
                self.patience(xid);
                crash::at(Point::BlockKept);
                self.send_ahead(xid).await?;
                // Whatever has committed before has come before.
                self.position = self.position.max(at);
                return self.settle_position().await;
            }
            Some(b'R') => {
                let relation = relations::read(pgoutput::decode(&payload, true)?)?;
                let described = self.streamed.describe(self.relations.same(relation));
                let transaction = self.streamed.of(xid)?;
                let number = transaction.described.len() as u32;
                transaction.described.push(described.clone());
                let mut kept = BytesMut::with_capacity(5);
                kept.put_u8(DESCRIPTION);
                kept.put_u32(number);
                transaction.spill.push(xid, &kept).await?;
                self.describe_ahead(xid, described);
            }
            Some(b'I' | b'U' | b'D' | b'T') if self.streamed.of(xid)?.is_echo => {
                self.setting.progress.settled_rows(i64::from(pgoutput::is_row(&payload)));
            }
            Some(b'I' | b'U' | b'D' | b'T') => {
                self.wait_for_leave().await?;
                let (part, change) = without_xid(&mut self.copied, payload)?;
                let transaction = self.streamed.of(xid)?;
                transaction.rows += i64::from(pgoutput::is_row(&change));
                transaction.parts.insert(part);
                transaction.spill.push(part, &change).await?;
                self.change_ahead(xid, &change).await?;
            }
            Some(b'O') => {
                let pgoutput::Message::Origin { name, .. } = pgoutput::decode(&payload, true)? else { return Err(outside()) };
                if self.is_opposite(name) {
                    self.streamed.of(xid)?.is_echo = true;
                    self.take_back(xid).await?;
                }
            }
            Some(b'Y' | b'M') => {}
            _ => return Err(Error::new(Kind::Protocol, "a block of a transaction in progress holds what does not belong there")),
        }
        Ok(())
    }

    /// A transaction in progress, or a part of it, has rolled back.
    pub(in super::super) async fn aborted(&mut self, xid: u32, part: u32) -> Result<()> {
        if xid == part {
            self.take_back(xid).await?;
            let transaction = self.streamed.all.remove(&xid).ok_or_else(|| unknown(xid))?;
            self.setting.progress.settled_rows(transaction.rows);
            drop(transaction);
            crash::at(Point::InProgressAborted);
            return Ok(());
        }
        let transaction = self.streamed.of(xid)?;
        transaction.aborted.insert(part);
        if transaction.parts.contains(&part) {
            self.take_back(xid).await?;
        }
        Ok(())
    }

    /// A transaction that came in blocks has committed.
    pub(in super::super) async fn committed(&mut self, xid: u32, commit: Lsn, end: Lsn, commit_ts: i64) -> Result<()> {
        let transaction = self.streamed.all.remove(&xid).ok_or_else(|| unknown(xid))?;
        crash::at(Point::InProgressCommitted);
        self.heed_new_rules().await?;
        let of = Transaction { xid: self.epochs.widen(xid), commit };
        let open = self.begin(of, commit_ts);
        // The position is the end of a commit record.
        if commit < self.position {
            self.take_back(xid).await?;
            self.learn(transaction.described);
            self.setting.progress.settled_rows(transaction.rows);
            self.streamed.committed(end);
            return Ok(());
        }
        if transaction.is_echo {
            self.learn(transaction.described);
            self.resolver.sight.came_back(None, commit_ts);
            return self.finish_echo(end, false).await;
        }
        self.bring(xid, transaction, open).await?;
        self.finish(end).await
    }

    /// A transaction that came in blocks is prepared.
    pub(in super::super) async fn in_progress_prepared(&mut self, xid: u32, at: Lsn, end: Lsn, prepared_ts: i64) -> Result<()> {
        let transaction = self.streamed.all.remove(&xid).ok_or_else(|| unknown(xid))?;
        let (open, prepared) = self.prepared_at(xid, at, prepared_ts)?;
        if prepared.is_there() {
            // Nothing of another one may stand in the peer's transaction when the position moves.
            self.yield_to_others().await?;
            self.commit_group().await?;
            self.learn(transaction.described);
            self.setting.progress.settled_rows(transaction.rows);
            self.open = Some(open);
        } else {
            self.bring(xid, transaction, open).await?;
        }
        self.prepare(prepared, end).await
    }

    /// The descriptions of a transaction of which nothing is applied: the source does not send them again for what follows its commit.
    fn learn(&mut self, described: Vec<Described>) {
        let mut own = Relations::default();
        described.into_iter().for_each(|described| own.set(described));
        self.relations.merge(own);
    }

    /// All of a transaction stands in the peer's open transaction afterwards.
    async fn bring(&mut self, xid: u32, transaction: InProgress, open: Open) -> Result<()> {
        let (commit, since) = (open.commit(), open.commit_ts());
        self.setting.progress.stream(|s| s.applying_since = s.applying_since.or(Some(since)));
        // One that is left out may have been applied ahead all the same.
        if self.is_skipped(commit) || !self.is_there(xid).await? {
            self.yield_to_others().await?;
            self.commit_group().await?;
            self.open = Some(open);
            let before = std::mem::take(&mut self.relations);
            let replayed = self.replay(transaction).await;
            let own = std::mem::replace(&mut self.relations, before);
            self.relations.merge(own);
            replayed?;
            crash::at(Point::KeptSent);
        } else {
            crash::at(Point::AheadThere);
            self.open = Some(open);
        }
        Ok(())
    }

    /// Applies what was kept of a transaction; its relations are the ones known now.
    async fn replay(&mut self, transaction: InProgress) -> Result<()> {
        let InProgress { spill, described, aborted, .. } = transaction;
        let mut changes = spill.read().await?;
        while let Some(kept) = changes.next().await? {
            if kept.payload.first() == Some(&DESCRIPTION) {
                self.relations.set(numbered(&described, &kept.payload)?);
            } else if !aborted.contains(&kept.xid) {
                self.change(pgoutput::decode(&kept.payload, false)?, &kept.payload).await?;
            } else if pgoutput::is_row(&kept.payload) {
                self.setting.progress.settled_rows(1);
            }
        }
        Ok(())
    }
}

fn numbered(described: &[Described], kept: &[u8]) -> Result<Described> {
    let number = kept.get(1..5).and_then(|n| n.try_into().ok()).map(u32::from_be_bytes);
    let found = number.and_then(|n| described.get(n as usize));
    found.cloned().ok_or_else(|| Error::new(Kind::Internal, "a description of a relation is not where it was kept"))
}

/// A change as it is sent for a committed transaction, and the (sub)transaction that made it. Many share a piece of memory.
fn without_xid(copied: &mut BytesMut, payload: Bytes) -> Result<(u32, Bytes)> {
    let short = || Error::new(Kind::Protocol, "a change of a transaction in progress is too short");
    let (&[tag, a, b, c, d], rest) = payload.split_first_chunk::<5>().ok_or_else(short)?;
    let xid = u32::from_be_bytes([a, b, c, d]);
    if rest.len() >= WIDE {
        // It has its memory for itself, so this does not copy it.
        let mut change = BytesMut::from(payload);
        change.advance(4);
        change[0] = tag;
        return Ok((xid, change.freeze()));
    }
    if copied.capacity() < 1 + rest.len() {
        copied.reserve((1 + rest.len()).max(PIECE));
    }
    copied.put_u8(tag);
    copied.extend_from_slice(rest);
    Ok((xid, copied.split().freeze()))
}

/// Bytes of a change that is worth not being copied.
const WIDE: usize = 1 << 20;

/// Bytes of memory that changes share.
const PIECE: usize = 64 << 10;
