//! What an applier begins with: the origin, and how far the peer says that each table is.

use std::collections::HashMap;

use bytes::BytesMut;
use pgrelay_core::{Lsn, Result, name::TableName};
use tokio::{sync::watch, time::Instant};
use tokio_postgres::Client;

use super::{
    Applier, Setting,
    batch::Batch,
    flush::Flush,
    fresh_snapshot,
    group::Group,
    not_marked,
    prepared::TwoPhase,
    relations::Relations,
    session::Session,
    set_back,
    sight::{Horizon, Sight},
    standing::{self, Standing},
    streamed::{self, Streamed},
    tables::{State, Tables},
};
use crate::{
    conflict::{deferrable, resolve::Resolver},
    pg::server_error,
    progress::TableState,
};

impl Applier {
    /// Takes the origin, then reads how far each table is. `known`: the task's tables with their oids on the source.
    ///
    /// Errors: `ShapeChanged` when a table that was copied has another name now.
    pub async fn open(setting: Setting, known: HashMap<TableName, u32>) -> Result<Applier> {
        streamed::sweep();
        let mut session = Session::open(&setting.peer, &setting.origin, setting.two_way.is_some()).await?;
        if setting.two_way.is_some() && !session.is_marked() {
            return Err(not_marked());
        }
        let Standing { one_position, position, seen } = Standing::read(session.client(), &setting.origin).await?;
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
        let epochs = fresh_snapshot(&setting.source).await?.epochs();
        let confirm = watch::Sender::new(Lsn(0));
        let flush = Flush::open(&setting.peer, &setting.origin, position, confirm.clone(), setting.progress.clone()).await?;
        let mut two_phase = TwoPhase::read(session.client(), &setting.source, &setting.origin, &setting.slot).await?;
        // What is prepared here would come back when it is committed, without telling up to where.
        two_phase.able &= setting.two_way.is_none();
        let mut resolver =
            Resolver::new(session.client(), &setting.origin, setting.direction, setting.place.clone(), setting.source.clone()).await?;
        resolver.one_way = setting.one_way.clone();
        resolver.sight = Sight::new(setting.two_way.clone(), seen);
        let mark = if setting.two_way.is_some() { Some(mark(&setting.source).await?) } else { None };
        Ok(Applier {
            session,
            relations: Relations::default(),
            targets: Default::default(),
            careful_targets: Default::default(),
            tables: (!one_position).then_some(tables),
            known: known.into_iter().collect(),
            epochs,
            epochs_at: Instant::now(),
            open: None,
            streamed: Streamed::default(),
            two_phase,
            copied: BytesMut::new(),
            group: Group::default(),
            sent: 0,
            batch: Batch::default(),
            wholes: Default::default(),
            careful_until: Lsn(0),
            weigh_until: Lsn(0),
            weighed: Default::default(),
            recording: None,
            resolver,
            at_end: deferrable::Tests::default(),
            careful_for: None,
            weigh_for: None,
            mark,
            told_seen: None,
            again: HashMap::new(),
            remembered: Default::default(),
            forgotten: Lsn(0),
            forgot_at: None,
            contended: 0,
            draining: false,
            rewind: false,
            position: if one_position { position } else { Lsn(0) },
            on_peer: position,
            seen_there: seen,
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

/// A time of the side that the changes come from, and a position of its WAL that lies behind whatever was committed before that time.
async fn mark(source: &Client) -> Result<Horizon> {
    let failed = |e| server_error(e, "look at the clock of the source");
    let sql =
        "SELECT (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - timestamptz '2000-01-01 00:00:00+00') * 1000000)::bigint";
    let commit = source.query_one(sql, &[]).await.map_err(failed)?.get(0);
    let row = source.query_one("SELECT pg_catalog.pg_current_wal_insert_lsn()::text", &[]).await.map_err(failed)?;
    Ok(Horizon { position: row.get::<_, &str>(0).parse()?, commit })
}
