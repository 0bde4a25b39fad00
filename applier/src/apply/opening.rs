//! What an applier begins with: the origin, and how far the peer says that each table is.

use std::collections::HashMap;

use bytes::BytesMut;
use pgrelay_core::{Lsn, Result, conflict::Direction, name::TableName};
use tokio::sync::watch;

use super::{
    Applier, Setting,
    batch::Batch,
    flush::Flush,
    fresh_snapshot,
    group::Group,
    prepared::TwoPhase,
    relations::Relations,
    session::Session,
    set_back,
    standing::{self, Standing},
    streamed::{self, Streamed},
    tables::{State, Tables},
};
use crate::{
    conflict::{deferrable, resolve::Resolver},
    progress::TableState,
};

impl Applier {
    /// Takes the origin, then reads how far each table is. `known`: the task's tables with their oids on the source.
    ///
    /// Errors: `ShapeChanged` when a table that was copied has another name now.
    pub async fn open(setting: Setting, known: HashMap<TableName, u32>) -> Result<Applier> {
        streamed::sweep();
        let mut session = Session::open(&setting.peer, &setting.origin).await?;
        let Standing { one_position, position } = Standing::read(session.client(), &setting.origin).await?;
        if setting.at_least.is_some_and(|at| !one_position || position < at) {
            return Err(set_back());
        }
        let (mut tables, mut mixed, mut fresh) = (Tables::default(), HashMap::new(), !one_position);
        for table in known.keys() {
            tables.add(table.clone(), State::Init, None);
        }
        let now: HashMap<u32, &TableName> = known.iter().map(|(table, oid)| (*oid, table)).collect();
        for copied in standing::copied(session.client(), &setting.origin).await? {
            fresh = false;
            let Some(&name) = now.get(&copied.oid) else {
                // A table that is gone from the source has no changes any more, unless another has taken its name.
                let taken = known.get(&copied.table);
                let before = HashMap::from([(copied.table.clone(), copied.oid)]);
                taken.map_or(Ok(()), |oid| standing::same_table(&before, &copied.table, *oid))?;
                continue;
            };
            if *name != copied.table {
                return Err(standing::renamed(&copied.table, name));
            }
            let state = match copied.whole {
                Some((seen, position)) => {
                    if copied.earlier.is_some() {
                        mixed.insert(copied.table.clone(), seen.visible_below);
                    }
                    setting.progress.table(&copied.table, |t| {
                        (t.state, (t.rows, t.bytes), t.rows_kept) = (TableState::SyncDone, copied.amount, copied.kept);
                    });
                    State::Caught { seen, position }
                }
                None => State::Init,
            };
            tables.add(copied.table, state, copied.earlier);
        }
        if one_position {
            setting.progress.every_table(|t| t.state = TableState::Ready);
            setting.progress.stream(|s| s.applied = Some(position));
        }
        if one_position {
            session.wait_no_more().await?;
        }
        let reference = fresh_snapshot(&setting.source).await?;
        let confirm = watch::Sender::new(Lsn(0));
        let flush = Flush::open(&setting.peer, &setting.origin, position, confirm.clone(), setting.progress.clone()).await?;
        let two_phase = TwoPhase::read(session.client(), &setting.source, &setting.origin, &setting.slot).await?;
        let resolver = Resolver::new(session.client(), &setting.origin, Direction::Forward, setting.source.clone()).await?;
        Ok(Applier {
            session,
            relations: Relations::default(),
            targets: HashMap::new(),
            careful_targets: HashMap::new(),
            tables: (!one_position).then_some(tables),
            known,
            reference,
            open: None,
            streamed: Streamed::default(),
            two_phase,
            copied: BytesMut::new(),
            group: Group::default(),
            sent: 0,
            batch: Batch::default(),
            careful_until: Lsn(0),
            resolver,
            at_end: deferrable::Tests::default(),
            contended: 0,
            draining: false,
            rewind: false,
            position: if one_position { position } else { Lsn(0) },
            on_peer: position,
            moved_at: None,
            fresh,
            confirm,
            flush,
            passed: watch::Sender::new(Lsn(0)),
            mixed,
            one_position: watch::Sender::new(one_position),
            setting,
        })
    }
}
