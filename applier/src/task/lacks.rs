//! What the peer lacks: looked for once, before anything is written there, and kept with the task's row on the peer.
//!
//! A task that is resumed must not plan otherwise than before: a library that is installed meanwhile changes nothing for it.

use pgrelay_core::{
    Result,
    catalog::{Catalog, Settings},
    finding::{Finding, Severity},
    plan::{Lack, Lacks, Peer, Plan, Rules, plan_by_rules, settings::fix},
    precheck::{PeerFacts, lacking_extensions},
    task::Options,
};
use tokio_postgres::{Client, Transaction};

use super::context::Context;
use crate::{pg::server_error, precheck, schema};

/// What the task leaves out, when it has begun on the peer.
pub async fn of_task(peer: &Client, key: &str) -> Result<Option<Lacks>> {
    let failed = |e| server_error(e, "read what the task leaves out");
    let there = "SELECT pg_catalog.to_regclass('pgrelay_peer.left_out') IS NOT NULL";
    if !peer.query_one(there, &[]).await.map_err(failed)?.get::<_, bool>(0) {
        return Ok(None);
    }
    let rows = peer.query(include_str!("../../../sql/query/peer/left_out.sql"), &[&key]).await.map_err(failed)?;
    if rows.is_empty() {
        return Ok(None);
    }
    let lack = |row: &tokio_postgres::Row| {
        let identity: Option<String> = row.get("identity");
        identity.map(|identity| (identity, Lack { reason: row.get("reason"), fix: row.get("fix") }))
    };
    Ok(Some(rows.iter().filter_map(lack).collect()))
}

/// Looks at the peer: which extensions it cannot have, which functions it refuses. Nothing that lasts is written there.
pub async fn look(c: &Context, options: &Options, catalog: &Catalog) -> Result<Lacks> {
    let mut peer = c.peer_plain("precheck").await?;
    let facts = precheck::gather_peer(&peer, &c.names.origin).await?;
    find(&mut peer, c, options, catalog, &facts).await
}

/// As `look`, with the facts at hand.
pub async fn find(peer: &mut Client, c: &Context, options: &Options, catalog: &Catalog, facts: &PeerFacts) -> Result<Lacks> {
    if !options.stages.schema {
        return Ok(Lacks::new());
    }
    let selection = c.row.selection()?;
    let whole = plan_by_rules(catalog, &selection, Rules::of(options));
    let mut lacks = lacking_extensions(facts, &whole.extensions());
    lacks.extend(lacking_settings(facts, catalog, options));
    if whole.low_level().is_empty() || facts.server.in_recovery || facts.server.read_only {
        return Ok(lacks);
    }
    let plan = plan_by_rules(catalog, &selection, Rules { peer: Peer::Lacks(&lacks), ..Rules::of(options) });
    lacks.extend(schema::probe(peer, &plan).await?);
    Ok(lacks)
}

/// Which contents of extensions' own tables and sequences cannot be carried for want of rights: those of a trusted extension belong to
/// the server's first superuser on either side.
fn lacking_settings(facts: &PeerFacts, catalog: &Catalog, options: &Options) -> Lacks {
    let role = &facts.server.role;
    let lack = |s: &Settings| {
        let there = facts.tables.iter().find(|t| (&t.schema, &t.name) == (&s.schema, &s.name));
        let writes = role.superuser || there.is_some_and(|t| t.schema_usage && t.lacks.is_empty());
        let reason = if !s.readable {
            "the applier's role may not read it on the source".to_owned()
        } else if options.stages.stream && s.kind != "S" && !s.owned {
            "the applier's role is not a member of its owner on the source".to_owned()
        } else if !writes {
            format!("role \"{}\" may not write to it on the peer", role.name)
        } else {
            return None;
        };
        Some((s.identity(), Lack { reason, fix: fix(s) }))
    };
    catalog.extensions.iter().flat_map(|x| &x.config).filter_map(lack).collect()
}

/// Tables of extensions that hold rows on the peer which the source's will replace: an error as long as nobody has agreed to that.
pub async fn replaced(peer: &Client, plan: &Plan, facts: &PeerFacts, options: &Options) -> Result<Vec<Finding>> {
    let severity = if options.acknowledge_warnings { Severity::Warning } else { Severity::Error };
    let mut findings = Vec::new();
    for (table, condition) in plan.conditions() {
        let there = facts.tables.iter().any(|t| t.has_pages && t.lacks.is_empty() && (&t.schema, &t.name) == (&table.schema, &table.name));
        if !there || facts.copied.contains(&(table.schema.clone(), table.name.clone())) {
            continue;
        }
        let sql = format!("SELECT count(*) FROM ONLY {} {condition}", table.quoted());
        let row = peer.query_one(&sql, &[]).await;
        let doing = || format!("look at the rows of table \"{table}\" on the peer");
        let count: i64 = row.map_err(|e| server_error(e, &doing()))?.get(0);
        if count > 0 {
            findings.push(Finding {
                item: "extension_settings",
                severity,
                object: table.to_string(),
                message: format!("the table of an extension holds {count} rows on the peer that the source's will replace"),
                fix: Some("Give the option acknowledge_warnings to let that be, or leave the table out with exclude.".to_owned()),
            });
        }
    }
    Ok(findings)
}

/// Writes down what the task leaves out, in the transaction that makes its row.
pub async fn write(transaction: &Transaction<'_>, key: &str, lacks: &Lacks) -> Result<()> {
    let identities: Vec<&str> = lacks.keys().map(String::as_str).collect();
    let reasons: Vec<&str> = lacks.values().map(|l| l.reason.as_str()).collect();
    let fixes: Vec<Option<&str>> = lacks.values().map(|l| l.fix.as_deref()).collect();
    let sql = include_str!("../../../sql/peer/leave_out.sql");
    let written = transaction.execute(sql, &[&key, &identities, &reasons, &fixes]).await;
    written.map(drop).map_err(|e| server_error(e, "write down what the task leaves out"))
}
