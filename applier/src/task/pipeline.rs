//! From precheck to stream: each step looks first at what is done already, on the servers.

use pgrelay_core::{
    Error, Result,
    catalog::Catalog,
    error::Kind,
    finding::{Finding, Severity},
    name::{Pattern, TableName},
    plan::{Item, Kept, Lacks, Peer, Plan, Rules, When, plan_by_rules},
    precheck::{Facts, Lineage as LineageFacts, PlanFacts},
    state::Actual,
    task::{Options, Stages},
    verify::Keeping,
};
use tokio_postgres::{Client, Transaction};

use super::{cleanup, context::Context, keep, lacks, large_objects, moving, reporter};
use crate::{
    apply,
    crash::{self, Point},
    pg::server_error,
    precheck, schema,
    store::{Event, Level},
};

/// How a try ended, when not by an error.
pub enum Outcome {
    /// Everything that was asked for is done.
    Finished,
    /// The precheck found errors; nothing was written on the peer.
    PrecheckFailed(Error),
    /// The source is not the database that the task was made in.
    ForeignSource(Error),
}

/// Runs a task until it is done, or for ever when it streams.
pub async fn run(c: &Context, options: &Options) -> Result<Outcome> {
    let actual = c.store.lineage().await?;
    if actual != c.row.lineage {
        return Ok(Outcome::ForeignSource(foreign_source()));
    }
    if c.is_cleaning() {
        cleanup::run(c).await?;
        return Ok(Outcome::Finished);
    }
    let mut found = None;
    if !c.has_begun() {
        c.state(Actual::Prechecking, None).await?;
        match check(c).await? {
            Ok(checked) => found = Some(checked),
            Err(error) => return Ok(Outcome::PrecheckFailed(error)),
        }
    }
    c.stage("schema").await?;
    if !c.has_come_to("copy") {
        c.state(Actual::Schema, None).await?;
    }
    let mut peer = c.peer("schema").await?;
    end_leftovers(&peer, &c.names.origin).await?;
    let lacks = lacks::of_task(&peer, &c.names.origin).await?;
    let mut plan = match found {
        // What was checked is what is made.
        Some((found, plan)) => {
            if lacks.is_none() {
                begin_on_peer(c, &mut peer, &found, plan.kept()).await?;
            }
            plan
        }
        None => {
            let catalog = read_source(c).await?;
            let (lacks, kept) = match lacks {
                Some(lacks) => (lacks, keep::of_task(&peer, &c.names.origin).await?),
                None => {
                    let lacks = lacks::look(c, options, &catalog).await?;
                    let kept = keep::look(c, &c.peer_plain("precheck").await?, options, &catalog, &lacks).await?.kept;
                    begin_on_peer(c, &mut peer, &lacks, &kept).await?;
                    (lacks, kept)
                }
            };
            let mut plan = make_plan(c, options, &catalog, &lacks)?;
            keep::leave(&mut plan, options, kept);
            plan
        }
    };
    if !options.stages.schema {
        // The objects are there: only the rows of the plan are wanted.
        plan.items.retain(|item| matches!(item.when, When::Copy(_)));
    }
    let objects = plan.items.iter().filter(|i| !matches!(i.when, When::Copy(_))).count();
    if objects > 0 {
        c.progress().set_objects(schema::count_made(&peer, &c.names.origin, &plan.items).await?, objects);
    }
    // What is under way is shown; the last numbers are written whatever the end.
    let made = tokio::select! {
        made = create_pre_data(c, peer, &plan) => made,
        never = reporter::run(c, None) => never,
    };
    reporter::write_objects(c).await?;
    made?;
    match options.stages {
        Stages { copy: false, .. } => {
            if options.large_objects {
                Box::pin(large_objects::carry(c, false)).await?;
            }
            create_post_data(c, &plan).await?;
            reporter::write_objects(c).await?;
        }
        Stages { stream: false, .. } => Box::pin(moving::copy_only(c, options, &plan)).await?,
        _ => Box::pin(moving::copy_and_stream(c, options, &plan)).await?,
    }
    cleanup::run(c).await?;
    Ok(Outcome::Finished)
}

/// Why a task does not go on in this database.
pub fn foreign_source() -> Error {
    Error::new(Kind::PositionLost, "this is not the database that the task was made in")
        .detail("System identifier, database or timeline differ: it is a clone, a restored dump or a promoted standby.")
        .hint("Drop the task here and create it anew.")
}

/// The catalogs of the source as they are now.
pub async fn read_source(c: &Context) -> Result<Catalog> {
    let source = c.source("plan").await?;
    // Rendering takes short locks; a table that the application has locked must not stop the task without a word.
    source.batch_execute("SET lock_timeout = '10s'").await.map_err(|e| server_error(e, "read the catalog of the source"))?;
    schema::read_catalog(&source).await
}

/// The plan of the task's schema for a peer that lacks `lacks`. A task that makes nothing there lacks nothing.
pub fn make_plan(c: &Context, options: &Options, catalog: &Catalog, lacks: &Lacks) -> Result<Plan> {
    let peer = if options.stages.schema { Peer::Lacks(lacks) } else { Peer::HasAll };
    Ok(plan_by_rules(catalog, &c.row.selection()?, Rules { peer, ..Rules::of(options) }))
}

/// Gathers the facts of both sides and judges them; also what the peer lacks, and the plan that all this is about. Writes nothing
/// that lasts.
pub async fn findings(c: &Context) -> Result<(Vec<Finding>, Lacks, Plan)> {
    let options = c.row.options()?;
    let catalog = read_source(c).await?;
    let peer = async {
        let mut peer = c.peer_plain("precheck").await?;
        let facts = precheck::gather_peer(&peer, &c.names.origin).await?;
        let (lacks, keeping) = match lacks::of_task(&peer, &c.names.origin).await? {
            Some(lacks) => (lacks, Keeping { kept: keep::of_task(&peer, &c.names.origin).await?, findings: vec![] }),
            None => {
                let lacks = lacks::find(&mut peer, c, &options, &catalog, &facts).await?;
                let keeping = keep::look(c, &peer, &options, &catalog, &lacks).await?;
                (lacks, keeping)
            }
        };
        let mut plan = make_plan(c, &options, &catalog, &lacks)?;
        keep::leave(&mut plan, &options, keeping.kept);
        plan.findings.extend(keeping.findings);
        if options.stages.copy {
            plan.findings.extend(lacks::replaced(&peer, &plan, &facts, &options).await?);
        }
        Ok((facts, lacks, plan))
    };
    let (peer, lacks, mut plan) = match peer.await {
        Ok((facts, lacks, plan)) => (Ok(facts), lacks, plan),
        Err(error) => (Err(precheck::unreachable(&error)), Lacks::new(), make_plan(c, &options, &catalog, &Lacks::new())?),
    };
    drop(catalog);
    let selected = c.row.selection()?;
    let mut selection = selected.clone();
    // What comes along because a selected object needs it is looked at as well, and what is left out is not.
    let along = tables_with_rows(&plan).filter(|t| !selected.matches(&t.schema, &t.name));
    selection.include.extend(along.cloned().map(Pattern::Table));
    selection.exclude.extend(plan.left_out().iter().cloned().map(Pattern::Table));
    let source = c.source("precheck").await?;
    let source_facts = precheck::gather_source(&source, &selection, &c.names).await?;
    let reverse = match (options.is_two_way(), &peer) {
        (true, Ok(_)) => {
            let peer = c.peer_plain("precheck").await?;
            Some(precheck::gather_reverse(&source, &peer, &selection, &c.names.reverse()).await?)
        }
        _ => None,
    };
    let lineage = LineageFacts {
        system_identifier: c.row.lineage.system_identifier,
        database_oid: c.row.lineage.database_oid,
        timeline: c.row.lineage.timeline,
    };
    let facts_of_plan = options.stages.schema;
    let apart = c.store.interleaved(c.row.id).await?.into_iter().filter(|s| s.reason.is_none());
    let facts = Facts {
        interleaved: apart.map(|s| (s.schema, s.name)).collect(),
        source: source_facts,
        peer,
        options,
        rules: c.row.rules()?,
        lineage: Some(lineage),
        reverse,
        plan: if facts_of_plan { PlanFacts::from_plan(&plan) } else { PlanFacts::default() },
    };
    let mut findings = pgrelay_core::precheck::run(&facts);
    findings.extend(owner_may_read(c, &plan).await?);
    findings.append(&mut plan.findings);
    Ok((findings, lacks, plan))
}

/// The tables whose rows a plan moves.
pub fn tables_with_rows(plan: &Plan) -> impl Iterator<Item = &TableName> {
    plan.items.iter().filter_map(|i| if let When::Copy(table) = &i.when { Some(table) } else { None })
}

/// A task is no way to read what its owner may not read, tables that come along included.
async fn owner_may_read(c: &Context, plan: &Plan) -> Result<Vec<Finding>> {
    let tables: Vec<&TableName> = tables_with_rows(plan).collect();
    let finding = |table: &String| Finding {
        item: "owner_select",
        severity: Severity::Error,
        object: table.clone(),
        message: format!("role \"{}\", which made the task, may not read the table", c.row.owner),
        fix: Some(format!("Grant SELECT on it to role \"{}\", or leave it out with exclude.", c.row.owner)),
    };
    let mut findings: Vec<Finding> = c.store.unreadable(&c.row, &tables).await?.iter().map(finding).collect();
    let options = c.row.options()?;
    if options.large_objects && options.stages.copy {
        let sql = include_str!("../../../sql/store/unreadable_large_objects.sql");
        let row = c.store.client().query_one(sql, &[&c.row.owner]).await;
        let count: i64 = row.map_err(|e| server_error(e, "look at the large objects"))?.get(0);
        findings.extend((count > 0).then(|| Finding {
            item: "owner_select",
            severity: Severity::Error,
            object: "large objects".to_owned(),
            message: format!("role \"{}\", which made the task, may not read {count} large objects", c.row.owner),
            fix: Some(format!("Grant SELECT on them to role \"{}\", or leave them out with the option large_objects.", c.row.owner)),
        }));
    }
    Ok(findings)
}

/// The precheck of a start: an error when the task must not begin, else what the peer lacks and the plan.
async fn check(c: &Context) -> Result<std::result::Result<(Lacks, Plan), Error>> {
    let (findings, lacks, plan) = findings(c).await?;
    c.store.findings(c.row.id, &findings).await?;
    Ok(first_error(&findings).map_or(Ok((lacks, plan)), Err))
}

fn first_error(findings: &[Finding]) -> Option<Error> {
    let errors: Vec<&Finding> = findings.iter().filter(|f| f.severity == Severity::Error).collect();
    let first = errors.first()?;
    let error = Error::new(Kind::Configuration, format!("the precheck found {} error(s), the first: {}", errors.len(), first.message));
    let hint = "See pgrelay.finding for each error and its fix, then call pgrelay.resume_task().";
    Some(error.object(first.object.clone()).hint(hint))
}

/// The precheck of a reverse direction that comes to a task which runs: an error when it must not begin.
pub async fn reverse_precheck(c: &Context) -> Result<Option<Error>> {
    let (findings, ..) = findings(&c.forward()).await?;
    let findings: Vec<Finding> = findings.into_iter().filter(|f| f.item.starts_with("reverse_")).collect();
    for finding in findings.iter().filter(|f| f.severity != Severity::Ok) {
        c.store.add_finding(c.row.id, finding).await?;
    }
    Ok(first_error(&findings))
}

/// Ends sessions of this task on the peer whose applier is gone: they hold origins and locks.
async fn end_leftovers(peer: &Client, key: &str) -> Result<()> {
    let sql = "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
               WHERE datname = pg_catalog.current_database() AND usename = current_user \
                 AND pg_catalog.starts_with(application_name, $1 || ' ') AND pid <> pg_catalog.pg_backend_pid()";
    peer.execute(sql, &[&key]).await.map(drop).map_err(|e| server_error(e, "end old sessions on the peer"))
}

/// Makes pgrelay's own schema on the peer and the task's row in it, once, and writes down what it leaves out and what it leaves to
/// the peer.
///
/// Errors: `PositionLost` when the row is gone from a peer that had it.
async fn begin_on_peer(c: &Context, peer: &mut Client, lacks: &Lacks, kept: &Kept) -> Result<()> {
    let key = &c.names.origin;
    let doing = "make pgrelay's own schema on the peer";
    let transaction = peer.transaction().await.map_err(|e| server_error(e, doing))?;
    make_own_schema(&transaction).await?;
    let sql = "INSERT INTO pgrelay_peer.task (task_key) VALUES ($1) ON CONFLICT DO NOTHING";
    let made = transaction.execute(sql, &[&key]).await.map_err(|e| server_error(e, doing))?;
    if made > 0 && c.has_come_to("copy") {
        return Err(apply::set_back());
    }
    if made > 0 {
        lacks::write(&transaction, key, lacks).await?;
        keep::write(&transaction, key, kept).await?;
    }
    transaction.commit().await.map_err(|e| server_error(e, doing))?;
    crash::at(Point::PeerBegun);
    Ok(())
}

/// Makes pgrelay's own schema, or makes sure that it is ours, and keeps others from it until the end of the transaction.
pub async fn make_own_schema(transaction: &Transaction<'_>) -> Result<()> {
    let failed = |e| server_error(e, "make pgrelay's own schema");
    own_schema_is_ours(transaction).await?;
    for sql in [include_str!("../../../sql/peer/create.sql"), include_str!("../../../sql/peer/create_conflict.sql")] {
        transaction.batch_execute(sql).await.map_err(failed)?;
    }
    transaction.batch_execute(cleanup::LOCK_OWN_SCHEMA).await.map_err(failed)
}

/// A schema that somebody else has made under pgrelay's name could run his code, or tell positions that are not true.
async fn own_schema_is_ours(transaction: &Transaction<'_>) -> Result<()> {
    let rows = transaction.query(include_str!("../../../sql/query/peer/foreign_owners.sql"), &[]).await;
    let rows = rows.map_err(|e| server_error(e, "look at pgrelay's own schema on the peer"))?;
    let Some(row) = rows.first() else { return Ok(()) };
    let (object, owner): (String, String) = (row.get("object"), row.get("owner"));
    Err(Error::new(Kind::InsufficientPrivilege, format!("{object} on the peer belongs to role \"{owner}\"")).object(object).hint(
        "Whatever is called pgrelay_peer must belong to the role that the applier connects as. Drop the schema, or connect as its owner.",
    ))
}

/// Sessions that make objects at most: more make nothing faster.
const MOST_SESSIONS: u32 = 8;

/// So many objects are made by one session: more would take longer to connect than they save.
const MADE_BY_ONE: usize = 50;

async fn create_pre_data(c: &Context, peer: Client, plan: &Plan) -> Result<()> {
    if is_done(&peer, &c.names.origin, "pre_data_done").await? {
        return Ok(());
    }
    let items: Vec<&Item> = plan.items.iter().filter(|i| i.when == When::BeforeData).collect();
    let mut peers = if items.len() > MADE_BY_ONE {
        // These wait for the disk most of the time, so twice as many as will copy.
        c.peers("schema", (2 * c.options().copy_jobs).min(MOST_SESSIONS)).await?
    } else {
        vec![peer]
    };
    c.carry_out(&mut peers, &items, None).await?;
    crash::at(Point::PreDataMade);
    set_done(&peers[0], &c.names.origin, "pre_data_done").await?;
    c.progress().set_moved();
    c.event(Event::new(Level::Info, "schema", format!("{} objects are on the peer", items.len()))).await
}

/// Everything after the rows, for a task that copies none.
async fn create_post_data(c: &Context, plan: &Plan) -> Result<()> {
    let mut peers = c.peers("schema", 1).await?;
    let items: Vec<&Item> = plan.items.iter().filter(|i| matches!(i.when, When::AfterTable(_) | When::AfterAll)).collect();
    c.carry_out(&mut peers, &items, None).await
}

/// Whether a part of the task is done, by its column of `pgrelay_peer.task`.
pub async fn is_done(peer: &Client, key: &str, column: &'static str) -> Result<bool> {
    let row = peer.query_one(&format!("SELECT {column} FROM pgrelay_peer.task WHERE task_key = $1"), &[&key]).await;
    Ok(row.map_err(|e| server_error(e, "read the task's state on the peer"))?.get(0))
}

/// Says on the peer that a part of the task is done.
pub async fn set_done(peer: &Client, key: &str, column: &'static str) -> Result<()> {
    let sql = format!("UPDATE pgrelay_peer.task SET {column} = true WHERE task_key = $1");
    peer.execute(&sql, &[&key]).await.map(drop).map_err(|e| server_error(e, "write the task's state on the peer"))
}
