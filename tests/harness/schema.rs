//! The schema stage alone, between two databases of one server, and what pg_dump says of both.

use std::collections::BTreeMap;

use pgrelay_applier::schema::{carry_out, read_catalog};
use pgrelay_core::name::Selection;
use pgrelay_core::plan::{Item, Peer, Plan, Rules, plan_by_rules};
use pgrelay_core::task::{NotMovable, Tablespaces};

use crate::Cluster;
use crate::process::{as_client, bindir, run};

const PEER_TABLES: &str = include_str!("../../sql/peer/create.sql");
const KEY: &str = "schema_test";
const EVERYTHING: Rules<'_> =
    Rules { not_movable: NotMovable::Report, peer: Peer::HasAll, tablespaces: Tablespaces::Ignore, large_objects: false };

/// Moves everything of database `from` into a new database `to`, without rows.
///
/// Errors: what the peer refused; its hint and the DDL of the item are in the message.
pub async fn move_schema(server: &Cluster, from: &str, to: &str) -> pgrelay_core::Result<Plan> {
    let source = server.connect(from).await;
    let plan = plan_by_rules(&read_catalog(&source).await?, &Selection::all(), EVERYTHING);
    server.create_db(to).await;
    server.psql(to, PEER_TABLES).await;
    server.psql(to, &format!("INSERT INTO pgrelay_peer.task (task_key) VALUES ('{KEY}')")).await;
    // Several, as a task has them.
    let mut peers = vec![server.connect(to).await, server.connect(to).await, server.connect(to).await];
    for peer in &peers {
        peer.batch_execute("SET search_path = ''").await.expect("set");
    }
    let items: Vec<&Item> = plan.items.iter().collect();
    if let Err(mut e) = carry_out(&mut peers, KEY, &items, None, &mut |_| ()).await {
        let ddl = plan.items.iter().find(|i| Some(&i.identity) == e.object.as_ref()).map_or("", |i| i.ddl.as_str());
        e.message = format!("{} ({})\n{ddl}\n{:?}", e.message, e.hint.clone().unwrap_or_default(), plan.findings);
        return Err(e);
    }
    Ok(plan)
}

/// What `pg_dump --schema-only` says of a database, entry by entry. Grants are a set.
pub fn dump(server: &Cluster, db: &str) -> BTreeMap<String, String> {
    let mut command = as_client(&bindir().join("pg_dump"));
    command.args(["--schema-only", "--exclude-schema=pgrelay_peer", "-d"]).arg(server.dsn(db));
    let text = run(&mut command);
    let mut entries = BTreeMap::new();
    for entry in text.split("\n--\n-- Name: ").skip(1) {
        let (head, body) = entry.split_once("\n--\n").unwrap_or((entry, ""));
        let mut lines: Vec<&str> = body.lines().filter(|l| !l.starts_with("SET default_") && !l.starts_with("\\unrestrict")).collect();
        if head.contains("Type: ACL") || head.contains("Type: DEFAULT ACL") {
            lines.sort_unstable();
        }
        let body = lines.join("\n").replace("--\n-- PostgreSQL database dump complete\n--", "");
        *entries.entry(head.to_string()).or_insert_with(String::new) += body.trim();
    }
    join_stubs(&mut entries);
    entries
}

/// Which view of a circle is a stub first depends on the order of OIDs: its query takes the place of the stub.
fn join_stubs(entries: &mut BTreeMap<String, String>) {
    let rules: Vec<String> = entries.keys().filter(|head| head.contains(" _RETURN; Type: RULE; ")).cloned().collect();
    for rule in rules {
        let query = entries.remove(&rule).unwrap_or_default();
        let view = rule.replace(" _RETURN; Type: RULE; ", "; Type: VIEW; ");
        if let Some(stub) = entries.get_mut(&view) {
            let rest = stub.split_once(";\n").map_or("", |(_, rest)| rest);
            *stub = format!("{}\n{rest}", query.replacen("CREATE OR REPLACE VIEW", "CREATE VIEW", 1)).trim().to_string();
        }
    }
}

/// Compares the dumps of two databases.
///
/// What PostgreSQL itself writes otherwise once it has read its own text (some expressions gain casts) may differ as it does
/// between the source and a database restored from its dump.
/// Errors: each entry that is missing, too much, or different, with both texts.
pub async fn same_dumps(server: &Cluster, source: &str, peer: &str) -> Result<(), String> {
    let (expected, found) = (dump(server, source), dump(server, peer));
    if expected == found {
        return Ok(());
    }
    let restored = restored(server, source).await;
    let mut wrong = Vec::new();
    for (head, body) in &expected {
        match found.get(head) {
            Some(other) if other == body || restored.get(head).is_some_and(|r| is_between(other, body, r)) => {}
            other => wrong.push(format!("{head}\n--- source\n{body}\n--- peer\n{}", other.map_or("(missing)", String::as_str))),
        }
    }
    wrong.extend(found.keys().filter(|k| !expected.contains_key(*k)).map(|k| format!("{k}: only on the peer")));
    if wrong.is_empty() { Ok(()) } else { Err(format!("{} of {} objects differ:\n{}", wrong.len(), expected.len(), wrong.join("\n\n"))) }
}

/// Whether each line of one entry is that of the source or that of the restored database.
fn is_between(found: &str, source: &str, restored: &str) -> bool {
    let lines: Vec<&str> = restored.lines().collect();
    found.lines().count() == source.lines().count() && found.lines().zip(source.lines()).all(|(f, s)| f == s || lines.contains(&f))
}

/// The dump of a database made from the dump.
async fn restored(server: &Cluster, db: &str) -> BTreeMap<String, String> {
    let copy = format!("{db}_restored");
    server.create_db(&copy).await;
    let mut command = as_client(&bindir().join("pg_dump"));
    let text = run(command.args(["--schema-only", "-d"]).arg(server.dsn(db)));
    let folder = crate::process::TempFolder::new();
    let file = folder.path().join("dump.sql");
    std::fs::write(&file, text).expect("write a dump");
    // Twice: what fails for its order, such as a table whose CHECK runs a function over a later one, is there then.
    for _ in 0..2 {
        let mut psql = as_client(&bindir().join("psql"));
        run(psql.args(["-XqAt", "-o", "/dev/null", "-d"]).arg(server.dsn(&copy)).arg("-f").arg(&file));
    }
    let entries = dump(server, &copy);
    server.psql("postgres", &format!("DROP DATABASE \"{copy}\" WITH (FORCE)")).await;
    entries
}
