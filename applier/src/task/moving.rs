//! The rows and the stream, with everything that goes on beside them.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::future::BoxFuture;
use pgrelay_core::{
    Error, Lsn, Result,
    error::Kind,
    name::TableName,
    plan::{Item, Plan, When},
    state::Actual,
    task::{Names, Options},
};
use tokio::{
    sync::{Mutex, mpsc, watch},
    task::JoinSet,
};
use tokio_postgres::Client;

use super::{context::Context, large_objects, pipeline, reporter, reverse, sequences::Positions, start_slot, watch as source_watch};
use crate::{
    apply::{Applier, CopyMessage, End, Setting as ApplySetting},
    conflict::place::Place,
    copy::{self, Beside, Job, Setting as CopySetting, Snapshots},
    crash::{self, Point},
    lane::Lane,
    pg::{Endpoint, server_error},
    progress::{Progress, TableProgress, TableState},
    store::{Event, Level},
    stream::{
        history::History,
        publication::{self, SourceTable},
        receiver::{Receiving, Request},
        slot,
    },
};

/// Copies under one snapshot, for a task without a stream.
pub async fn copy_only(c: &Context, options: &Options, plan: &Plan) -> Result<()> {
    c.stage("copy").await?;
    c.state(Actual::Copying, None).await?;
    let mut source = c.source("snapshot").await?;
    let all = publication::source_tables(&source).await?;
    let tables: Vec<SourceTable> = tables_of(plan, &all).into_iter().filter(|t| !t.partitioned).collect();
    show(c, plan, tables.iter(), &HashSet::new());
    let doing = "take the snapshot of the source";
    let failed = |e| server_error(e, doing);
    let transaction = source.build_transaction().isolation_level(tokio_postgres::IsolationLevel::RepeatableRead).read_only(true);
    let transaction = transaction.start().await.map_err(failed)?;
    // All locks come before the snapshot: TRUNCATE and rewrites are not seen by snapshots.
    for some in tables.chunks(500) {
        let names: Vec<String> = some.iter().map(|t| format!("ONLY {}", t.table.quoted())).collect();
        transaction.batch_execute(&format!("LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", "))).await.map_err(failed)?;
    }
    let snapshot: String = transaction.query_one("SELECT pg_catalog.pg_export_snapshot()", &[]).await.map_err(failed)?.get(0);
    let setting = copy_setting(c, options, Snapshots::Shared(snapshot), None).await?;
    let mut after = after_tables(plan);
    let jobs = tables.iter().map(|t| job(plan, &t.table, t.oid, false, &mut after)).collect();
    let copied = copy::run(&setting, jobs);
    tokio::select! {
        ended = copied => ended?,
        never = reporter::run(c, None) => never?,
    }
    transaction.rollback().await.map_err(failed)?;
    if options.large_objects {
        Box::pin(large_objects::carry(c, true)).await?;
    }
    let mut peers = c.peers("schema", c.options().copy_jobs).await?;
    let items: Vec<&Item> = plan.items.iter().filter(|i| i.when == When::AfterAll).collect();
    c.carry_out(&mut peers, &items, None).await?;
    let source = c.source("sequences").await?;
    Positions::default().follow(&source, &peers[0], c).await?;
    reporter::write_tables(c).await?;
    reporter::write_objects(c).await
}

/// Copies while the stream runs, then streams until the task is told otherwise.
pub async fn copy_and_stream(c: &Context, options: &Options, plan: &Plan) -> Result<()> {
    c.state(if c.has_come_to("stream") { Actual::CatchingUp } else { Actual::Copying }, None).await?;
    let source = c.source("stream").await?;
    let all = publication::source_tables(&source).await?;
    let selected = tables_of(plan, &all);
    let published = match publication::published(&source, &c.names).await? {
        Some(published) => published,
        // Without its publications the slot cannot be read, or worse, reads as if nothing had been published.
        None if slot::find(&source, &c.names).await?.is_some() => return Err(slot::lost(&c.names)),
        None => {
            publication::create(&source, c.row.id, &c.names, &all, &selected, options.keyless).await?;
            publication::published(&source, &c.names).await?.unwrap_or_default()
        }
    };
    let all = publication::source_tables(&source).await?;
    publication::keep_identities(&source, c.row.id, &published, &all).await?;
    crash::at(Point::PublicationMade);
    if options.is_two_way() && !c.has_come_to("stream") {
        // Its slot is older than the first row.
        Box::pin(reverse::prepare_first(c, &published)).await?;
    }
    let needed = start_slot::take(c, &source).await?;
    crash::at(Point::SlotMade);
    c.stage("copy").await?;
    let insert_only: HashSet<TableName> = published.iter().filter(|p| p.insert_only).map(|p| p.table.clone()).collect();
    let unlogged = selected.iter().filter(|t| !t.publishable && !t.partitioned).map(|t| (t.table.clone(), t.oid));
    let known: HashMap<TableName, u32> = published.iter().map(|p| (p.table.clone(), p.oid)).chain(unlogged).collect();
    show(c, plan, all.iter().filter(|t| known.contains_key(&t.table)), &insert_only);

    let gate = Arc::new(Mutex::new(()));
    // Before it is looked what is there: nothing of an earlier applier is committed after.
    let (speak, hear) = mpsc::channel(64);
    let mut copy_setting = copy_setting(c, options, Snapshots::Own(speak), None).await?;
    let setting = ApplySetting {
        peer: c.peer_endpoint().await?,
        origin: c.names.origin.clone(),
        direction: c.row.direction,
        place: Place::new(c.row.direction, &c.names.origin, c.row.id),
        opposite: c.opposite_names(),
        two_way: options.is_two_way().then(|| c.pair.read_by(c.row.direction.opposite())),
        one_way: Arc::new(one_way(options, &all)),
        carries_less: false,
        may_apply: watch::channel(true).1,
        exact: options.stages.schema,
        kept: plan.kept_tables().clone(),
        progress: c.progress(),
        gate: gate.clone(),
        at_least: c.store.peer_position(&c.row).await?,
        slot: c.names.slot.clone(),
        source: Arc::new(c.source("snapshots").await?),
        throttle: c.throttle.clone(),
        rules: c.rules.clone(),
        skips: c.row.skips.clone(),
    };
    let lane = Lane::start("apply")?;
    let applier = lane.run(Applier::open(setting, known.clone())).await?;
    let (to_copy, at_one_position) = (applier.to_copy(), applier.one_position());
    let passed = applier.passed();
    copy_setting.beside = Some(Beside { gate: gate.clone(), passed: passed.clone() });
    let mut after = after_tables(plan);
    // A change of such a table tells its key, so parts of it may be copied under different snapshots.
    let by_key: HashSet<&TableName> = published.iter().filter(|p| !p.insert_only).map(|p| &p.table).collect();
    let jobs: Vec<Job> = to_copy.iter().map(|t| job(plan, t, known[t], by_key.contains(t), &mut after)).collect();
    // Tables whose rows are there from an earlier try: their indexes may not be.
    let unfinished: Vec<Job> = known.iter().map(|(t, oid)| job(plan, t, *oid, true, &mut after)).filter(|j| !j.after.is_empty()).collect();
    let mixed = applier.mixed().clone();
    let (late, unfinished): (Vec<Job>, Vec<Job>) = unfinished.into_iter().partition(|j| mixed.contains_key(&j.table));
    let late: Vec<(Job, Lsn)> = late.into_iter().map(|job| (mixed[&job.table], job)).map(|(at, job)| (job, at)).collect();

    let mut parts: JoinSet<Result<()>> = JoinSet::new();
    let streaming = Box::pin(stream(reading(c, options).await?, applier, hear));
    let (building, keys) = (copy_setting.clone(), late.clone());
    let first = async move {
        // Changes are found by keys, so the keys of tables that are there come first.
        copy::build_unfinished(&building, unfinished).await?;
        copy::build_keys(&building, &keys).await?;
        drop(building);
        streaming.await
    };
    parts.spawn_on(first, lane.handle());
    let (copied, all_copied) = watch::channel(false);
    let (proven, mut is_proven) = watch::channel(needed);
    parts.spawn(async move {
        // Whoever does not say so has ended with an error, which is told elsewhere.
        if is_proven.wait_for(|proven| *proven).await.is_err() {
            return std::future::pending().await;
        }
        tokio::try_join!(copy::run(&copy_setting, jobs), copy::build_late(&copy_setting, late))?;
        copied.send_replace(true);
        Ok(())
    });
    // On the heap: a thread's stack is small for so many parts in one another.
    let finishing = Box::pin(finish_schema(c, plan, options.large_objects, gate, at_one_position.clone(), all_copied));
    let watching = Box::pin(source_watch::run(c, &known, plan.left_out()));
    let proving = async {
        if !needed {
            start_slot::prove(c, passed).await?;
            proven.send_replace(true);
        }
        Ok(())
    };
    let beside = async { tokio::try_join!(finishing, Box::pin(reporter::run(c, Some(at_one_position))), watching, proving).map(drop) };
    match until_one_ends(parts, Box::pin(beside)).await {
        Err(error) => Err(start_slot::after(c, error).await),
        Ok(()) => Ok(()),
    }
}

pub async fn until_one_ends(mut parts: JoinSet<Result<()>>, mut beside: BoxFuture<'_, Result<()>>) -> Result<()> {
    loop {
        tokio::select! {
            ended = parts.join_next() => match ended {
                Some(ended) => ended.map_err(|e| Error::new(Kind::Internal, "a part of the task ended by itself").caused_by(e))??,
                None => return Err(Error::new(Kind::Internal, "the stream ended without an error")),
            },
            ended = &mut beside => return ended,
        }
    }
}

/// What a stream is read with.
pub struct Reading {
    source: Endpoint,
    names: Names,
    application_name: String,
    progress: Arc<Progress>,
    /// To what goes back nothing more than its position may be told.
    messages: bool,
    left_out: String,
    /// Where what it reads of commits is remembered, if anything goes back.
    history: Option<Arc<History>>,
}

/// For the stream of a direction.
pub async fn reading(c: &Context, options: &Options) -> Result<Reading> {
    Ok(Reading {
        source: c.source_endpoint().await?,
        names: c.names.clone(),
        application_name: source_watch::stream_name(c),
        progress: c.progress(),
        messages: options.is_two_way(),
        left_out: c.opposite_names().origin,
        history: options.is_two_way().then(|| c.pair.read_by(c.row.direction)),
    })
}

/// Reads and applies the stream. Only an error ends it.
pub async fn stream(reading: Reading, mut applier: Applier, mut copies: mpsc::Receiver<CopyMessage>) -> Result<()> {
    let Reading { source, names, application_name, progress, messages, left_out, history } = reading;
    loop {
        progress.begin_stream();
        let mode = applier.mode();
        let from = applier.begin_at(mode).await?;
        let (source, names, left_out) = (source.clone(), names.clone(), left_out.clone());
        let request = Request { source, names, application_name: application_name.clone(), mode, from, messages, left_out };
        let starting = Receiving::start(request, applier.confirmations(), progress.clone(), history.clone());
        let (mut receiving, mut frames) = starting.await?;
        tracing::debug!(?mode, "reading the stream");
        match Box::pin(applier.run(mode, &mut frames, &mut copies)).await {
            Ok(End::Rewind) => {
                drop(frames);
                // It has told what it had to by ending the stream.
                receiving.end().await;
            }
            Err(error) => {
                // When the receiver has ended, its error is the cause of the applier's.
                return Err(receiving.error().unwrap_or(error));
            }
        }
    }
}

/// What waits until all tables stand at one position. Apply is held for each statement that locks out writers.
async fn finish_schema(
    c: &Context,
    plan: &Plan,
    large: bool,
    gate: Arc<Mutex<()>>,
    mut at_one_position: watch::Receiver<bool>,
    mut all_copied: watch::Receiver<bool>,
) -> Result<()> {
    // Whoever does not say so has ended with an error, which is told elsewhere.
    if at_one_position.wait_for(|at| *at).await.is_err() || all_copied.wait_for(|all| *all).await.is_err() {
        return std::future::pending().await;
    }
    c.stage("stream").await?;
    // Before what may read them, such as a materialized view.
    if large {
        Box::pin(large_objects::carry(c, true)).await?;
    }
    let peer = c.peer("schema").await?;
    let key = &c.names.origin;
    if !pipeline::is_done(&peer, key, "post_data_done").await? {
        let items: Vec<&Item> = plan.items.iter().filter(|i| i.when == When::AfterAll).collect();
        let mut peers = c.peers("schema", c.options().copy_jobs).await?;
        c.carry_out(&mut peers, &items, Some(&gate)).await?;
        crash::at(Point::PostDataMade);
        pipeline::set_done(&peer, key, "post_data_done").await?;
        c.progress().set_moved();
        let message = format!("{} objects that follow the rows are on the peer", items.len());
        c.event(Event::new(Level::Info, "schema", message)).await?;
    }
    c.progress().set_schema_done();
    let source = c.source("sequences").await?;
    follow_sequences(c, &source, &peer).await
}

/// Sets the sequences now and then, for ever.
async fn follow_sequences(c: &Context, source: &Client, peer: &Client) -> Result<()> {
    let mut positions = Positions::default();
    loop {
        positions.follow(source, peer, c).await?;
        crash::at(Point::SequencesSet);
        tokio::time::sleep(SEQUENCES_EVERY).await;
    }
}

/// How far behind a sequence of the peer may be without anybody asking.
const SEQUENCES_EVERY: Duration = Duration::from_secs(15);

/// The tables whose rows the plan moves, and the partitioned tables above them.
fn tables_of(plan: &Plan, all: &[SourceTable]) -> Vec<SourceTable> {
    let with_rows: HashSet<&TableName> = pipeline::tables_with_rows(plan).collect();
    let parents: HashSet<u32> = all.iter().filter(|t| with_rows.contains(&t.table)).flat_map(|t| t.ancestors.iter().copied()).collect();
    all.iter().filter(|t| with_rows.contains(&t.table) || (t.partitioned && parents.contains(&t.oid))).cloned().collect()
}

/// Those of the tables that the reverse direction leaves out.
fn one_way(options: &Options, tables: &[SourceTable]) -> HashSet<TableName> {
    let left_out = tables.iter().filter(|t| !t.is_carried_by(&options.reverse, tables));
    left_out.map(|t| t.table.clone()).collect()
}

/// Begins a copy: what every worker of it needs.
async fn copy_setting(c: &Context, options: &Options, snapshots: Snapshots, beside: Option<Beside>) -> Result<CopySetting> {
    let peer = c.peer_plain("copy").await?;
    Ok(CopySetting {
        task: c.row.name.clone(),
        source: c.source_endpoint().await?,
        peer: c.peer_endpoint().await?,
        names: c.names.clone(),
        exact: options.stages.schema,
        progress: c.progress(),
        store: c.store.clone(),
        snapshots,
        beside,
        run: copy::begin(&peer, &c.names.origin).await?,
        options: c.live.clone(),
        throttle: c.throttle.clone(),
    })
}

/// What is to be built for each table when its rows are in.
fn after_tables(plan: &Plan) -> HashMap<&TableName, Vec<Item>> {
    let mut after: HashMap<&TableName, Vec<Item>> = HashMap::new();
    for item in &plan.items {
        if let When::AfterTable(table) = &item.when {
            after.entry(table).or_default().push(item.clone());
        }
    }
    after
}

/// The job of a table, which takes what is to be built for it.
fn job(plan: &Plan, table: &TableName, oid: u32, by_key: bool, after: &mut HashMap<&TableName, Vec<Item>>) -> Job {
    let settings = plan.conditions().get(table).cloned();
    let kept = plan.kept_tables().contains(table);
    Job { table: table.clone(), oid, by_key, after: after.remove(table).unwrap_or_default(), settings, kept, is_analyzed: false }
}

fn show<'a>(c: &Context, plan: &Plan, tables: impl Iterator<Item = &'a SourceTable>, insert_only: &HashSet<TableName>) {
    let mut indexes: HashMap<&TableName, i64> = HashMap::new();
    for item in plan.items.iter().filter(|item| item.is_index()) {
        if let When::AfterTable(table) = &item.when {
            *indexes.entry(table).or_default() += 1;
        }
    }
    for t in tables {
        let mut progress = TableProgress::new(TableState::Init, t.rows_estimated, t.bytes_estimated);
        progress.insert_only = insert_only.contains(&t.table);
        progress.indexes_total = indexes.get(&t.table).copied().unwrap_or_default();
        c.progress().add_table(&t.table, progress);
    }
}
