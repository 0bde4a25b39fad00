//! The precheck on real servers: what is wrong is found, and the fix that a finding shows mends it.

use std::time::Duration;

use pgrelay_applier::precheck::{gather_peer, gather_source, unreachable};
use pgrelay_core::error::{Error, Kind};
use pgrelay_core::finding::{Finding, Severity};
use pgrelay_core::name::Selection;
use pgrelay_core::precheck::{Facts, Lineage, ObjectFacts, PlanFacts, run};
use pgrelay_core::task::{Keyless, Names, Options};
use pgrelay_tests::wait::wait_until;
use pgrelay_tests::{Cluster, ClusterOptions};
use tokio_postgres::{Client, NoTls};

const ORIGIN: &str = "pgrelay_test_origin";

/// Two servers with a plain role `relay` on both, and a database `app` on each.
struct Sides {
    source: Cluster,
    peer: Cluster,
    options: Options,
    plan: PlanFacts,
}

impl Sides {
    async fn start(source_conf: &str, peer_conf: &str, source_sql: &str, peer_sql: &str) -> Sides {
        let start = async |name: &str, conf: &str, sql: &str| {
            let cluster = Cluster::start(ClusterOptions { name: name.into(), conf: conf.into(), package: false }).await;
            cluster.psql("postgres", "CREATE ROLE relay LOGIN").await;
            cluster.create_db("app").await;
            cluster.psql("app", sql).await;
            cluster
        };
        let source = start("source", source_conf, source_sql).await;
        let peer = start("peer", peer_conf, peer_sql).await;
        Sides { source, peer, options: Options::default(), plan: PlanFacts::default() }
    }

    async fn as_relay(cluster: &Cluster) -> Client {
        let dsn = cluster.dsn("app").replace("user=postgres", "user=relay");
        let (client, connection) = tokio_postgres::connect(&dsn, NoTls).await.expect("connect as relay");
        tokio::spawn(connection);
        client.batch_execute("SET search_path = ''").await.expect("set search_path");
        client
    }

    async fn facts(&self) -> Facts {
        let source = gather_source(&Self::as_relay(&self.source).await, &Selection::all(), &names()).await.expect("facts of the source");
        let server = &source.server;
        let lineage = Lineage { system_identifier: server.system_identifier, database_oid: server.database_oid, timeline: server.timeline };
        let peer = gather_peer(&Self::as_relay(&self.peer).await, ORIGIN).await.expect("facts of the peer");
        let rules = self.options.rules(vec![], vec![]);
        Facts {
            source,
            peer: Ok(peer),
            options: self.options.clone(),
            rules,
            lineage: Some(lineage),
            interleaved: Default::default(),
            reverse: None,
            plan: self.plan.clone(),
        }
    }

    /// Findings that are not ok.
    async fn bad(&self) -> Vec<Finding> {
        run(&self.facts().await).into_iter().filter(|f| f.severity != Severity::Ok).collect()
    }

    /// Runs the fix of each finding on the side that it is about, as a superuser.
    async fn mend(&self, findings: &[Finding]) {
        for finding in findings {
            let of_peer = ["existing_objects", "extensions", "event_triggers", "replication_origins", "lc_monetary"];
            let on_peer = finding.object == "peer" || finding.item.starts_with("peer_") || of_peer.contains(&finding.item);
            let side = if on_peer { &self.peer } else { &self.source };
            side.psql("app", finding.fix.as_deref().expect("a fix")).await;
        }
    }

    /// Mends until nothing is wrong; a mended owner, for one, shows which role is still to be granted.
    async fn mend_all(&self) {
        for _ in 0..3 {
            let found = self.bad().await;
            self.mend(&found).await;
        }
        let left = self.bad().await;
        assert!(left.is_empty(), "{left:#?}");
    }

    async fn restart(&mut self) {
        self.source.stop_fast().await;
        self.source.start_again().await;
        self.peer.stop_fast().await;
        self.peer.start_again().await;
    }
}

fn names() -> Names {
    Names::new(1, 5, 1)
}

fn planned(objects: &[(&str, &str)]) -> PlanFacts {
    let object = |(kind, name): &(&str, &str)| ObjectFacts { kind: kind.to_string(), name: name.to_string() };
    PlanFacts { objects: objects.iter().map(object).collect(), ..PlanFacts::default() }
}

fn items(findings: &[Finding]) -> Vec<(&str, &str)> {
    findings.iter().map(|f| (f.item, f.object.as_str())).collect()
}

/// What a plain role needs for everything in schema `shop` of either side, but for what a test is about.
const SOURCE_RIGHTS: &str =
    "ALTER ROLE relay REPLICATION BYPASSRLS; GRANT CREATE ON DATABASE app TO relay; GRANT pg_read_all_data TO relay;
    GRANT pg_read_all_stats TO relay;";
const PEER_RIGHTS: &str = "ALTER ROLE relay SUPERUSER;";

#[tokio::test]
async fn settings_of_the_source_are_found_and_mended() {
    let conf =
        "wal_level = replica\nmax_replication_slots = 1\nmax_wal_senders = 0\nmax_slot_wal_keep_size = 1GB\nwal_sender_timeout = 500ms";
    let mut sides = Sides::start(conf, "max_replication_slots = 4", SOURCE_RIGHTS, PEER_RIGHTS).await;
    sides.source.psql("app", "SELECT pg_create_physical_replication_slot('left_behind', true)").await;
    let found = sides.bad().await;
    let names = ["wal_level", "replication_slots", "wal_senders", "slot_limits", "wal_sender_timeout", "replication_origins"];
    assert_eq!(found.iter().map(|f| f.item).collect::<Vec<_>>(), names);
    sides.mend(&found).await;
    sides.restart().await;
    let left = sides.bad().await;
    assert!(left.is_empty(), "{left:#?}");
}

#[tokio::test]
async fn a_plain_role_is_told_each_right_it_lacks() {
    let source_sql = "CREATE ROLE ann; CREATE SCHEMA shop AUTHORIZATION ann; SET ROLE ann;
        CREATE TABLE shop.orders (id serial PRIMARY KEY); CREATE TABLE shop.secret (id int PRIMARY KEY);
        ALTER TABLE shop.secret ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;";
    let mut sides = Sides::start("", "", source_sql, "CREATE ROLE ann;").await;
    sides.plan = planned(&[("schema", "shop"), ("table", "shop.orders"), ("view", "public.v"), ("schema", "public")]);
    let found = sides.bad().await;
    let expected = [
        ("source_replication", "source"),
        ("source_select", "shop.orders"),
        ("source_select", "shop.secret"),
        ("source_select", "shop.orders_id_seq"),
        ("source_publication", "source"),
        ("source_publication", "role ann"),
        ("source_row_security", "shop.secret"),
        ("peer_create", "peer"),
        ("peer_create", "public"),
        ("peer_apply", "peer"),
        ("peer_origin_functions", "peer"),
        ("peer_owners", "role ann"),
        ("peer_row_security", "shop.secret"),
    ];
    assert_eq!(items(&found), expected, "{found:#?}");
    // Only the origin can be done without.
    let severity = |item: &str| if item == "peer_origin_functions" { Severity::Warning } else { Severity::Error };
    assert!(found.iter().all(|f| f.severity == severity(f.item)), "{found:#?}");
    sides.mend_all().await;
    // The rights are enough for what they are for.
    let source = Sides::as_relay(&sides.source).await;
    source
        .batch_execute("SET row_security = off; CREATE PUBLICATION p FOR TABLE shop.orders, shop.secret; SELECT * FROM shop.secret")
        .await
        .unwrap();
    let peer = Sides::as_relay(&sides.peer).await;
    let apply = "SET session_replication_role = replica; CREATE SCHEMA shop; CREATE TABLE shop.orders (id int); CREATE VIEW public.v AS SELECT 1;
        ALTER SCHEMA shop OWNER TO ann; ALTER TABLE shop.orders OWNER TO ann;
        SELECT pg_replication_origin_create('o'); SELECT pg_replication_origin_session_setup('o'); BEGIN;
        SELECT pg_replication_origin_xact_setup('0/1', now()); INSERT INTO shop.orders VALUES (1); COMMIT;
        SELECT pg_replication_origin_xact_reset(); SELECT pg_replication_origin_session_progress(true);
        SELECT pg_replication_origin_session_reset(); SELECT pg_replication_origin_progress('o', true);
        SELECT count(*) FROM pg_show_replication_origin_status(); SELECT pg_replication_origin_oid('o'); SELECT pg_replication_origin_drop('o');";
    for statement in apply.split(';') {
        peer.batch_execute(statement).await.unwrap_or_else(|e| panic!("{statement}: {e:?}"));
    }
}

#[tokio::test]
async fn keyless_and_unlogged_tables_are_found_by_name() {
    let source_sql = format!(
        "{SOURCE_RIGHTS} CREATE SCHEMA shop AUTHORIZATION relay; SET ROLE relay;
        CREATE TABLE shop.bare (v int);
        CREATE TABLE shop.\"Odd \"\"one\" (v int NOT NULL UNIQUE, w int UNIQUE);
        CREATE TABLE shop.late (v int PRIMARY KEY DEFERRABLE);
        CREATE TABLE shop.nothing (v int PRIMARY KEY); ALTER TABLE shop.nothing REPLICA IDENTITY NOTHING;
        CREATE TABLE shop.whole (v int); ALTER TABLE shop.whole REPLICA IDENTITY FULL;
        CREATE TABLE shop.parts (v int) PARTITION BY LIST (v); CREATE TABLE shop.part PARTITION OF shop.parts FOR VALUES IN (1);
        CREATE UNLOGGED TABLE shop.cache (v int);"
    );
    let mut sides = Sides::start("", "", &source_sql, &format!("{PEER_RIGHTS} CREATE ROLE nobody;")).await;
    let found = sides.bad().await;
    let keyless = ["shop.Odd \"one", "shop.bare", "shop.late", "shop.nothing", "shop.part"];
    let expected: Vec<_> = keyless.iter().map(|t| ("replica_identity", *t)).chain([("unlogged_tables", "shop.cache")]).collect();
    assert_eq!(items(&found), expected, "{found:#?}");
    sides.options.keyless = Keyless::InsertOnly;
    assert!(sides.bad().await.iter().all(|f| f.severity == Severity::Warning));
    sides.options.keyless = Keyless::Full;
    assert_eq!(items(&sides.bad().await), [("unlogged_tables", "shop.cache")]);
    sides.options.keyless = Keyless::Error;
    sides.mend(&found).await;
    // What was unlogged is streamed now, and has no key.
    assert_eq!(items(&sides.bad().await), [("replica_identity", "shop.cache")]);
    sides.mend_all().await;
}

#[tokio::test]
async fn what_the_peer_has_and_what_it_lacks() {
    let source_sql = format!(
        "{SOURCE_RIGHTS} CREATE ROLE ann; CREATE ROLE bob; CREATE SCHEMA shop AUTHORIZATION relay;
        CREATE EXTENSION citext; SET ROLE relay; CREATE TABLE shop.orders (id int PRIMARY KEY); CREATE VIEW shop.v AS SELECT 1;
        RESET ROLE; ALTER VIEW shop.v OWNER TO ann; GRANT SELECT ON shop.orders TO bob;"
    );
    let peer_sql = "GRANT CREATE ON DATABASE app TO relay; GRANT SET ON PARAMETER session_replication_role TO relay;
        CREATE EXTENSION citext VERSION '1.5';
        CREATE SCHEMA shop; CREATE VIEW shop.orders AS SELECT 1 AS id; CREATE TYPE shop.v AS ENUM ('a');
        CREATE FUNCTION shop.f(int, text) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TABLE shop.mine (v int);
        CREATE FUNCTION public.e() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION public.e();";
    let mut sides = Sides::start("", "", &source_sql, peer_sql).await;
    let own = format!(
        "{} INSERT INTO pgrelay_peer.task (task_key) VALUES ('{ORIGIN}'), ('other');
        INSERT INTO pgrelay_peer.object (task_key, identity) VALUES ('{ORIGIN}', 'table shop.mine'), ('other', 'type shop.v');",
        include_str!("../../sql/peer/create.sql")
    );
    sides.peer.psql("app", &format!("SET ROLE relay; {own}")).await;
    sides.plan = planned(&[
        ("extension", "citext"),
        ("extension", "file_fdw"),
        ("extension", "no_such"),
        ("table", "shop.orders"),
        ("view", "shop.v"),
        ("function", "shop.f(integer, text)"),
        ("function", "shop.f(integer)"),
        ("table", "shop.mine"),
        ("schema", "shop"),
    ]);
    let found: Vec<_> = sides.bad().await.into_iter().filter(|f| f.item != "peer_origin_functions" && f.item != "peer_create").collect();
    let expected = [
        ("existing_objects", "shop.orders"),
        ("existing_objects", "shop.v"),
        ("existing_objects", "shop.f(integer, text)"),
        ("existing_objects", "shop"),
        ("peer_roles", "role ann"),
        ("peer_roles", "role bob"),
        ("extensions", "extension citext"),
        ("extensions", "extension file_fdw"),
        ("extensions", "extension no_such"),
        ("event_triggers", "event trigger e"),
    ];
    assert_eq!(items(&found), expected, "{found:#?}");
    sides.peer.psql("app", "DROP TABLE shop.mine").await;
    let (missing, mendable): (Vec<_>, Vec<_>) = sides.bad().await.into_iter().partition(|f| f.object == "extension no_such");
    assert!(missing[0].fix.as_deref().is_some_and(|fix| fix.starts_with("Install the files")));
    // Rights on a schema come before the DROP of that schema, as the findings do.
    sides.mend(&mendable).await;
    assert_eq!(items(&sides.bad().await), [("extensions", "extension no_such")]);
}

#[tokio::test]
async fn transactions_that_a_slot_would_wait_for() {
    let sides = Sides::start("", "", SOURCE_RIGHTS, PEER_RIGHTS).await;
    let open = sides.source.connect("postgres").await;
    open.batch_execute("BEGIN; SELECT pg_current_xact_id()").await.unwrap();
    sides.source.psql("app", "BEGIN; CREATE TABLE t (v int PRIMARY KEY); ALTER TABLE t OWNER TO relay; PREPARE TRANSACTION 'it''s'").await;
    let mut facts = sides.facts().await;
    assert_eq!(facts.source.replication.transactions.len(), 1);
    facts.source.replication.transactions[0].age = 3600;
    let found: Vec<_> = run(&facts).into_iter().filter(|f| f.severity != Severity::Ok).collect();
    assert_eq!(found.iter().map(|f| f.item).collect::<Vec<_>>(), ["long_transactions", "prepared_transactions"]);
    sides.mend(&found).await;
    wait_until("the session to be gone", Duration::from_secs(10), async || {
        let left = sides.facts().await.source.replication.transactions.len();
        if left == 0 { Ok(()) } else { Err(format!("{left} transactions")) }
    })
    .await;
    assert!(sides.bad().await.is_empty());
}

#[tokio::test]
async fn the_same_database_and_a_peer_that_is_gone() {
    let mut sides = Sides::start("", "", SOURCE_RIGHTS, PEER_RIGHTS).await;
    let mut facts = sides.facts().await;
    sides.source.psql("postgres", PEER_RIGHTS).await;
    facts.peer = Ok(gather_peer(&Sides::as_relay(&sides.source).await, ORIGIN).await.expect("facts of the source as peer"));
    let found = run(&facts);
    assert!(found.iter().any(|f| f.item == "different_databases" && f.severity == Severity::Error), "{found:#?}");

    let client = Sides::as_relay(&sides.peer).await;
    sides.peer.stop_immediate().await;
    let error: Error = gather_peer(&client, ORIGIN).await.expect_err("the peer is gone");
    assert_eq!(error.kind, Kind::Connection);
    facts.peer = Err(unreachable(&error));
    let found: Vec<_> = run(&facts).into_iter().filter(|f| f.severity != Severity::Ok || f.object == "peer").collect();
    assert_eq!(items(&found), [("peer_connection", "peer")]);
    assert!(found[0].fix.is_some());
}

#[tokio::test]
async fn the_grants_of_the_docs_suffice() {
    let docs = include_str!("../../docs/privileges.md").split("## Rights of the applier").nth(1).expect("the section is there");
    let sql: Vec<&str> = docs.split("```sql\n").skip(1).map(|block| block.split("```").next().unwrap_or_default()).collect();
    let [source_rights, peer_rights, row_security] = sql[..] else { panic!("{} blocks of SQL", sql.len()) };
    let source_sql = format!(
        "CREATE ROLE pgrelay_applier; CREATE ROLE shop_owner; CREATE ROLE reader; CREATE SCHEMA shop AUTHORIZATION shop_owner; SET ROLE shop_owner;
        CREATE TABLE shop.orders (id serial PRIMARY KEY); ALTER TABLE shop.orders ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
        GRANT SELECT ON shop.orders TO reader; RESET ROLE; {source_rights} {row_security}"
    );
    let peer_sql = format!("CREATE ROLE shop_owner; CREATE ROLE reader; {peer_rights} {row_security}");
    let mut sides = Sides::start("", "", &source_sql, &peer_sql).await;
    sides.plan = planned(&[("schema", "shop"), ("table", "shop.orders"), ("view", "public.v")]);
    let left = sides.bad().await;
    assert!(left.is_empty(), "{left:#?}");
}
