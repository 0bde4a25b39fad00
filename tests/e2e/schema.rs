//! The schema stage alone: plan and carry_out between two databases, proved by what pg_dump says of both.

use std::path::{Path, PathBuf};
use std::process::Command;

use pgrelay_applier::schema::{carry_out, read_catalog};
use pgrelay_core::name::Selection;
use pgrelay_core::plan::{Item, Lack, Lacks, Peer, Plan, Rules, plan_by_rules};
use pgrelay_core::task::{NotMovable, Tablespaces};
use pgrelay_tests::schema::same_dumps;
use pgrelay_tests::{Cluster, ClusterOptions};

const PEER_TABLES: &str = include_str!("../../sql/peer/create.sql");
const KEY: &str = "schema_test";
const EVERYTHING: Rules =
    Rules { not_movable: NotMovable::Report, peer: Peer::HasAll, tablespaces: Tablespaces::Ignore, large_objects: false };

/// One server; source and peer are two of its databases, so that both see the same roles.
async fn server() -> Cluster {
    Cluster::start(ClusterOptions { name: "schema".to_string(), ..ClusterOptions::default() }).await
}

async fn plan_of(server: &Cluster, db: &str, selection: &Selection, rules: Rules<'_>) -> Plan {
    let source = server.connect(db).await;
    let catalog = read_catalog(&source).await.expect("read the catalog");
    plan_by_rules(&catalog, selection, rules)
}

/// Carries everything out as a task does, without rows: before the data, after each table, after all.
async fn move_schema(server: &Cluster, from: &str, to: &str, selection: &Selection) -> Plan {
    let plan = plan_of(server, from, selection, EVERYTHING).await;
    server.create_db(to).await;
    server.psql(to, PEER_TABLES).await;
    server.psql(to, &format!("INSERT INTO pgrelay_peer.task (task_key) VALUES ('{KEY}')")).await;
    carry_out_all(server, to, &plan).await.unwrap_or_else(|e| panic!("{e} {:?} {:?}", e.hint, e.object));
    plan
}

async fn carry_out_all(server: &Cluster, to: &str, plan: &Plan) -> pgrelay_core::Result<()> {
    let mut peer = server.connect(to).await;
    peer.batch_execute("SET search_path = ''").await.expect("set");
    let items: Vec<&Item> = plan.items.iter().collect();
    carry_out(std::slice::from_mut(&mut peer), KEY, &items, None, &mut |_| ()).await
}

#[tokio::test]
async fn a_rich_schema_arrives_as_it_was() {
    let server = server().await;
    server.create_db("rich").await;
    server.psql("rich", include_str!("../fixtures/schema_rich.sql")).await;
    let plan = move_schema(&server, "rich", "copy", &Selection::all()).await;
    same_dumps(&server, "rich", "copy").await.unwrap_or_else(|e| panic!("{e}"));
    // The script reads catalogs of 15 only.
    let version = server.psql("rich", "SHOW server_version_num").await;
    if let Some(scripts) = scripts().filter(|_| version.trim().starts_with("15")) {
        compare(&scripts, &server, "rich", "copy", &["--catalog"]);
    }
    for (number, item) in plan.items.iter().enumerate() {
        assert_eq!(item.ordinal as usize, number + 1);
        assert!(!item.reason.is_empty(), "{} has no reason", item.identity);
    }
}

#[tokio::test]
async fn identities_of_a_plan_are_unique_and_what_an_item_needs_comes_before_it() {
    let server = server().await;
    server.create_db("rich").await;
    server.psql("rich", include_str!("../fixtures/schema_rich.sql")).await;
    let plan = plan_of(&server, "rich", &Selection::all(), EVERYTHING).await;
    let mut seen = std::collections::HashSet::new();
    for item in &plan.items {
        for need in &item.depends_on {
            assert!(seen.contains(need), "{} comes before {need}", item.identity);
        }
        assert!(seen.insert(item.identity.clone()), "{} is there twice", item.identity);
    }
}

#[tokio::test]
async fn an_error_names_the_item_and_the_next_run_goes_on_behind_what_is_made() {
    let server = server().await;
    server.create_db("one").await;
    server
        .psql("one", "CREATE SCHEMA s; CREATE TABLE s.a (id int PRIMARY KEY); CREATE TABLE s.b (id int PRIMARY KEY REFERENCES s.a);")
        .await;
    let plan = plan_of(&server, "one", &Selection::all(), EVERYTHING).await;
    server.create_db("two").await;
    server.psql("two", PEER_TABLES).await;
    server.psql("two", &format!("INSERT INTO pgrelay_peer.task (task_key) VALUES ('{KEY}')")).await;
    server.psql("two", "CREATE SCHEMA s").await;
    let error = carry_out_all(&server, "two", &plan).await.expect_err("the schema exists");
    assert_eq!((error.sqlstate(), error.object.as_deref()), ("42P06", Some("schema s")), "{error}");
    server.psql("two", "DROP SCHEMA s").await;
    carry_out_all(&server, "two", &plan).await.expect("first run");
    carry_out_all(&server, "two", &plan).await.expect("a second run finds everything made");
    assert_same_keys(&server).await;
}

async fn assert_same_keys(server: &Cluster) {
    let valid =
        server.psql("two", "SELECT count(*) FROM pg_constraint WHERE conrelid = 's.b'::regclass AND contype = 'f' AND convalidated").await;
    assert_eq!(valid.trim(), "1");
}

#[tokio::test]
async fn a_selection_brings_what_it_needs_and_says_what_it_leaves_out() {
    let server = server().await;
    server.create_db("shop").await;
    let sql = "CREATE SCHEMA shop; CREATE SCHEMA base; CREATE TYPE base.state AS ENUM ('a', 'b'); CREATE SEQUENCE base.ids;
        CREATE TABLE base.customer (id int PRIMARY KEY);
        CREATE TABLE shop.orders (id int DEFAULT nextval('base.ids') PRIMARY KEY, s base.state, c int REFERENCES base.customer) PARTITION BY RANGE (id);
        CREATE TABLE base.orders_1 PARTITION OF shop.orders FOR VALUES FROM (1) TO (10);
        CREATE TABLE base.other (id int);";
    server.psql("shop", sql).await;
    let selection = Selection::parse(&["shop.orders".to_string()], &[]).expect("valid");
    let plan = move_schema(&server, "shop", "part", &selection).await;
    let identities: Vec<&str> = plan.items.iter().map(|i| i.identity.as_str()).collect();
    for there in ["schema shop", "schema base", "type base.state", "sequence base.ids", "table shop.orders", "table base.orders_1"] {
        assert!(identities.contains(&there), "{there} is not in {identities:?}");
    }
    assert!(!identities.iter().any(|i| i.contains("customer") || i.contains("other")), "{identities:?}");
    assert!(plan.findings.iter().any(|f| f.item == "foreign_key_left_out"), "{:?}", plan.findings);
    let state = plan.items.iter().find(|i| i.identity == "type base.state").expect("is there");
    assert!(state.reason.contains("not selected itself"), "{}", state.reason);
}

#[tokio::test]
async fn what_the_peer_lacks_is_left_out_with_what_hangs_on_it_and_what_only_that_needs() {
    let server = server().await;
    server.create_db("low").await;
    let sql = "CREATE SCHEMA s; CREATE SCHEMA other; CREATE TABLE other.lookup (id int PRIMARY KEY);
        CREATE FUNCTION s.add(int, int) RETURNS int LANGUAGE internal IMMUTABLE AS 'int4pl';
        CREATE FUNCTION s.twice(int) RETURNS int LANGUAGE sql AS 'SELECT s.add($1, $1)';
        CREATE TABLE s.t (id int PRIMARY KEY, n int DEFAULT s.add(1, 2)); CREATE VIEW s.v AS SELECT t.* FROM s.t JOIN other.lookup USING (id);
        CREATE TABLE s.stays (id int PRIMARY KEY REFERENCES s.t);";
    server.psql("low", sql).await;
    let selection = Selection::parse(&["s.*".to_string()], &[]).expect("valid");
    let plan = plan_of(&server, "low", &selection, Rules { peer: Peer::Unknown, ..EVERYTHING }).await;
    let warned: Vec<&str> = plan.findings.iter().filter(|f| f.item == "low_level_function").map(|f| f.message.as_str()).collect();
    assert!(warned.len() == 1 && warned[0].contains("table s.t"), "{warned:?}");
    assert!(plan.items.iter().any(|i| i.identity == "view s.v"), "without a peer everything is shown");

    let lack = Lack { reason: "no such library".into(), fix: None };
    let function = plan.low_level().first().expect("one").clone();
    let lacks = Lacks::from([(function, lack)]);
    let plan = plan_of(&server, "low", &selection, Rules { not_movable: NotMovable::Skip, peer: Peer::Lacks(&lacks), ..EVERYTHING }).await;
    let found: Vec<&str> = plan.findings.iter().filter(|f| f.item == "not_movable").map(|f| f.message.as_str()).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    for named in ["function s.add", "no such library", "table s.t,", "view s.v", "stays_id_fkey", "their text names it: function s.twice"] {
        assert!(found[0].contains(named), "{named}: {found:?}");
    }
    let there: Vec<&str> = plan.items.iter().map(|i| i.identity.as_str()).collect();
    assert!(there.contains(&"table s.stays") && there.contains(&"rows of table s.stays"), "{there:?}");
    assert!(!there.iter().any(|i| i.contains("s.t") && !i.contains("s.stays") && !i.contains("s.twice")), "{there:?}");
    assert!(!there.iter().any(|i| i.contains("other")), "only the view needed it: {there:?}");
}

#[tokio::test]
async fn three_thousand_tables_are_planned_in_seconds() {
    let server = server().await;
    server.create_db("many").await;
    let sql = "CREATE SCHEMA s;
        CREATE FUNCTION s.f(int) RETURNS int LANGUAGE sql AS 'SELECT $1 + 1';
        DO $$ BEGIN FOR i IN 1..3000 LOOP
          EXECUTE format('CREATE TABLE s.t%s (id int PRIMARY KEY DEFAULT s.f(%s), a text, b int, c timestamptz DEFAULT now(), CHECK (b > 0))', i, i);
          EXECUTE format('CREATE INDEX ON s.t%s (a)', i);
          EXECUTE format('CREATE VIEW s.v%s AS SELECT * FROM s.t%s', i, i);
          IF i % 500 = 0 THEN COMMIT; END IF;
        END LOOP; END $$;";
    server.psql("many", sql).await;
    let started = std::time::Instant::now();
    let source = server.connect("many").await;
    let catalog = read_catalog(&source).await.expect("read the catalog");
    let read = started.elapsed();
    let plan = plan_by_rules(&catalog, &Selection::all(), EVERYTHING);
    let planned = started.elapsed() - read;
    assert_eq!(plan.items.iter().filter(|i| i.kind == "table").count(), 3000);
    println!("read in {read:?}, planned in {planned:?}, {} items", plan.items.len());
    // A debug build on a busy machine; it takes a tenth of that otherwise.
    assert!(started.elapsed() < std::time::Duration::from_secs(30), "read in {read:?}, planned in {planned:?}");
}

/// For a look at other databases: moves the schema of `SCHEMA_SOURCE` to the empty `SCHEMA_PEER`, both connection strings.
#[tokio::test]
#[ignore = "needs two databases that the environment names"]
async fn databases_of_the_environment() {
    let connect = async |name: &str| {
        let dsn = std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
        let (client, connection) = tokio_postgres::connect(&dsn, tokio_postgres::NoTls).await.expect("connect");
        tokio::spawn(connection);
        client
    };
    let (source, mut peer) = (connect("SCHEMA_SOURCE").await, connect("SCHEMA_PEER").await);
    let plan = plan_by_rules(&read_catalog(&source).await.expect("read the catalog"), &Selection::all(), EVERYTHING);
    plan.findings.iter().for_each(|f| println!("{} {}: {}", f.severity, f.item, f.message));
    peer.batch_execute(&format!("SET search_path = ''; {PEER_TABLES}")).await.expect("make the marks");
    peer.execute("INSERT INTO pgrelay_peer.task (task_key) VALUES ($1)", &[&KEY]).await.expect("make the task");
    let items: Vec<&Item> = plan.items.iter().collect();
    let started = std::time::Instant::now();
    let result = carry_out(std::slice::from_mut(&mut peer), KEY, &items, None, &mut |_| ()).await;
    println!("{} items in {:?}", items.len(), started.elapsed());
    if let Err(e) = result {
        let at = plan.items.iter().find(|i| Some(&i.identity) == e.object.as_ref());
        panic!("{e} {:?}\n{}", e.hint, at.map_or("", |i| i.ddl.as_str()));
    }
}

/// The independent comparison, where its scripts are; it knows pg_dump's entries and the catalogs better than we do here.
#[tokio::test]
async fn the_exotic_schema_is_identical() {
    let Some(scripts) = scripts() else {
        println!("skipped: there is no ../shared/fidelity here");
        return;
    };
    let server = server().await;
    server.create_db("exotic").await;
    let mut psql = pgrelay_tests::process::as_client(&pgrelay_tests::process::bindir().join("psql"));
    psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(scripts.join("exotic.sql")).arg("-d").arg(server.dsn("exotic"));
    pgrelay_tests::process::run(&mut psql);
    let plan = move_schema(&server, "exotic", "exotic_copy", &Selection::all()).await;
    plan.findings.iter().for_each(|f| println!("{} {}: {}", f.severity, f.item, f.message));
    compare(&scripts, &server, "exotic", "exotic_copy", &[]);
}

/// By the comparison script; `more` are further arguments of it.
fn compare(scripts: &Path, server: &Cluster, source: &str, peer: &str, more: &[&str]) {
    let mut command = Command::new("/usr/bin/python3");
    command.arg(scripts.join("schema_fidelity.py")).args(["--ignore", "pgrelay_peer"]).args(more);
    command.arg("--source").arg(server.dsn(source)).arg("--target").arg(server.dsn(peer));
    let out = command.output().expect("run python3");
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{text}");
}

fn scripts() -> Option<PathBuf> {
    let repo = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    ["../shared", "../../shared"].iter().map(|up| repo.join(up).join("fidelity")).find(|folder| folder.is_dir())
}
